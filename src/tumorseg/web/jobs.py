"""A job, and the queue in which it waits for its turn."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tumorseg.web.problems import Problem, Refused

if TYPE_CHECKING:
    from tumorseg.web.sessions import Session

Status = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[Status, ...] = ("done", "failed", "cancelled")

_ID_BYTES = 16
_FIRST_GUESS = 2.0


@dataclass(eq=False)
class Job:
    """One upload on its way to masks.

    Attributes:
        folder: private, in its session's.
        model: the name that the user chose; `model_path` is where it lies.
        task: what a worker is told.
        files: how many were sent.
        bytes: on the disk.
        done, total: slices.
        scans: public records, once there.
        failures: of single files.
        error: why there is nothing.
        ended_at: an event for those who wait.
        cancelled: an event for the worker.
        changing: taken while a scan's correction or reference is written.
    """

    folder: Path
    model: str
    model_path: str
    task: dict[str, Any]
    files: int = 0
    bytes: int = 0
    id: str = field(default_factory=lambda: secrets.token_urlsafe(_ID_BYTES))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: Status = "queued"
    done: int = 0
    total: int = 0
    scans: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    error: Problem | None = None
    ended_at: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    def end(self, status: Status, error: Problem | None = None) -> None:
        """Settle what became of it."""
        self.status, self.error = status, error
        self.ended_at.set()

    def scan(self, index: int) -> dict[str, Any]:
        """The public record of a scan, counted from 1.

        Raises:
            Refused: the job has no such scan, or none yet.
        """
        if not self.ended:
            raise Refused(409, "the segmentation is not done yet", next_step="ask again when its status is done")
        if not 1 <= index <= len(self.scans):
            raise Refused(404, "there is no such scan in this segmentation", next_step="scans count from 1")
        return self.scans[index - 1]


@dataclass(eq=False)
class _Waiting:
    job: Job
    session: "Session"


class JobQueue:
    """Jobs that wait. Of all sessions the one is next whose last turn is longest ago, so that nobody's hundred scans
    stand before another's one.

    Args:
        length: how many may wait.
        workers: that take from it.
    """

    def __init__(self, length: int, workers: int) -> None:
        self._length = length
        self._workers = workers
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Condition()
        self._seconds = _FIRST_GUESS
        self.running = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def refuse_full(self) -> None:
        """Raise Refused, with the time after which there should be room, where no more may wait."""
        if len(self._waiting) >= self._length:
            raise Refused(
                429,
                "too many scans are waiting",
                next_step="try again after the seconds that Retry-After says",
                retry_after=max(1.0, self._seconds * len(self._waiting) / self._workers / 2),
            )

    async def put(self, job: Job, session: "Session") -> None:
        """Let a job wait for its turn."""
        async with self._arrived:
            self._waiting.append(_Waiting(job, session))
            self._arrived.notify()

    async def take(self) -> Job:
        """The next job, as soon as there is one."""
        async with self._arrived:
            while not self._waiting:
                await self._arrived.wait()
            entry = min(self._waiting, key=lambda waiting: waiting.session.served)
            self._waiting.remove(entry)
            entry.session.served = time.monotonic()
            return entry.job

    def drop(self, job: Job) -> None:
        """Take a job out that is not wanted any more."""
        self._waiting = [entry for entry in self._waiting if entry.job is not job]

    def position(self, job: Job) -> int:
        """How many stand before a job if all sessions were one; 0 where it does not wait."""
        places: Sequence[Job] = [entry.job for entry in self._waiting]
        return places.index(job) + 1 if job in places else 0

    def took(self, seconds: float) -> None:
        """Note how long a job took, for what Retry-After says."""
        self._seconds += 0.2 * (seconds - self._seconds)
