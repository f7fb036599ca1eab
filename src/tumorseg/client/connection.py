"""The connection to a server, and the jobs that it works on."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tumorseg.address import Credentials, bearer
from tumorseg.answer import Patience
from tumorseg.client.answers import JobState, ModelInfo, job_state, mapping, mappings, model_info
from tumorseg.client.result import Result, scan_result
from tumorseg.client.uploads import Channels, LazyFile, ScanPath, Upload, find_uploads
from tumorseg.errors import DataError, ServerError
from tumorseg.remote import Remote

logger = logging.getLogger(__name__)

Watch = Callable[[JobState], None]
"""Called with each state of a job that was asked for."""

BUSY = Patience(timeout=60.0, attempts=12, first_wait=0.5, longest_wait=120.0)
"""A queue that is full has room again in a while: more attempts than a server that is down deserves."""

JOBS = "/v1/segmentations"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0


class Client:
    """A server of `tumorseg serve`; what is sent to it is deleted there when the client is closed.

    Args:
        url: its address, such as https://host or https://host/tumorseg.
        token: where the server asks for one.
        timeout: seconds without a byte after which a connection is given up.
        insecure: send the token over http:// to another machine too.

    Raises:
        ServerError: no usable address, or one over which the token would travel unprotected.
        MissingExtra: httpx2 is not installed.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = BUSY.timeout, insecure: bool = False
    ) -> None:
        credentials = Credentials(
            bearer(token) if token is not None else "", missing="give the server's token", insecure=insecure
        )
        self._remote = Remote(url, credentials=credentials, patience=replace(BUSY, timeout=timeout))
        self._jobs: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def segment(
        self,
        scans: ScanPath | Sequence[ScanPath] = (),
        *,
        model: str | None = None,
        channels: Channels | None = None,
        references: Sequence[ScanPath] = (),
        progress: Watch | None = None,
        longest: float | None = None,
    ) -> Result:
        """Send scans and wait for their masks; see `submit` and `Job.wait`. When interrupted, the job is cancelled."""
        job = self.submit(scans, model=model, channels=channels, references=references)
        try:
            return job.wait(progress=progress, longest=longest)
        except BaseException:
            with suppress(ServerError):
                job.cancel()
            raise

    def submit(
        self,
        scans: ScanPath | Sequence[ScanPath] = (),
        *,
        model: str | None = None,
        channels: Channels | None = None,
        references: Sequence[ScanPath] = (),
    ) -> "Job":
        """Send scans; they wait for their turn. A server that is busy is asked again after the time that it names.

        Args:
            scans: files, folders and ZIPs; none where `channels` names files.
            model: of `models`; without it, the server's default.
            channels: which channel of each scan is which sequence, such as {"flair": 1}, or what the files' names look
                like, such as {"flair": "*_flair.nii.gz"}; or the files and folders of one scan themselves.
            references: reference masks, to be compared with.

        Raises:
            DataError: there is nothing to send, or more than the server takes.
            ServerError: the server cannot be reached, or refuses.
        """
        inputs = [scans] if isinstance(scans, str | os.PathLike) else list(scans)
        uploads, word = find_uploads(inputs, channels)
        compared = find_uploads(references)[0] if references else []
        self._refuse_too_much([*uploads, *compared])
        fields = {"channels": word} if word else {}
        if model is not None:
            fields["model"] = model

        files = [("file", _part(each)) for each in uploads] + [("reference", _part(each)) for each in compared]
        state = job_state(self._remote.json("POST", JOBS, data=fields, files=files), self._remote.origin)
        job = Job(self._remote, state)
        self._jobs.append(job)
        return job

    def models(self) -> tuple[ModelInfo, ...]:
        """The models that the server offers.

        Raises:
            ServerError: it cannot be reached, or refuses.
        """
        return tuple(map(model_info, mappings(mapping(self._remote.json("GET", "/v1/models")).get("models"))))

    def card(self, model: str) -> str:
        """A model's card, in Markdown.

        Raises:
            ServerError: there is no such model, or the server cannot be reached.
        """

        def attempt() -> str:
            with self._remote.asking("GET", f"/v1/models/{quote(model, safe='')}/card") as answer:
                return b"".join(self._remote.parts(answer, most=2**24)).decode("utf-8", "replace")

        return self._remote.patiently(attempt)

    def limits(self) -> dict[str, float]:
        """What the server takes at most, such as max_upload_bytes.

        Raises:
            ServerError: it cannot be reached, or refuses.
        """
        said = mapping(self._remote.json("GET", "/v1/limits"))
        return {name: value for name, value in said.items() if isinstance(value, int | float) and value is not True}

    def close(self) -> None:
        """Delete on the server what was sent, and let go of the connection."""
        for job in self._jobs:
            try:
                job.delete()
            except ServerError as error:
                logger.debug("a job could not be deleted and goes when its session does: %s", error)
        self._jobs.clear()
        self._remote.close()

    def _refuse_too_much(self, uploads: Sequence[Upload]) -> None:
        """Raise DataError, before anything is sent, for what the server would refuse once all has come."""
        limits = self.limits()
        size = sum(upload.path.stat().st_size for upload in uploads)
        most_bytes, most_files = limits.get("max_upload_bytes", size), limits.get("max_files", len(uploads))
        if size > most_bytes:
            raise DataError(
                f"these are {size / 2**20:,.0f} MiB, more than the {most_bytes / 2**20:,.0f} that the server takes",
                next_step="send fewer scans at once",
            )
        if len(uploads) > most_files:
            raise DataError(
                f"these are {len(uploads):,} files, more than the {most_files:,.0f} that the server takes",
                next_step="send fewer scans at once, or pack them in a ZIP",
            )


