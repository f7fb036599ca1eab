"""What someone says of their own data set: a CSV of pairs, or dataset.yaml with two globs."""

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tumorseg.datasets.pairing import Pair, Pairing, match_names
from tumorseg.errors import DataError
from tumorseg.formats import find_format

DESCRIPTION = "dataset.yaml"
TABLE = "dataset.csv"
COLUMNS = ("image", "mask", "patient", "scan", "slice", "institution")


class Description(BaseModel):
    """The keys of dataset.yaml.

    Attributes:
        images, masks: globs relative to its folder; without them the pairs are in dataset.csv beside it.
        patient: a regular expression with a group `patient`, searched in the path of each image.
        classes: names of the mask values 1, 2, ….
        channels: names of the images' channels.
        sequences: globs of the images instead, one for each sequence by its name, where each is a file of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str | None = Field(default=None, min_length=1)
    masks: str | None = Field(default=None, min_length=1)
    patient: str | None = None
    classes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    sequences: dict[str, str] = Field(default_factory=dict)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, as far as they are given."""
        return tuple(self.sequences) or self.channels

    @property
    def names_pairs(self) -> bool:
        """Whether it says where images and masks are."""
        return self.masks is not None


def read_description(path: Path) -> Description:
    """Read dataset.yaml.

    Raises:
        DataError: it cannot be read, a key is unknown or of the wrong type, or the regular expression is none.
    """
    try:
        described = Description.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read: {reason}", next_step="mend the YAML") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        known = ", ".join(Description.model_fields)
        raise DataError(f"{path}: {where}: {first['msg']}", next_step=f"the keys are {known}") from error
    for names in (described.classes, described.channel_names):
        if len(set(names)) < len(names) or not all(names):
            raise DataError(f"{path} names {', '.join(names)}", next_step="give each class and channel its own name")
    if described.sequences and (described.images is not None or described.channels):
        raise DataError(
            f"{path} has sequences beside images or channels", next_step="keep sequences, or images and channels"
        )
    if (described.images is None and not described.sequences) != (described.masks is None):
        raise DataError(f"{path} has only one of images and masks", next_step="give a glob for each")
    if described.patient is not None:
        try:
            groups = re.compile(described.patient).groupindex
        except re.error as error:
            raise DataError(f"{path}: patient: {error}", next_step="mend the regular expression") from error
        if "patient" not in groups:
            raise DataError(
                f"{path}: patient has no group of that name",
                next_step="name what tells patients apart, such as (?P<patient>P[0-9]+)",
            )
    return described


def pairs_of(path: Path, described: Description) -> Pairing:
    """The pairs that the globs of dataset.yaml name.

    Raises:
        DataError: a glob matches nothing, or cannot be one.
    """
    assert described.masks is not None
    if described.sequences:
        return _join(
            path, {name: _matched(path, pattern, described.masks) for name, pattern in described.sequences.items()}
        )
    assert described.images is not None
    return _matched(path, described.images, described.masks)


def _join(path: Path, pairings: Mapping[str, Pairing]) -> Pairing:
    """Pairs of each sequence and mask as pairs of all sequences and that mask."""
    by_mask = {name: {pair.mask: pair for pair in pairing.pairs} for name, pairing in pairings.items()}
    for name, pairing in pairings.items():
        for other, pairs in by_mask.items():
            if lost := next((pair for pair in pairing.pairs if pair.mask not in pairs), None):
                raise DataError(
                    f"{path}: {lost.image} has no file of the sequence {other}", next_step="add it, or leave both out"
                )
        if pairing.lone_images:
            raise DataError(
                f"{path}: {pairing.lone_images[0]}, of the sequence {name}, has no mask whose name fits",
                next_step="rename it, or leave it out",
            )
    first, *rest = by_mask.values()
    joined = (replace(pair, others=tuple(other[mask].image for other in rest)) for mask, pair in first.items())
    return Pairing(tuple(joined), (), next(iter(pairings.values())).lone_masks)


def _matched(path: Path, image_pattern: str, mask_pattern: str) -> Pairing:
    images, masks = _glob(path, "images", image_pattern), _glob(path, "masks", mask_pattern)
    return match_names(
        path.parent,
        [image for image in images if image not in set(masks)],
        masks,
        image_root=path.parent / _fixed(image_pattern),
        mask_root=path.parent / _fixed(mask_pattern),
    )


def _fixed(pattern: str) -> Path:
    """The folders of a glob before its first wildcard."""
    return Path(*takewhile(lambda part: not set(part) & set("*?["), Path(pattern).parent.parts))


def _glob(path: Path, key: str, pattern: str) -> list[Path]:
    home = path.parent
    try:
        found = sorted(file for file in home.glob(pattern) if file.is_file() and not file.name.startswith("."))
        if ".." in Path(pattern).parts:
            raise ValueError(pattern)
    except (NotImplementedError, ValueError) as error:
        raise DataError(
            f"{path}: {key}: {pattern} leads out of the folder", next_step="give a pattern below it"
        ) from error
    if not found:
        raise DataError(f"{path}: {key}: no file is named {pattern}", next_step="such as images/**/*.png")
    for file in found:
        _refuse_unread(file, str(path))
    return found


def read_table(path: Path) -> Pairing:
    """The pairs of a CSV with the columns image and mask, and where known patient, scan, slice and institution.

    Raises:
        DataError: a column or a file is missing, or a line is wrong.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = tuple(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", next_step="save it as CSV in UTF-8") from error
    if not {"image", "mask"} <= set(columns):
        raise DataError(f"{path} has no columns image and mask", next_step=f"name its columns {', '.join(COLUMNS)}")
    if "slice" in columns and "scan" not in columns:
        raise DataError(f"{path} has a column slice but none scan", next_step="say which scan each slice is of")
    pairs: list[Pair] = []
    seen: dict[Path, int] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{path}, line {line}"
        values = {column: (row.get(column) or "").strip() for column in columns if column in COLUMNS}
        missing = [column for column, value in values.items() if not value and column != "institution"]
        if missing:
            raise DataError(f"{where}: no {missing[0]}", next_step="fill it in, or leave the whole column out")
        image, mask = path.parent / values["image"], path.parent / values["mask"]
        for file in (image, mask):
            if not file.is_file():
                raise DataError(f"{where}: {file} does not exist", next_step="give paths relative to the CSV")
            _refuse_unread(file, where)
        if (before := seen.setdefault(image.resolve(), line)) != line:
            raise DataError(f"{where}: {values['image']} is in line {before} too", next_step="keep one of the lines")
        number = values.get("slice")
        if number is not None and not re.fullmatch(r"-?\d+", number):
            raise DataError(f"{where}: slice {number} is no whole number", next_step="number the slices of a scan")
        pairs.append(
            Pair(
                image,
                mask,
                Path(values["image"]),
                values.get("patient"),
                values.get("scan"),
                None if number is None else int(number),
                values.get("institution", ""),
            )
        )
    if not pairs:
        raise DataError(f"{path} names no pair", next_step="give one line for each image and its mask")
    return Pairing(tuple(pairs))


def _refuse_unread(file: Path, where: str) -> None:
    if find_format(file) is None:
        raise DataError(
            f"{where}: {file} is of no format that is read",
            next_step="give TIFF, PNG, JPEG, MATLAB, NIfTI, DICOM or NumPy files",
        )
