"""Files that appear whole or not at all, and digests of what is in them."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tumorseg.errors import OutputError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there takes its name when the block ends well.

    The file is flushed to the disk before it is renamed, so that a file of this name is whole even after a
    power cut. When the block raises, nothing is left behind.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=f".partial{path.suffix}")
        os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """The same for a whole folder: it is filled beside `path` and renamed at the end.

    Raises:
        OutputError: `path` exists and is not empty, or cannot be written.
    """
    path = Path(path)
    refuse_existing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        if path.is_dir():
            path.rmdir()
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with two-space indents, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def refuse_existing(path: Path) -> None:
    """Raise OutputError where `path` is a file, or a folder that holds something."""
    if path.is_dir():
        if any(path.iterdir()):
            raise OutputError(f"{path} exists and is not empty", next_step="choose another --output, or delete it")
    elif path.exists() or path.is_symlink():
        raise OutputError(f"{path} exists and is not a folder", next_step="choose another --output, or delete it")


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error for a path that the operating system would not let us write."""
    return OutputError(
        f"cannot write {path}: {error.strerror or error}",
        next_step="free some space or choose another --output",
    )


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where prepared data lies: $TUMORSEG_CACHE, else $XDG_CACHE_HOME/tumorseg, else ~/.cache/tumorseg."""
    if chosen := os.environ.get("TUMORSEG_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tumorseg"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