class Job:
    """Scans that were sent.

    Args:
        remote: the server.
        state: as it last described the job.
    """

    def __init__(self, remote: Remote, state: JobState) -> None:
        self._remote = remote
        self.state = state

    @property
    def id(self) -> str:
        """By which the server knows it; a secret of this session."""
        return self.state.id

    def refresh(self) -> JobState:
        """Ask how far it is.

        Raises:
            ServerError: the server has it no more, or cannot be reached.
        """
        self.state = job_state(self._remote.json("GET", self._place), self._remote.origin)
        return self.state

    def wait(self, *, progress: Watch | None = None, longest: float | None = None) -> Result:
        """Wait until it has ended.

        Args:
            progress: called with each state that was asked for, of the first and the last one too.
            longest: seconds; None waits for ever.

        Raises:
            DataError: no scan could be segmented; says why.
            ServerError: it was cancelled, is not done in time, or the server is gone.
        """
        since, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            if progress is not None:
                progress(self.state)
            if self.state.ended:
                return self._result()
            if longest is not None and time.monotonic() - since + pause > longest:
                raise ServerError(f"the segmentation is not done after {longest:g} s", next_step="wait longer")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            self.refresh()

    def cancel(self) -> None:
        """Stop it, and delete on the server what was sent for it; nothing happens where that is so already.

        Raises:
            ServerError: the server cannot be reached, or refuses.
        """
        try:
            self._remote.json("DELETE", self._place)
        except ServerError as error:
            if error.status not in (404, 410):
                raise

    delete = cancel

    @property
    def _place(self) -> str:
        return f"{JOBS}/{self.id}"

    def _result(self) -> Result:
        state = self.state
        if state.status == "failed":
            raise DataError(state.problem or "the segmentation failed", next_step=state.next_step)
        if state.status == "cancelled":
            raise ServerError("the segmentation was cancelled", next_step="send the scan again")
        return Result(
            tuple(scan_result(said, self._remote, self._place) for said in state.scans),
            state.failures,
            state.model,
            self._remote,
            self._place,
        )


def _part(upload: Upload) -> tuple[str, LazyFile, str]:
    return upload.name, LazyFile(upload.path), "application/octet-stream"
