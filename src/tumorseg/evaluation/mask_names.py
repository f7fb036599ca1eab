"""Which stored prediction belongs to which reference: by names, and never by the order of two lists."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath

from tumorseg.datasets.pairing import IMAGE_FOLDERS, MASK_FOLDERS
from tumorseg.errors import DataError
from tumorseg.formats import find_format, split_name

_WORD = (
    "mask|masks|seg|segs|segmentation|segmentations|label|labels|annotation|annotations|gt|truth|reference|"
    "pred|preds|prediction|predictions|predicted|output|result"
)
_AT_THE_END = re.compile(rf"[_\-. ]+(?:{_WORD})$")
_AT_THE_START = re.compile(rf"^(?:{_WORD})[_\-. ]+")
_PREDICTED = frozenset({"pred", "preds", "prediction", "predictions", "predicted"})
_TRUE = frozenset({"ref", "gt", "truth", "groundtruth", "reference", "references", "annotation", "annotations"})
_APART = re.compile(r"[_\-. ]+")
_PICTURES = re.compile(r"[_\-. ](?:overlay|contours)$")
_NUMBERED = re.compile(r"(?P<stem>.+?)[_\-. ](?P<number>\d+)")

Key = tuple[object, ...]


@dataclass(frozen=True)
class MaskListing:
    """The masks in a folder, by names alone.

    Attributes:
        folder: where they lie.
        masks: sorted.
        left_out: files of a readable format that are no masks, since others beside them are called so.
    """

    folder: Path
    masks: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()

    def place(self, mask: Path) -> PurePath:
        """Where a mask lies below the folder, in lower case, without suffix and without words such as _mask."""
        parent = mask.relative_to(self.folder).parent.parts
        homes = [part.lower() for part in parent if part.lower() not in IMAGE_FOLDERS | MASK_FOLDERS]
        return PurePath(*homes, bare_stem(mask))


def list_masks(folder: Path) -> MaskListing:
    """Find the masks under a folder; hidden files and pictures of outlines are left out.

    Where some files are called masks, by a word such as _mask or _pred or by their folder, the others are none.

    Raises:
        DataError: no such folder, or nothing in it that could be a mask.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {what}", next_step="give the folder that holds the masks")
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(place) / name for name in sorted(names) if not name.startswith(".")]
        found += [path for path in paths if find_format(path) and not _PICTURES.search(_stem(path))]
    called = [path for path in found if is_called_mask(path, folder)]
    masks = called or found
    if not masks:
        raise DataError(f"no mask of a readable format under {folder}", next_step="give TIFF, PNG, NIfTI or the like")
    kept = set(masks)
    return MaskListing(folder, tuple(sorted(masks)), tuple(path for path in found if path not in kept))


def is_called_mask(path: Path, folder: Path) -> bool:
    """Whether a file's own name, or the name of a folder it lies in below `folder`, says that it is a mask."""
    homes = {part.lower() for part in path.relative_to(folder).parent.parts}
    return bool(homes & MASK_FOLDERS) or bare_stem(path) != _stem(path)


def says_prediction(folder: Path) -> bool:
    """Whether the folder's own name or every mask in it says that it was predicted."""
    return _says(folder, _PREDICTED)


def says_reference(folder: Path) -> bool:
    """Whether the folder's own name or every mask in it says that it is the truth."""
    return _says(folder, _TRUE)


def _says(folder: Path, words: frozenset[str]) -> bool:
    if not folder.is_dir():
        return False
    if words & set(_APART.split(folder.resolve().name.lower())):
        return True
    masks = [path for path in folder.rglob("*") if not path.name.startswith(".") and find_format(path)]
    return bool(masks) and all(words & set(_APART.split(_stem(path))) for path in masks)


def bare_stem(path: Path) -> str:
    """A file's lower-case stem without words such as _mask, _seg or _pred at its end or start."""
    stem = _stem(path)
    while True:
        shorter = _AT_THE_START.sub("", _AT_THE_END.sub("", stem))
        if shorter == stem:
            return stem
        stem = shorter


def numbered(place: PurePath) -> tuple[PurePath, int] | None:
    """A place without the number behind its last separator, and that number; None without one."""
    match = _NUMBERED.fullmatch(place.name)
    return (place.with_name(match["stem"]), int(match["number"])) if match else None


@dataclass(frozen=True)
class Matching:
    """Places of predictions by those of references.

    Attributes:
        rule: in words, how they were paired.
        pairs: index of a prediction by index of the reference.
        doubled: a name that two files of one side share, where that kept every rule from pairing anything.
    """

    rule: str
    pairs: Mapping[int, int]
    doubled: str = ""


def match_places(references: Sequence[PurePath], predictions: Sequence[PurePath]) -> Matching:
    """Pair by names: those with their folders, or the names alone; only where neither fits anything, what differs.

    What differs is the name without what all names begin and end with, up to the last separator.
    """
    best = Matching("", {})
    doubled = ""
    for group in (_BY_NAME, _BY_DIFFERENCE):
        for words, rule in group:
            keys = rule(references), rule(predictions)
            often = [Counter(side) for side in keys]
            twice = next((key for side in often for key, count in side.items() if count > 1), None)
            if twice is not None:
                doubled = doubled or "/".join(str(part) for part in twice)
                continue
            place_of = {key: index for index, key in enumerate(keys[1])}
            pairs = {index: place_of[key] for index, key in enumerate(keys[0]) if key in place_of}
            if len(pairs) > len(best.pairs):
                best = Matching(words, pairs)
        if best.pairs:
            return best
    return Matching("", {}, doubled)


def grouped_by_number(places: Sequence[PurePath]) -> dict[PurePath, list[tuple[int, int]]]:
    """Numbered places by what they share, each with its number and its index, by number."""
    groups: dict[PurePath, list[tuple[int, int]]] = defaultdict(list)
    for index, place in enumerate(places):
        if found := numbered(place):
            groups[found[0]].append((found[1], index))
    return {stem: sorted(members) for stem, members in groups.items()}


def _with_folders(places: Sequence[PurePath]) -> list[Key]:
    return [place.parts for place in places]


def _alone(places: Sequence[PurePath]) -> list[Key]:
    return [(place.name,) for place in places]


def _differing(places: Sequence[PurePath]) -> list[Key]:
    names = [place.name for place in places]
    if len(set(names)) < 2:
        return [(name,) for name in names]
    start = _up_to_separator(_common_start(names))
    end = _up_to_separator(_common_start([name[::-1] for name in names]))
    return [(name[start : len(name) - end],) for name in names]


_BY_NAME: tuple[tuple[str, Callable[[Sequence[PurePath]], list[Key]]], ...] = (
    ("by folder and name", _with_folders),
    ("by name", _alone),
)
_BY_DIFFERENCE = (("by name, without what all names begin or end with", _differing),)


def _common_start(texts: Sequence[str]) -> str:
    return "".join(letters[0] for letters in takewhile(lambda same: len(set(same)) == 1, zip(*texts, strict=False)))


def _up_to_separator(text: str) -> int:
    return max((text.rfind(separator) + 1 for separator in "_-. "), default=0)


def _stem(path: Path) -> str:
    return split_name(path)[0].lower()
