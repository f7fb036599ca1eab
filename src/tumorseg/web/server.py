"""The server without its addresses: models, sessions, the queue, and the processes that work it off."""

import asyncio
import contextlib
import logging
import shutil
import time
from pathlib import Path
from typing import Any

from tumorseg.errors import ModelError
from tumorseg.inference.catalogue import DEFAULT_MODEL, find_model, model_names, models_folder
from tumorseg.inference.installed import Installed, describe_model
from tumorseg.inference.model import read_model
from tumorseg.web.folder import ServerFolder
from tumorseg.web.jobs import Job, JobQueue, Status
from tumorseg.web.problems import Problem, Refused
from tumorseg.web.processes import Cancelled, WorkerProcess
from tumorseg.web.sessions import Session, Sessions
from tumorseg.web.settings import ServeSettings
from tumorseg.web.telemetry import Telemetry

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 10.0
SMALL_SECONDS = 120.0
"""Writing a file, or comparing two masks, may take so long."""

_MOST_SMALL = 32


class Server:
    """All that the routes speak to.

    Args:
        settings: the limits.

    Raises:
        ModelError: a model that is to be offered is none.
        OutputError: the private folder cannot be made.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.models = _offered(settings)
        self.folder = ServerFolder(settings.folder)
        self.sessions = Sessions(self.folder.path, settings)
        self.queue = JobQueue(settings.queue_length, settings.workers)
        self.telemetry = Telemetry()
        self.draining = False
        self.uploads = 0
        memory, device = str(settings.memory_bytes), settings.device
        first = str(next(iter(self.models.values())).path)
        self.workers = [WorkerProcess((memory, device, first), self.folder.path) for _ in range(settings.workers)]
        self.small = WorkerProcess((memory, device), self.folder.path)
        self._small_turn = asyncio.Lock()
        self._small_waiting = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._count_for_prometheus()

    @property
    def default(self) -> str:
        """The model that segments where none is named."""
        return next(iter(self.models))

    @property
    def ready(self) -> bool:
        """Whether a job would be worked on."""
        return not self.draining and any(worker.ready for worker in self.workers)

    async def start(self) -> None:
        """Start workers and clocks; they come up while the first requests are answered."""
        self._tasks = [asyncio.create_task(self._work(worker)) for worker in self.workers]
        self._tasks.append(asyncio.create_task(self._sweep()))
        self._tasks.append(asyncio.create_task(self._start_small()))

    def drain(self) -> None:
        """Take no more work; what waits is not begun any more."""
        self.draining = True
        for session in self.sessions:
            for job in session.jobs.values():
                if job.status == "queued":
                    self.queue.drop(job)
                    job.end("failed", ending().problem)

    async def stop(self) -> None:
        """Give running jobs some seconds, then end all processes and remove all files."""
        self.drain()
        running = [job for session in self.sessions for job in session.jobs.values() if job.status == "running"]
        if running:
            waits = [asyncio.create_task(job.ended_at.wait()) for job in running]
            await asyncio.wait(waits, timeout=self.settings.shutdown_seconds)
            for wait in waits:
                wait.cancel()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for worker in (*self.workers, self.small):
            await worker.stop()
        self.folder.remove()

    def new_job(self, session: Session, model: str, task: dict[str, Any], folder: Path, *, files: int) -> Job:
        """A job that is not submitted yet."""
        limits = self.settings
        found = self.models[model]
        task = {
            "do": "segment",
            "folder": str(folder),
            "model": str(found.path),
            "channels": "",
            "uploads": [],
            "references": [],
            "max_files": limits.max_files,
            "max_unpacked_bytes": limits.max_unpacked_bytes,
            "max_slices": limits.max_slices,
            "max_pixels": limits.max_pixels,
            **task,
        }
        return Job(folder=folder, model=model, model_path=str(found.path), task=task, files=files)

    async def submit(self, job: Job, session: Session) -> None:
        """Let a job wait for its turn."""
        session.jobs[job.id] = job
        await self.queue.put(job, session)

    def refuse_work(self, session: Session | None) -> None:
        """Raise Refused where nothing more is taken, from this session or at all."""
        if self.draining:
            raise ending()
        self.queue.refuse_full()
        if session is not None and len(session.jobs) >= self.settings.max_jobs:
            raise Refused(
                429,
                f"this session holds {len(session.jobs)} segmentations, the most there may be",
                next_step="delete what is not needed any more",
                retry_after=60,
            )
        if self.sessions.room() <= 0:
            raise Refused(503, "the server has no room for this now", next_step="try again later", retry_after=60)

    async def cancel(self, job: Job) -> None:
        """End a job, whether it waits or runs, and wait until it has ended."""
        self.queue.drop(job)
        if job.status == "queued":
            job.end("cancelled")
        elif job.status == "running":
            job.cancelled.set()
            await job.ended_at.wait()

    async def remove(self, job: Job, session: Session) -> None:
        """Cancel a job and delete its files."""
        session.jobs.pop(job.id, None)
        await self.cancel(job)
        await asyncio.to_thread(shutil.rmtree, job.folder, ignore_errors=True)

    async def small_task(self, task: dict[str, Any]) -> Any:
        """Write a file, read a reference, or measure a mask, in the process for such things.

        Raises:
            Refused: too many wait, or it cannot be done.
        """
        if self.draining:
            raise ending()
        if self._small_waiting >= _MOST_SMALL:
            raise Refused(429, "too many files are being written", next_step="try again", retry_after=2)
        self._small_waiting += 1
        try:
            async with self._small_turn:
                seconds = min(SMALL_SECONDS, self.settings.max_seconds)
                return await self.small.run(task, seconds=seconds)
        finally:
            self._small_waiting -= 1

    async def _start_small(self) -> None:
        async with self._small_turn:
            with contextlib.suppress(Refused):  # the first task tries again, and says so
                await self.small.start()

    async def _work(self, worker: WorkerProcess) -> None:
        """Work off the queue for as long as the server lives."""
        while True:
            if not worker.ready:
                try:
                    await worker.start()
                except Refused as error:
                    logger.error("%s", error)
                    await asyncio.sleep(SWEEP_SECONDS)
                    continue
            job = await self.queue.take()
            await self._run(worker, job)

    async def _run(self, worker: WorkerProcess, job: Job) -> None:
        started = time.monotonic()
        job.status = "running"
        self.queue.running += 1

        def advance(done: int, total: int) -> None:
            job.done, job.total = done, total

        status: Status = "failed"
        error: Problem | None = None
        try:
            result = await worker.run(
                job.task, seconds=self.settings.max_seconds, cancelled=job.cancelled, advance=advance
            )
            job.scans, job.failures = result["scans"], result["failures"]
            job.done = job.total = sum(scan["shape"][0] for scan in job.scans)
            job.bytes = await asyncio.to_thread(_size, job.folder)
            status = "done"
        except Cancelled:
            status = "cancelled"
        except Refused as refused:
            error = refused.problem
        except asyncio.CancelledError:
            job.end("failed", ending().problem)
            raise
        finally:
            self.queue.running -= 1
        if status != "done":
            await asyncio.to_thread(shutil.rmtree, job.folder, ignore_errors=True)
            job.bytes = 0
        seconds = time.monotonic() - started
        self.queue.took(seconds)
        self.telemetry.ended(status, seconds, job.done if status == "done" else 0)
        job.end(status, error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_SECONDS, self.settings.idle_seconds / 4))
            self.sessions.expire()

    def _count_for_prometheus(self) -> None:
        gauge = self.telemetry.gauge
        gauge("queue_length", "Jobs that wait", lambda: len(self.queue))
        gauge("jobs_running", "Jobs that are worked on", lambda: self.queue.running)
        gauge("sessions", "Sessions that hold something", lambda: len(self.sessions))
        gauge("stored_bytes", "Bytes of all sessions", lambda: sum(session.bytes for session in self.sessions))
        gauge("worker_starts", "How often worker processes were started", lambda: self._starts())
        gauge("worker_memory_bytes", "Memory of all worker processes", lambda: self._memory())

    def _starts(self) -> int:
        return sum(worker.starts for worker in (*self.workers, self.small))

    def _memory(self) -> int:
        return sum(worker.size for worker in (*self.workers, self.small))


def ending() -> Refused:
    """What a client is told while the server ends."""
    return Refused(503, "the server is being stopped", next_step="try again when it is back", retry_after=10)


def _offered(settings: ServeSettings) -> dict[str, Installed]:
    """The models by name, the default first."""
    places: list[Path | str] = list(settings.models)
    if not places:
        names = sorted(model_names(), key=lambda name: name != DEFAULT_MODEL)
        places = [models_folder() / name for name in names]
    found: dict[str, Installed] = {}
    for place in places:
        # Workers run in another folder.
        described = describe_model(read_model(find_model(place).resolve()))
        if described.name in found:
            raise ModelError(f"two models are named '{described.name}'", next_step="offer one of them")
        found[described.name] = described
    if not found:
        raise ModelError("there is no model to offer", next_step="name one with --model")
    return found


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
