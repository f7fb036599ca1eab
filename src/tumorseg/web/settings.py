"""What a server is told when it starts: where it listens, whom it answers, and what it bears."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

MIB = 2**20
MOST_WORKERS = 4


def usual_workers() -> int:
    """Worker processes where nobody says how many."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


class ServeSettings(BaseModel):
    """Every limit of the server, with values that suit one department.

    Attributes:
        host, port: where it listens.
        models: names, runs or model folders that are offered; without any, those that come with the package.
        device: where networks compute.
        token: what a program must send as `Authorization: Bearer`; None asks for none.
        allow_hosts: names, besides those of this machine, by which people call it.
        folder: below which the server keeps its own temporary folder; None takes the system's.
        max_upload_bytes: of one request, packed as it comes.
        max_unpacked_bytes: of its files, unpacked from ZIPs.
        max_files: of one request, those in ZIPs counted.
        max_slices: of one request.
        max_pixels: values (slices x height x width x channels) of one request.
        max_seconds: that a job may compute, and an upload may take.
        max_idle_upload_seconds: between two parts of an upload.
        max_uploads: that are received at once.
        max_jobs: of one session, whether they wait or are done.
        max_sessions: that hold something.
        max_stored_bytes: of all sessions together.
        memory_bytes: of one worker process.
        queue_length: jobs that wait; further ones are refused for now.
        workers: processes that compute: as many as cores, at most 4, since a lone slice occupies one core, while a
            volume spreads over those that are free.
        idle_minutes: after which a session and all that is in it goes.
        shutdown_seconds: that running jobs are given when the server is asked to end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    models: tuple[str, ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    token: SecretStr | None = None
    allow_hosts: tuple[str, ...] = ()
    folder: Path | None = None
    max_upload_bytes: int = Field(default=1024 * MIB, ge=1)
    max_unpacked_bytes: int = Field(default=4096 * MIB, ge=1)
    max_files: int = Field(default=5000, ge=1)
    max_slices: int = Field(default=2000, ge=1)
    max_pixels: int = Field(default=512 * MIB, ge=1)
    max_seconds: float = Field(default=900.0, gt=0)
    max_idle_upload_seconds: float = Field(default=30.0, gt=0)
    max_uploads: int = Field(default=32, ge=1)
    max_jobs: int = Field(default=200, ge=1)
    max_sessions: int = Field(default=1000, ge=1)
    max_stored_bytes: int = Field(default=16 * 1024 * MIB, ge=1)
    memory_bytes: int = Field(default=4 * 1024 * MIB, ge=256 * MIB)
    queue_length: int = Field(default=8, ge=1)
    workers: int = Field(default_factory=usual_workers, ge=1, le=64)
    idle_minutes: float = Field(default=15.0, gt=0)
    shutdown_seconds: float = Field(default=10.0, ge=0)

    @property
    def idle_seconds(self) -> float:
        """After which a session goes."""
        return self.idle_minutes * 60
