"""Which mask belongs to which image in a folder of one's own: by names, never by the order of two lists."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tumorseg.formats import find_format, split_name

IMAGE_FOLDERS = frozenset(("image", "images", "img", "imgs"))
MASK_FOLDERS = frozenset(
    ("mask", "masks", "label", "labels", "seg", "segs", "segmentation", "segmentations", "annotations", "gt")
)
_MASK_WORD = "mask|masks|seg|segs|segmentation|label|labels|annotation|gt"
_IMAGE_WORD = "image|img|scan"
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Pair:
    """One image and its mask, and what is known of them; None where it is not.

    Attributes:
        image, mask: the files.
        place: the image's path below the data set's folder, for what its names say.
        patient, scan, number, institution: see `Scan`; `number` is the slice's.
        others: the files of its further sequences, on the grid of `image`.
    """

    image: Path
    mask: Path
    place: Path
    patient: str | None = None
    scan: str | None = None
    number: int | None = None
    institution: str = ""
    others: tuple[Path, ...] = ()

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of the image: one, or one for each sequence in the order of the channels."""
        return self.image, *self.others


@dataclass(frozen=True)
class Pairing:
    """Pairs, and what found no partner."""

    pairs: tuple[Pair, ...]
    lone_images: tuple[Path, ...] = ()
    lone_masks: tuple[Path, ...] = ()


def holds_pairs(folders: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a folder has a layout that `recognise` knows: images/ beside masks/, or x.png beside x_mask.png."""
    below = {name.lower() for name in folders}
    if below & IMAGE_FOLDERS and below & MASK_FOLDERS:
        return True
    stems = {split_name(Path(name))[0].lower() for name in names if find_format(Path(name))}
    return any(_stripped(stem, _MASK_WORD) != stem and _stripped(stem, _MASK_WORD) in stems for stem in stems)


def recognise(folder: Path) -> Pairing:
    """Pair what lies under a folder in one of the layouts that `holds_pairs` knows; hidden files are left out."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in sorted(names) if not name.startswith(".") and find_format(Path(name))]
    images = [path for path in found if _kind(path, folder) == "image"]
    masks = [path for path in found if _kind(path, folder) == "mask"]
    if not images or not masks:
        masks = [path for path in found if _stripped(split_name(path)[0].lower(), _MASK_WORD) != _stem(path)]
        images = [path for path in found if path not in set(masks)]
    return match_names(folder, images, masks)


def match_names(
    folder: Path,
    images: Sequence[Path],
    masks: Sequence[Path],
    *,
    image_root: Path | None = None,
    mask_root: Path | None = None,
) -> Pairing:
    """Pair images and masks of one place by the first rule that tells every file apart and leaves none alone.

    The rules: the name; the name without words such as _mask; the name without what all names begin or end with; the
    numbers in the name; the folder, where each holds one image and one mask. Where no rule leaves none alone, it is
    the one that leaves the fewest.

    Args:
        folder: of the data set.
        image_root, mask_root: folders of the same tree each; folders below them that are named images, masks and the
            like say no more.
    """
    image_homes = [_home(path, image_root or folder) for path in images]
    mask_homes = [_home(path, mask_root or folder) for path in masks]
    best: Pairing | None = None
    for rule in _RULES:
        image_keys = rule(images, image_homes, _IMAGE_WORD)
        mask_keys = rule(masks, mask_homes, _MASK_WORD)
        pairing = _match(folder, dict(zip(images, image_keys, strict=True)), dict(zip(masks, mask_keys, strict=True)))
        alone = len(pairing.lone_images) + len(pairing.lone_masks)
        if best is None or alone < len(best.lone_images) + len(best.lone_masks):
            best = pairing
        if not alone:
            break
    assert best is not None
    return best


_Key = tuple[object, ...]
_Home = tuple[str, ...]


def _match(folder: Path, image_keys: dict[Path, _Key], mask_keys: dict[Path, _Key]) -> Pairing:
    often = Counter(image_keys.values()), Counter(mask_keys.values())
    by_key = {key: path for path, key in mask_keys.items() if often[1][key] == 1}
    matched = {path: by_key[key] for path, key in image_keys.items() if often[0][key] == 1 and key in by_key}
    taken = set(matched.values())
    return Pairing(
        tuple(Pair(image, mask, image.relative_to(folder)) for image, mask in sorted(matched.items())),
        tuple(path for path in image_keys if path not in matched),
        tuple(path for path in mask_keys if path not in taken),
    )


def _by_name(files: Sequence[Path], homes: Sequence[_Home], words: str) -> list[_Key]:
    return [(home, _stem(path)) for path, home in zip(files, homes, strict=True)]


def _by_name_without_words(files: Sequence[Path], homes: Sequence[_Home], words: str) -> list[_Key]:
    return [(home, _stripped(_stem(path), words)) for path, home in zip(files, homes, strict=True)]


def _by_what_differs(files: Sequence[Path], homes: Sequence[_Home], words: str) -> list[_Key]:
    stems = [_stem(path) for path in files]
    if len(set(stems)) < 2:
        return [(home, stem) for home, stem in zip(homes, stems, strict=True)]
    start = _up_to_separator(_common_start(stems))
    end = _up_to_separator(_common_start([stem[::-1] for stem in stems]))
    return [(home, stem[start : len(stem) - end]) for home, stem in zip(homes, stems, strict=True)]


def _by_numbers(files: Sequence[Path], homes: Sequence[_Home], words: str) -> list[_Key]:
    stems = [_stem(path) for path in files]
    numbers = [tuple(int(number) for number in _NUMBER.findall(stem)) for stem in stems]
    return [(home, found or stem) for home, found, stem in zip(homes, numbers, stems, strict=True)]


def _by_folder(files: Sequence[Path], homes: Sequence[_Home], words: str) -> list[_Key]:
    return [(home, "" if home else path) for path, home in zip(files, homes, strict=True)]


_RULES = (_by_name, _by_name_without_words, _by_what_differs, _by_numbers, _by_folder)


def _common_start(texts: Sequence[str]) -> str:
    letters = (same[0] for same in takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False)))
    return "".join(letters)


def _up_to_separator(text: str) -> int:
    """Length of the text up to and with its last separator, so that no number or word is cut in two."""
    return max((text.rfind(separator) + 1 for separator in "_-. "), default=0)


def _stripped(stem: str, words: str) -> str:
    """A lower-case stem without one such word at its end or start."""
    shorter = re.sub(rf"[_\-. ]*\b(?:{words})$|[_\-. ]+(?:{words})$|^(?:{words})[_\-. ]+", "", stem)
    return shorter or stem


def _stem(path: Path) -> str:
    return split_name(path)[0].lower()


def _home(path: Path, folder: Path) -> tuple[str, ...]:
    """The folders a file lies in, without those that say no more than image or mask."""
    parts = path.relative_to(folder).parent.parts
    return tuple(part for part in parts if part.lower() not in IMAGE_FOLDERS | MASK_FOLDERS)


def _kind(path: Path, folder: Path) -> str:
    """What the nearest folder of a telling name says."""
    for part in reversed(path.relative_to(folder).parent.parts):
        if part.lower() in IMAGE_FOLDERS:
            return "image"
        if part.lower() in MASK_FOLDERS:
            return "mask"
    return ""
