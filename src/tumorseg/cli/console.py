"""What people see on stderr (messages, progress) and what programs read on stdout (results)."""

import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from tumorseg.errors import MissingExtra
from tumorseg.progress import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

T = TypeVar("T")
Tick = Callable[[int], None]

EXIT_BROKEN_PIPE = 141

TRAIN_PACKAGES = (
    "torch",
    "lightning",
    "segmentation_models_pytorch",
    "timm",
    "monai",
    "sklearn",
    "onnx",
    "safetensors",
    "tensorboard",
)
"""What the extra [train] brings; a verb that misses one of them says so."""

WEB_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "reportlab")
"""What the extra [web] brings."""

CHATTY = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "py.warnings")
"""Loggers whose level must be set by name, since their package sets its own when it is imported."""

SECONDS_BETWEEN_LINES = 10.0
"""Where stderr is no terminal, progress is a plain line at most this often."""


@cache
def console() -> "Console":
    """The one rich console of the process, on stderr; it respects NO_COLOR."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def emit(text: str) -> None:
    """Write a result to stdout, as it is; end the run quietly where its reader has left, as `head` does."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise typer.Exit(reader_has_gone()) from None


def reader_has_gone() -> int:
    """Give the exit code for a reader that has left, and send what is still buffered nowhere."""
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(sink, stream.fileno())
    os.close(sink)
    return EXIT_BROKEN_PIPE


def emit_json(value: Any) -> None:
    """Write a result to stdout as JSON for programs."""
    emit(json.dumps(value, indent=2, ensure_ascii=False))


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Rows of text as left-aligned columns, two spaces apart; the last column is not padded."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines)


class MessageHandler(logging.Handler):
    """Log records as lines on stderr, above the progress bars where there are some."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            if record.exc_info is None:
                text = " ".join(text.splitlines())  # a file's name may hold a newline
            if record.levelno >= logging.WARNING:
                text = f"{record.levelname.lower()}: {text}"
            if sys.stderr.isatty():
                style = "yellow" if record.levelno >= logging.WARNING else ""
                console().print(text, style=style, markup=False, emoji=False)
            else:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()
        except Exception:  # logging must never end the run; the base class says what happened
            self.handleError(record)


def set_up_messages(verbosity: int) -> None:
    """Send log messages to stderr: -1 only errors, 0 what people need, 1 everything with the source's name.

    Libraries are heard with 1 alone: their hints and warnings are about code, not about scans.
    """
    verbose = verbosity > 0
    handler = MessageHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s" if verbose else "%(message)s"))
    logging.getLogger().handlers = [handler]
    others = logging.INFO if verbose else logging.ERROR
    logging.getLogger().setLevel(others)
    for name in CHATTY:
        logging.getLogger(name).setLevel(others)
    level = logging.DEBUG if verbose else logging.ERROR if verbosity < 0 else logging.INFO
    logging.getLogger("tumorseg").setLevel(level)
    logging.captureWarnings(True)


def require_training() -> None:
    """Raise MissingExtra where a package of the extra [train] is not installed, before anything is begun."""
    for package in TRAIN_PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra="train")


def require_web() -> None:
    """Raise MissingExtra where a package of the extra [web] is not installed."""
    for package in WEB_PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra="web")


def shows_bars() -> bool:
    """Whether stderr is a terminal that can show bars, and -q was not given."""
    return _talking() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _talking() -> bool:
    return logging.getLogger("tumorseg").isEnabledFor(logging.INFO)


def console_progress() -> "ConsoleProgress":
    """What a verb hands to the library as its `Progress`; silent with -q."""
    return _PROGRESS


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Tick]:
    """Show the progress of a block of work; the block calls `tick(n)` when n more items are done."""
    with _PROGRESS.showing(what, total) as tick:
        yield tick


class ConsoleProgress:
    """Progress bars with the time left on a terminal; plain lines, now and then, everywhere else."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._open = 0

    def track(self, items: Iterable[T], *, what: str, total: int | None = None) -> Iterator[T]:
        """Yield the items and show how many are done."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        with self.showing(what, total) as tick:
            for item in items:
                yield item
                tick(1)

    @contextmanager
    def showing(self, what: str, total: int | None) -> Iterator[Tick]:
        """Show one task; several may be open at once."""
        if not _talking():
            yield _ignore
        elif shows_bars():
            with self._bar(what, total) as tick:
                yield tick
        else:
            yield _lines(what, total)

    @contextmanager
    def _bar(self, what: str, total: int | None) -> Iterator[Tick]:
        if self._bars is None:
            self._bars = _new_bars()
            self._bars.start()
        bars = self._bars
        self._open += 1
        task = bars.add_task(what, total=total)
        try:
            yield lambda n: bars.advance(task, n)
        finally:
            self._open -= 1
            bars.stop_task(task)
            if self._open:
                bars.remove_task(task)
            else:
                bars.stop()
                self._bars = None


_PROGRESS = ConsoleProgress()


def _new_bars() -> "Bars":
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console(),
    )


def _lines(what: str, total: int | None) -> Tick:
    """Progress as plain log lines, at most one every `SECONDS_BETWEEN_LINES`; short work shows nothing."""
    log = logging.getLogger("tumorseg.progress")
    started = shown = time.monotonic()
    done = 0

    def tick(n: int) -> None:
        nonlocal done, shown
        done += n
        now = time.monotonic()
        if now - shown < SECONDS_BETWEEN_LINES:
            return
        shown = now
        if total:
            left = (now - started) / max(done, 1) * (total - done)
            log.info("%s: %d of %d, %s left", what, done, total, duration(left))
        else:
            log.info("%s: %d", what, done)

    return tick


def _ignore(n: int) -> None:
    """A tick that shows nothing."""
