"""Worker processes: started, told tasks, watched, ended when they overrun, and started again."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tumorseg.web.problems import Problem, Refused

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""After its time, or its cancellation, a worker may come to the end of its slice."""

_LINE_BYTES = 256 * 2**20
_START_SECONDS = 120.0
_GROWTH = 2**30
"""A worker that has grown by so many bytes is replaced."""

Advance = Callable[[int, int], None]


class Cancelled(Exception):
    """The task was cancelled, as asked."""


class WorkerProcess:
    """One worker process and what is said to it; one task at a time.

    Args:
        arguments: of `tumorseg.web.worker`.
        folder: in which it runs.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._arguments = tuple(arguments)
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._first_size = 0
        self.ready = False
        self.starts = 0

    async def start(self) -> None:
        """Start it and wait until it can take a task.

        Raises:
            Refused: it does not come up.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUMORSEG_TOKEN")}
        self.starts += 1
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "tumorseg.web.worker",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LINE_BYTES,
            cwd=self._folder,
            env=environment,
            start_new_session=True,
        )
        try:
            message = await asyncio.wait_for(self._hear(), _START_SECONDS)
        except TimeoutError:
            message = None
        if message is None:
            await self.stop()
            raise Refused(503, "the server cannot start its worker", next_step="tell whoever runs it")
        self._first_size = self.size
        self.ready = True

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        if self._process is None or self._process.returncode is not None:
            return 0
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def run(
        self,
        task: dict[str, Any],
        *,
        seconds: float,
        cancelled: asyncio.Event | None = None,
        advance: Advance = lambda done, total: None,
    ) -> Any:
        """Do a task.

        Args:
            task: what `tumorseg.web.worker` is told.
            seconds: it may take; a worker that does not keep to them is ended.
            cancelled: is set when nobody wants the task any more.
            advance: told how many slices are done, of how many.

        Raises:
            Refused: what was sent cannot be used, or took too much of the server.
            Cancelled: it was.
        """
        if not self.ready:
            await self.start()
        limit = time.monotonic() + seconds + GRACE_SECONDS
        try:
            assert self._process is not None  # start() has just seen to it
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({**task, "seconds": seconds}).encode() + b"\n")
            with contextlib.suppress(ConnectionError):  # its end is noticed when it is heard
                await self._process.stdin.drain()
            return await self._followed(limit, cancelled, advance)
        except asyncio.CancelledError:
            await self.stop()
            raise
        finally:
            if self.ready and self.size > self._first_size + _GROWTH:
                await self.stop()

    async def _followed(self, limit: float, cancelled: asyncio.Event | None, advance: Advance) -> Any:
        wanted = asyncio.ensure_future(cancelled.wait()) if cancelled is not None else None
        hearing = asyncio.ensure_future(self._hear())
        told = False
        try:
            while True:
                waited = {hearing} if told or wanted is None else {hearing, wanted}
                left = max(0.0, limit - time.monotonic())
                await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if hearing.done():
                    message = hearing.result()
                    if message is None:
                        await self.stop()
                        if told:
                            raise Cancelled
                        raise Refused(
                            422,
                            "the worker did not survive this: it is damaged, or too large for the server's memory",
                            next_step="export it again, or send smaller scans",
                        )
                    if message["event"] == "progress":
                        advance(message["done"], message["total"])
                        hearing = asyncio.ensure_future(self._hear())
                        continue
                    return _outcome(message)
                if wanted is not None and wanted.done() and not told:
                    told = True
                    limit = min(limit, time.monotonic() + GRACE_SECONDS)
                    self._cancel()
                    continue
                if time.monotonic() >= limit:
                    logger.warning("a worker did not end in time and was stopped")
                    await self.stop()
                    if told:
                        raise Cancelled
                    raise Refused(
                        504, "this took longer than the server allows", next_step="send fewer or smaller scans"
                    )
        finally:
            hearing.cancel()
            if wanted is not None:
                wanted.cancel()

    def _cancel(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b'{"cancel": true}\n')

    async def _hear(self) -> dict[str, Any] | None:
        """The next message; None when there will be none."""
        if self._process is None or self._process.stdout is None:
            return None
        try:
            line = await self._process.stdout.readline()
            message: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            return None
        return message

    async def stop(self) -> None:
        """End it at once; it holds nothing that must be saved."""
        self.ready = False
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


def _outcome(message: dict[str, Any]) -> Any:
    if message["event"] == "done":
        return message["result"]
    if message["event"] == "cancelled":
        raise Cancelled
    if message["event"] == "problem":
        found = Problem(**message["problem"])
        raise Refused(found.status, found.detail, next_step=found.next_step)
    # The message of an exception may hold a patient's name; where it happened does not.
    logger.error("a worker failed with %s at %s", message.get("kind"), " < ".join(reversed(message.get("where", []))))
    if message.get("reads"):
        raise Refused(
            422,
            "this cannot be read: it may be damaged in a way that was not foreseen",
            next_step="export it again; if that does not help, report it to whoever runs the server",
        )
    raise Refused(500, "this is a bug of the server", next_step="report it to whoever runs it")
