"""Files and folders on this machine as the parts of an upload, each opened only while it is sent."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeGuard

from tumorseg.errors import DataError, few

_NO_FILE, _NO_FOLDER = re.compile(r"[^A-Za-z0-9._-]+"), re.compile(r"[^A-Za-z0-9_-]+")

ScanPath = str | os.PathLike[str]
Channels = Mapping[str, int | str | os.PathLike[str]]
"""By the name of the sequence: the index of a channel, or a file or the folder of a series."""


@dataclass(frozen=True)
class Upload:
    """One file to send.

    Attributes:
        name: what the server is told it is called; of a file in a folder, with the folder.
        path: where it lies.
    """

    name: str
    path: Path


class LazyFile:
    """A file that is opened when it is first read and closed at its end, so that thousands can be sent at once.

    Args:
        path: of the file; how long it is, is read once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size
        self._place = 0
        self._file: IO[bytes] | None = None

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none at the end.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            if self._file is None:
                self._file = open(self._path, "rb")  # noqa: SIM115 - closed at its end
                self._file.seek(self._place)
            part = self._file.read(size)
        except OSError as error:
            raise DataError(f"{self._path} cannot be read: {error.strerror}", next_step="check it") from error
        self._place += len(part)
        if not part:
            self.close()
        return part

    def tell(self) -> int:
        """Where the next byte lies."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte, counted from the start, from here or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self.close()
        self._place = base + offset
        return self._place

    def close(self) -> None:
        """Close the file; to read on opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def find_uploads(inputs: Sequence[ScanPath], channels: Channels | None = None) -> tuple[list[Upload], str]:
    """What is to be sent, and what the server is told of its sequences.

    Args:
        inputs: files, folders with all that is in them but links and hidden files, and ZIPs; none where `channels`
            names files.
        channels: which channel or file is which sequence.

    Raises:
        DataError: something is not there, is no file, or there is nothing; or `channels` cannot be said.
    """
    channels = channels or {}
    named = {name: Path(value) for name, value in channels.items() if _is_path(value)}
    if named:
        if inputs or len(named) < len(channels):
            raise DataError(
                "channels names files, and something else is given beside them",
                next_step="give all sequences of one scan in channels, and no other scans",
            )
        found = [_of_sequence(name, path) for name, path in named.items()]
        return [each for uploads, _ in found for each in uploads], " ".join(word for _, word in found)
    uploads = _told_apart([list(_files(Path(path))) for path in inputs])
    if not uploads:
        what = few([str(path) for path in inputs]) or "nothing"
        raise DataError(f"there is no file to send in {what}", next_step="give image files, folders or ZIPs")
    words = [f"{name}={value}" for name, value in channels.items()]
    if any(len(word.split()) != 1 for word in words):
        raise DataError("channels holds a name with a blank in it", next_step="name files by their paths")
    return uploads, " ".join(words)


def _is_path(value: object) -> TypeGuard[ScanPath]:
    return isinstance(value, os.PathLike) or (isinstance(value, str) and os.path.lexists(value))


def _files(path: Path) -> Iterator[Upload]:
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", next_step="check the path") from error
    if stat.S_ISREG(kind):
        yield Upload(path.name, path)
        return
    if not stat.S_ISDIR(kind):
        raise DataError(f"{path} is neither a file nor a folder", next_step="give image files, folders or ZIPs")
    root = path.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder) / name
            if not name.startswith(".") and stat.S_ISREG(file.lstat().st_mode):
                yield Upload(f"{root.name}/{file.relative_to(root).as_posix()}", file)


def _told_apart(inputs: list[list[Upload]]) -> list[Upload]:
    """The uploads of all inputs; where two have one name, with the number of their input before it."""
    times = Counter(upload.name for uploads in inputs for upload in uploads)
    found = []
    for number, uploads in enumerate(inputs, start=1):
        doubled = any(times[upload.name] > 1 for upload in uploads)
        found += [replace(each, name=f"{number}/{each.name}") if doubled else each for each in uploads]
    return found


def _of_sequence(name: str, path: Path) -> tuple[list[Upload], str]:
    """The files of one sequence under a name that one word can hold, and that word."""
    uploads = list(_files(path))
    if not uploads:
        raise DataError(f"there is no file to send in {path}", next_step="check channels")
    if path.is_dir():
        home = f"{name}-{_NO_FOLDER.sub('-', path.resolve().name)}"
        sent = [replace(each, name=f"{home}/{each.name.partition('/')[2]}") for each in uploads]
        return sent, f"{name}={home}"
    word = f"{name}-{_NO_FILE.sub('-', path.name)}"
    if "." not in word:
        word += ".dcm"  # the server takes what has no suffix for a folder, and only DICOM goes without one
    return [replace(uploads[0], name=word)], f"{name}={word}"
