"""A worker process: all that touches what users send happens here, behind limits, one task at a time.

It is told tasks as lines of JSON on its standard input and answers with lines of JSON on what was its standard output.
Whatever libraries print goes nowhere, since it may name patients.
"""

import ctypes
import gc
import json
import logging
import os
import queue
import resource
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tumorseg.errors import TumorsegError
from tumorseg.web.problems import Problem, Refused, of_error, problem

OPEN_FILES = 4096
_SLACK = 64 * 2**20
"""Growth from which on it is worth the time to give memory back."""

_READING = ("segment", "reference")
"""Tasks that read what users sent, where the unforeseen is the file's fault before it is ours."""


class Cancelled(Exception):
    """The job is not wanted any more."""


class Overdue(Exception):
    """The job took too long."""


class Worker:
    """Takes tasks until its standard input ends.

    Args:
        answers: where its lines go.
        device: where networks compute.
    """

    def __init__(self, answers: IO[str], device: str) -> None:
        self._answers = answers
        self._device = device
        self._tasks: queue.Queue[dict[str, Any]] = queue.Queue()
        self._cancelled = threading.Event()
        self._deadline = float("inf")
        self._done = self._total = 0
        self._segmenter: Any = None

    def run(self) -> None:
        """Work until nobody is left to work for."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(event="ready")
        self._least = _size()
        while True:
            task = self._tasks.get()
            self._deadline = time.monotonic() + float(task.get("seconds") or 1e9)
            self._say(**self._result(task))
            if _size() > self._least + _SLACK:
                _give_memory_back()
                self._least = _size()

    def _listen(self) -> None:
        """Read tasks and cancellations; a parent that has gone, however it went, ends this process."""
        for line in sys.stdin:
            message = json.loads(line)
            if message.get("cancel"):
                self._cancelled.set()
            else:
                self._cancelled.clear()
                self._tasks.put(message)
        os._exit(0)

    def _say(self, **message: Any) -> None:
        try:
            self._answers.write(json.dumps(message) + "\n")
            self._answers.flush()
        except OSError:
            os._exit(0)

    def _result(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """What a task comes to; nothing that it raises leaves here, and no text of it but what we wrote ourselves."""
        try:
            return {"event": "done", "result": self._do(task)}
        except Refused as error:
            return _refusal(error.problem)
        except TumorsegError as error:
            return _refusal(of_error(error, {}))
        except Cancelled:
            return {"event": "cancelled"}
        except Overdue:
            return _refusal(problem(504, "this took longer than the server allows", "send fewer or smaller scans"))
        except MemoryError:
            return _refusal(problem(413, "this needs more memory than the server gives", "send smaller scans"))
        except RecursionError:
            return _refusal(problem(422, "a file is nested without end", "export it again"))
        except Exception as error:
            if not Path(task["folder"]).exists():
                return _refusal(problem(404, "this was deleted meanwhile", "send the scan again"))
            frames = traceback.extract_tb(error.__traceback__)
            where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
            reads = task.get("do") in _READING
            return {"event": "bug", "kind": type(error).__name__, "where": where, "reads": reads}

    def _do(self, task: Mapping[str, Any]) -> Any:
        folder = Path(task["folder"])
        with _temporary_files(folder):
            if task["do"] == "segment":
                return self._segment(task, folder)
            return _small(task, folder)

    def _segment(self, task: Mapping[str, Any], folder: Path) -> Any:
        from tumorseg.web.segmenting import Work

        self._done = self._total = 0
        work = Work(
            folder=folder,
            model=task["model"],
            channels=task["channels"],
            uploads=_uploads(task["uploads"]),
            references=_uploads(task["references"]),
            max_files=task["max_files"],
            max_unpacked_bytes=task["max_unpacked_bytes"],
            max_slices=task["max_slices"],
            max_pixels=task["max_pixels"],
        )
        if example := task.get("example"):
            from tumorseg.web.examples import draw

            uploads, references = draw(example, folder)
            work = Work(**{**vars(work), "uploads": uploads, "references": references})
        return self.segmenter().segment(work, self._begun)

    def segmenter(self) -> Any:
        """Made when it is first needed, since processes that only write files need none."""
        if self._segmenter is None:
            from tumorseg.web.segmenting import Segmenter

            self._segmenter = Segmenter(device=self._device)  # type: ignore[arg-type]
            self._segmenter.done = self._advance
        return self._segmenter

    def _begun(self, total: int) -> None:
        self._total = total
        self._advance(0)

    def _advance(self, slices: int) -> None:
        self._done += slices
        if self._total > 1:
            self._say(event="progress", done=self._done, total=self._total)
        if self._cancelled.is_set():
            raise Cancelled
        if time.monotonic() > self._deadline:
            raise Overdue


def _small(task: Mapping[str, Any], folder: Path) -> Any:
    """Everything but segmenting."""
    from tumorseg.web.stored import StoredScan

    options: dict[str, Any] = {"threshold": task.get("threshold"), "edited": bool(task.get("edited"))}
    if task["do"] == "results":
        from tumorseg.web.exporting import export_all

        scans = [StoredScan.open(folder / name) for name in task["scans"]]
        return str(export_all(scans, task["failures"], task["model"], Path(task["output"]), **options))
    scan = StoredScan.open(folder / task["scan"])
    if task["do"] == "export":
        from tumorseg.web.exporting import export

        return str(export(scan, task["kind"], Path(task["output"]), **options))
    if task["do"] == "edit":
        from tumorseg.web.exporting import correct

        return correct(scan, Path(task["body"]))
    from tumorseg.web.reference import scores, take_reference

    if task["do"] == "reference":
        take_reference(_uploads(task["uploads"]), scan, max_bytes=task["max_unpacked_bytes"])
    return scores(scan, **options)


def _uploads(pairs: Any) -> Any:
    from tumorseg.web.arranged import Upload

    return tuple(Upload(name, Path(path)) for name, path in pairs)


def _refusal(found: Problem) -> dict[str, Any]:
    return {"event": "problem", "problem": found.model_dump()}


@contextmanager
def _temporary_files(folder: Path) -> Iterator[None]:
    """Temporary files of a task lie in its own folder, and go with it."""
    place = folder / "temporary"
    place.mkdir(mode=0o700, exist_ok=True)
    tempfile.tempdir = str(place)
    try:
        yield
    finally:
        tempfile.tempdir = None
        shutil.rmtree(place, ignore_errors=True)


def _size() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _give_memory_back() -> None:
    """Return freed memory to the system, so that one large scan does not mark the process for ever."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return  # another C library keeps its own house


def _limit(memory: int) -> None:
    """No more memory than this, no core dump with patients in it, files for the owner alone."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, OPEN_FILES), hard), hard))


def main() -> None:
    """Start as `python -m tumorseg.web.worker MEMORY DEVICE [MODEL...]`: models that are made ready at once."""
    memory, device, *models = sys.argv[1:]
    _limit(int(memory))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    logging.disable(logging.CRITICAL)
    worker = Worker(answers, device)
    for model in models:
        try:
            worker.segmenter().warm(model)
        except TumorsegError:
            continue  # every job with it will say so
    worker.run()


if __name__ == "__main__":
    main()
