"""What people name on the command line, as scans: a file, several, or a folder with all that is in it.

Files `<stem>_<number>.<suffix>` in one folder are one scan, ordered by the number; any other file is its own scan.
`_mask` files are never inputs. The tree below a folder that was named is mirrored in the output.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorseg.errors import DataError
from tumorseg.formats import Format, find_format, split_name

_NUMBERED = re.compile(r"(?P<stem>.+)_(?P<number>\d+)")
_MASK = "_mask"


@dataclass(frozen=True)
class InputScan:
    """One scan to segment, by names alone; `read_input` reads it.

    Attributes:
        id: its place below the output folder, such as "a/b/x" for a/b/x_1.tif, a/b/x_2.tif, …
        sources: its files, in the order of their numbers.
        slice_numbers: as the files name them; of a lone file, none.
        targets: the mask of each source, relative to the output folder.
        format: of all of them.
    """

    id: str
    sources: tuple[Path, ...]
    slice_numbers: tuple[int, ...]
    targets: tuple[Path, ...]
    format: Format


@dataclass(frozen=True)
class Failure:
    """A file or folder that could not be segmented, and why, with what to do next."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Listing:
    """What the inputs name.

    Attributes:
        scans: sorted by id.
        failures: folders that could not be looked into.
    """

    scans: tuple[InputScan, ...]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class _Found:
    """A file, and the folder below which its place is mirrored."""

    path: Path
    root: Path

    @property
    def place(self) -> Path:
        return self.path.relative_to(self.root)


def find_inputs(inputs: Sequence[Path]) -> Listing:
    """The scans that `inputs` name; nothing is opened yet.

    Two inputs whose masks would have one name keep their parent folder, and as many more as it takes.

    Raises:
        DataError: an input does not exist, is of no format that is read, or there is nothing to segment.
    """
    failures: list[Failure] = []
    # Folders first, the outermost before those in it: what is named twice is mirrored below the outermost.
    ordered = sorted(map(Path, inputs), key=lambda path: (not path.is_dir(), len(path.absolute().parts)))
    found = list(_distinct(file for path in ordered for file in _files(path, failures)))
    if not found:
        named = ", ".join(str(path) for path in inputs[:3]) + (", …" if len(inputs) > 3 else "")
        why = f" ({failures[0].reason})" if failures else ""
        raise DataError(f"no scan in {named}{why}", next_step="give image files such as .tif; masks are never inputs")
    prefixes = _prefixes(found)
    groups: dict[tuple[str, str, str], list[tuple[int, _Found]]] = defaultdict(list)
    scans: list[InputScan] = []
    for file in found:
        stem, suffix = split_name(file.path)
        if match := _NUMBERED.fullmatch(stem):
            home = os.path.realpath(file.path.parent)
            groups[home, match["stem"], suffix].append((int(match["number"]), file))
        else:
            scans.append(_input_scan(stem, [file], (), prefixes))
    for (_, stem, _), members in groups.items():
        members.sort(key=lambda member: (member[0], member[1].path.name))
        scans.append(_input_scan(stem, [file for _, file in members], [number for number, _ in members], prefixes))
    return Listing(tuple(sorted(scans, key=lambda scan: (scan.id, scan.sources[0].name))), tuple(failures))


def mask_name(name: str) -> str:
    """x_3.tif becomes x_3_mask.tif."""
    stem, suffix = split_name(Path(name))
    return f"{stem}{_MASK}{suffix}"


def _input_scan(stem: str, files: Sequence[_Found], numbers: Sequence[int], prefixes: dict[Path, Path]) -> InputScan:
    kind = find_format(files[0].path)
    assert kind is not None  # files of no known format were never found
    places = [prefixes[file.root] / file.place for file in files]
    return InputScan(
        id=(places[0].parent / stem).as_posix(),
        sources=tuple(file.path for file in files),
        slice_numbers=tuple(numbers),
        targets=tuple(place.with_name(mask_name(place.name)) for place in places),
        format=kind,
    )


def _files(path: Path, failures: list[Failure]) -> Iterator[_Found]:
    """The image files that one input names."""
    if path.is_dir():
        yield from _walk(path, failures)
    elif not os.path.lexists(path):
        raise DataError(f"input {path} does not exist", next_step="check the path")
    else:
        split_name(path)  # refuses what is of no format that is read
        kind = find_format(path)
        if kind is not None and kind.write_mask is None:
            raise DataError(
                f"masks cannot be written as {kind.name}, as {path} is", next_step="convert it to TIFF or PNG"
            )
        if not _is_mask(path):
            yield _Found(path, path.parent)


def _walk(root: Path, failures: list[Failure]) -> Iterator[_Found]:
    """Image files below a folder, in the order of their names; links out of it are not followed."""
    home = root.resolve()

    def refuse(error: OSError) -> None:
        place = Path(error.filename or root)
        failures.append(Failure(place, f"folder {place} cannot be read: {error.strerror}; check its permissions"))

    for place, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = []
        for name in sorted(names):
            path = Path(place) / name
            kind = find_format(path)
            if name.startswith(".") or kind is None or kind.write_mask is None or _is_mask(path):
                continue
            if path.is_symlink():
                links.append(path)
            else:
                yield _Found(path, root)
        for path in links:
            if path.resolve().is_relative_to(home):
                yield _Found(path, root)


def _is_mask(path: Path) -> bool:
    return find_format(path) is not None and split_name(path)[0].lower().endswith(_MASK)


def _distinct(found: Iterator[_Found]) -> Iterator[_Found]:
    """Each file once, however often and by whatever names it was given."""
    seen: set[str] = set()
    for file in found:
        key = os.path.realpath(file.path)
        if key not in seen:
            seen.add(key)
            yield file


def _prefixes(found: Sequence[_Found]) -> dict[Path, Path]:
    """What the places below each root begin with, so that no two files have one place."""
    depths = {file.root: 0 for file in found}
    while True:
        prefixes = {root: _tail(root, depth) for root, depth in depths.items()}
        owners: dict[str, set[Path]] = defaultdict(set)
        for file in found:
            # Some file systems do not tell X from x.
            owners[str(prefixes[file.root] / file.place).casefold()].add(file.root)
        clashing = {root for roots in owners.values() if len(roots) > 1 for root in roots}
        growing = {root for root in clashing if _tail(root, depths[root] + 1) != prefixes[root]}
        if not clashing:
            return prefixes
        if not growing:
            raise DataError(
                f"two inputs would share one mask, in {' and '.join(sorted(map(str, clashing)))}",
                next_step="segment them into two output folders",
            )
        for root in growing:
            depths[root] += 1


def _tail(root: Path, depth: int) -> Path:
    """The last `depth` folders of a path."""
    parts = root.resolve().parts[1:]
    return Path(*parts[len(parts) - min(depth, len(parts)) :])
