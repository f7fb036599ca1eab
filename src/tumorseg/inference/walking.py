"""The files that an input names: itself, those in a folder's tree, or those in a ZIP."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorseg.errors import DataError, TumorsegError, few
from tumorseg.formats import FORMATS, Format, find_format, split_name
from tumorseg.formats.dicom_file import is_dicom
from tumorseg.inference.unpacking import SUFFIX as ZIP
from tumorseg.inference.unpacking import Unpacked

logger = logging.getLogger(__name__)

MASK, OVERLAY = "_mask", "_overlay"
_NO_SCANS = ("dicomdir",)


@dataclass(frozen=True)
class Failure:
    """A file or folder that could not be segmented, and why, with what to do next."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """A file of a scan.

    Attributes:
        path: where it is read.
        root: the folder below which its place is mirrored.
        format: what it is taken for.
        mirrored: its place below `root`, in the output as in the input.
        lone: whether it was named by itself, not found in a folder.
    """

    path: Path
    root: Path
    format: Format
    mirrored: Path
    lone: bool = False


def files_of(path: Path, unpacked: Unpacked, failures: list[Failure]) -> Iterator[Found]:
    """The files that one input names; those in a folder that cannot be read are failures.

    Raises:
        DataError: the input does not exist or is of no format that is read.
    """
    if path.is_dir():
        yield from _walk(path, path, Path(), unpacked, failures)
    elif not os.path.lexists(path):
        raise DataError(f"input {path} does not exist", next_step="check the path")
    elif _is_zip(path):
        yield from _unzipped(path, path.parent, Path(), unpacked, failures)
    else:
        kind = format_of(path)
        if kind is None:
            split_name(path)  # says which formats are read
        elif not is_mask(path):
            yield Found(path, path.parent, kind, Path(path.name), lone=True)


def format_of(path: Path) -> Format | None:
    """The format that a file's name promises, or its first bytes where the name promises none."""
    kind = find_format(path)
    if kind is not None or path.name.lower() in _NO_SCANS:
        return kind
    return FORMATS["dicom"] if is_dicom(path) else None


def is_mask(path: Path) -> bool:
    """Whether a file's name says that it is a mask."""
    return _stem_ends(path, MASK)


def _walk(root: Path, folder: Path, below: Path, unpacked: Unpacked, failures: list[Failure]) -> Iterator[Found]:
    """Files below a folder, in the order of their names; links out of it are not followed, which a warning says.

    Args:
        root: what the places in the output are relative to.
        folder: what is walked.
        below: where that lies in `root`, as people see it.
    """
    home = Path(os.path.realpath(folder))

    def refuse(error: OSError) -> None:
        place = Path(error.filename or folder)
        failures.append(Failure(place, f"folder {place} cannot be read: {error.strerror}; check its permissions"))

    def inside(path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(home)  # Path.resolve raises where links go in a circle

    outside: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        outside += [path for path in (Path(place) / name for name in folders) if path.is_symlink() and not inside(path)]
        links = []
        for name in sorted(names):
            path = Path(place) / name
            if name.startswith("."):
                continue
            if path.is_symlink():
                links.append(path)
            else:
                yield from _entry(path, root, below / path.relative_to(folder), unpacked, failures)
        for path in links:
            if inside(path):
                yield from _entry(path, root, below / path.relative_to(folder), unpacked, failures)
            elif _is_zip(path) or find_format(path) is not None:
                outside.append(path)
    if outside:
        logger.warning(
            "links that lead out of %s are not followed: %s; give what they lead to as inputs",
            folder,
            few([path.name for path in outside]),
        )


def _entry(path: Path, root: Path, mirrored: Path, unpacked: Unpacked, failures: list[Failure]) -> Iterator[Found]:
    """One file of a folder: a scan's, a ZIP, or neither."""
    if _is_zip(path):
        if unpacked.holds(path):
            failures.append(Failure(path, f"{path} is a ZIP in a ZIP, which is not unpacked; unpack it by hand"))
            return
        try:
            yield from _unzipped(path, root, mirrored.parent, unpacked, failures)
        except TumorsegError as error:
            failures.append(Failure(path, str(error)))
        return
    kind = format_of(path)
    if kind is not None and not is_mask(path) and not _stem_ends(path, OVERLAY):
        yield Found(path, root, kind, mirrored)


def _unzipped(path: Path, root: Path, below: Path, unpacked: Unpacked, failures: list[Failure]) -> Iterator[Found]:
    """The files in a ZIP, mirrored as if it were a folder of its name."""
    home = unpacked.unpack(path)
    yield from _walk(root, home, below / home.name, unpacked, failures)


def _is_zip(path: Path) -> bool:
    return path.name.lower().endswith(ZIP)


def _stem_ends(path: Path, ending: str) -> bool:
    return find_format(path) is not None and split_name(path)[0].lower().endswith(ending)


def distinct(found: Iterator[Found]) -> Iterator[Found]:
    """Each file once, however often and by whatever names it was given."""
    seen: set[str] = set()
    for file in found:
        key = os.path.realpath(file.path)
        if key not in seen:
            seen.add(key)
            yield file


def outermost_first(inputs: Sequence[Path]) -> list[Path]:
    """Folders first, the outermost before those in it: what is named twice is mirrored below the outermost."""
    return sorted(map(Path, inputs), key=lambda path: (not path.is_dir(), len(path.absolute().parts)))
