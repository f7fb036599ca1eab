"""Where a data set is put together before it has its name: a hidden folder beside it, for one process at a time."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tumorseg.errors import OutputError
from tumorseg.files import unwritable

MIB = 2**20


def usable_folder(folder: Path) -> Path:
    """The folder's own path; it is replaced by a rename, which not every folder bears."""
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file", next_step="name a folder")
    if folder.is_dir() and (folder.is_mount() or Path.cwd().is_relative_to(folder)) and not any(folder.iterdir()):
        raise OutputError(
            f"{folder} is in use and cannot be replaced", next_step=f"name a new folder, as {folder}/data"
        )
    return folder


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """The hidden folder beside `folder`, for one process at a time; it stays where a download can be gone on with."""
    work = folder.parent / f".{folder.name}.partial"
    try:
        (work / "files").mkdir(parents=True, exist_ok=True)
        lock = open(work / "lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _no_room(unwritable(work, error)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{folder} is being fetched already", next_step="wait for that to end") from error
        try:
            yield work
        except OutputError as error:
            raise _no_room(error) from error
        except OSError as error:
            raise _no_room(unwritable(work, error)) from error
        finally:
            shutil.rmtree(work / "whole", ignore_errors=True)
            if not any((work / "files").iterdir()):
                shutil.rmtree(work, ignore_errors=True)


def _no_room(error: OutputError) -> OutputError:
    if "--output" not in error.next_step:
        return error
    return OutputError(error.what, next_step="free some space, or name another folder; what has come is kept")


def refuse_less_than(need: int, place: Path) -> None:
    """Raise OutputError where the disk of a folder has fewer bytes left."""
    free = shutil.disk_usage(place).free
    if need > free:
        raise OutputError(
            f"the disk of {place} has {free / MIB:,.0f} MiB left and at least {need / MIB:,.0f} MiB are needed",
            next_step="free some space, or name another folder",
        )


def empty(files: Path) -> None:
    """Delete the files in a folder."""
    for path in files.iterdir():
        path.unlink(missing_ok=True)
