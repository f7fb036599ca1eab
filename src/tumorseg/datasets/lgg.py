"""The LGG set of Buda et al. (2019) as Kaggle publishes it: `<patient>/<patient>_<slice>.tif` and `…_mask.tif`."""

import csv
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from tumorseg.datasets.data_set import DataSet, Source
from tumorseg.errors import DataError, FormatError, ShapeMismatch
from tumorseg.formats.tiff import read_tiff
from tumorseg.scan import Mask, Pixels, Scan

CHANNELS = ("pre", "flair", "post")
CLASSES = ("tumour",)
_SLICE = re.compile(r"(?P<stem>.+)_(?P<number>\d+)(?P<mask>_mask)?\.tiff?", re.IGNORECASE)
_TCGA = re.compile(r"(?P<patient>TCGA_(?P<institution>[A-Z0-9]{2})_[A-Z0-9]+)(_\d+)?")


@dataclass(frozen=True)
class SliceFiles:
    """One slice: its number, its image and its mask; one of the two may be missing."""

    number: int
    image: Path | None
    mask: Path | None


@dataclass(frozen=True)
class LggListing:
    """What lies in a folder, by names alone.

    Attributes:
        folder: the folder that was asked for.
        patients: slices of each patient folder, in the order of their numbers.
        homes: where each patient folder lies.
        copies: further folders of a name that is in `patients`, such as the published archive holds.
        doubled: slice numbers that occur twice in one patient's folder, such as 1 and 01.
        table: the data.csv beside the patients, where there is one.
    """

    folder: Path
    patients: Mapping[str, tuple[SliceFiles, ...]]
    homes: Mapping[str, Path]
    copies: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    doubled: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    table: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and masks of all patients."""
        entries = (entry for slices in self.patients.values() for entry in slices)
        return tuple(path for entry in entries for path in (entry.image, entry.mask) if path)


def holds_lgg(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder with files of these names is a patient's: by its own name, or images and masks side by side."""
    found = [match for match in map(_SLICE.fullmatch, names) if match]
    named = any(match["stem"] == folder.name or identify(match["stem"])[1] for match in found)
    return named or {bool(match["mask"]) for match in found} == {True, False}


def find_lgg(folder: Path) -> Source:
    """The set under `folder`, not yet opened; see `list_lgg` and `read_lgg`."""
    listing = list_lgg(folder)
    return Source("lgg", listing.folder, listing.files, lambda _: data_set_of(listing))


def data_set_of(listing: LggListing) -> DataSet:
    """The listed patients as a data set; see `read_lgg`."""
    return DataSet(
        name="kaggle_3m",
        kind="lgg",
        folder=listing.folder,
        scans=tuple(scans_of(listing)),
        channels=CHANNELS,
        classes=CLASSES,
        files=listing.files,
    )


def list_lgg(folder: Path) -> LggListing:
    """Find the patients under `folder`, however deep; links out of it are not followed.

    Where a patient's folder occurs twice, the one nearest to `folder` is kept and the rest are `copies`.

    Raises:
        DataError: no such folder, or nothing of the LGG layout in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"data folder {folder} {what}", next_step="give the folder that holds kaggle_3m")
    found: dict[str, list[tuple[Path, list[str]]]] = defaultdict(list)
    table: Path | None = None
    for place, folders, names in os.walk(folder):
        # Hidden folders are what an interrupted writer or a file manager left behind.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        slices = [name for name in names if _SLICE.fullmatch(name)]
        if slices:
            found[here.name if here != folder else here.resolve().name].append((here, slices))
        if table is None and "data.csv" in names:
            table = here / "data.csv"
    if not found:
        raise DataError(
            f"no slices named <patient>_<number>.tif under {folder}",
            next_step="give the folder that holds kaggle_3m, or make one with: tumorseg data phantom DIR",
        )
    patients, homes, copies, doubled = {}, {}, {}, {}
    for patient in sorted(found):
        places = sorted(found[patient], key=lambda entry: (len(entry[0].parts), entry[0]))
        home, names = places[0]
        patients[patient], twice = _pair(home, names)
        homes[patient] = home
        if len(places) > 1:
            copies[patient] = tuple(place for place, _ in places[1:])
        if twice:
            doubled[patient] = twice
    return LggListing(folder, patients, homes, copies, doubled, table)


def _pair(home: Path, names: list[str]) -> tuple[tuple[SliceFiles, ...], tuple[int, ...]]:
    """Slices by number, and the numbers that occur twice."""
    images: dict[int, Path] = {}
    masks: dict[int, Path] = {}
    twice: set[int] = set()
    for name in sorted(names):
        match = _SLICE.fullmatch(name)
        assert match is not None
        number, chosen = int(match["number"]), masks if match["mask"] else images
        if number in chosen:
            twice.add(number)
        chosen[number] = home / name
    numbers = sorted(images.keys() | masks.keys())
    return tuple(SliceFiles(number, images.get(number), masks.get(number)) for number in numbers), tuple(sorted(twice))


def read_lgg(folder: Path) -> list[Scan]:
    """The patients under `folder` as scans, sorted by id, with masks; pixels are read when first used.

    Raises:
        DataError: nothing of the LGG layout there, an image without its mask, or a mask without its image.
    """
    return scans_of(list_lgg(folder))


def scans_of(listing: LggListing) -> list[Scan]:
    """The listed patients as scans; see `read_lgg`."""
    scans = []
    for name, slices in listing.patients.items():
        if name in listing.doubled:
            raise DataError(
                f"{listing.homes[name]} holds slice {listing.doubled[name][0]} twice", next_step="delete one of the two"
            )
        stems = {_stem(path) for entry in slices for path in (entry.image, entry.mask) if path}
        if len(stems) > 1:
            raise DataError(
                f"{listing.homes[name]} holds slices of {len(stems)} scans: {', '.join(sorted(stems)[:3])}",
                next_step="give each patient a folder",
            )
        for entry in slices:
            if entry.mask is None:
                raise DataError(f"{entry.image} has no mask beside it", next_step=_CHECK.format(listing.folder))
            if entry.image is None:
                raise DataError(f"{entry.mask} has no image beside it", next_step=_CHECK.format(listing.folder))
        images = tuple(entry.image for entry in slices if entry.image)
        masks = tuple(entry.mask for entry in slices if entry.mask)
        patient, institution = identify(name)
        scans.append(
            Scan(
                id=name,
                patient=patient,
                channels=CHANNELS,
                read_pixels=partial(read_images, images),
                read_reference=partial(read_masks, masks, images),
                slice_numbers=tuple(entry.number for entry in slices),
                sources=images,
                institution=institution,
            )
        )
    return scans


def _stem(path: Path) -> str:
    match = _SLICE.fullmatch(path.name)
    assert match is not None
    return match["stem"]


_CHECK = "add it or remove its partner; see all with: tumorseg data check {}"


def identify(folder_name: str) -> tuple[str, str]:
    """Patient and institution of a TCGA folder name; of any other name, itself and ""."""
    match = _TCGA.fullmatch(folder_name)
    return (match["patient"], match["institution"]) if match else (folder_name, "")


def read_images(paths: tuple[Path, ...]) -> Pixels:
    """Slices of one patient as (slices, height, width, 3) uint8.

    Raises:
        FormatError: a file is damaged, not 8-bit or not of three channels.
        ShapeMismatch: slices of one patient differ in size.
    """
    frames: list[Pixels] = []
    for path in paths:
        frame = read_tiff(path)
        if frame.dtype != np.uint8:
            raise FormatError(f"{path} is {frame.dtype}, not 8-bit", next_step="convert it to 8 bits a channel")
        if frame.ndim != 3 or frame.shape[-1] != 3:
            channels = frame.shape[-1] if frame.ndim == 3 else 1
            raise FormatError(
                f"{path} has {channels} channel{'s' * (channels != 1)}, not 3",
                next_step="store pre-contrast, FLAIR and post-contrast as its three channels",
            )
        if frames and frame.shape != frames[0].shape:
            raise ShapeMismatch(
                f"{path} is {_size(frame)} but {paths[0].name} is {_size(frames[0])}",
                next_step="bring the slices of a patient to one size",
            )
        frames.append(frame)
    return np.stack(frames)


def read_masks(paths: tuple[Path, ...], images: tuple[Path, ...]) -> Mask:
    """Masks of one patient as (slices, height, width) uint8, 0 and 1; files hold 0 and 255, or 0 and 1.

    Raises:
        FormatError: a file is damaged, or holds grey values.
        ShapeMismatch: a mask's size is not its image's.
    """
    masks: list[Mask] = []
    for path, image in zip(paths, images, strict=True):
        mask = read_tiff(path)
        if mask.ndim == 3 and mask.shape[-1] in (3, 4) and np.array_equal(mask[..., 0], mask[..., 1]):
            mask = mask[..., 0]
        if mask.ndim != 2:
            raise FormatError(f"{path} has {mask.shape[-1]} channels, not 1", next_step="store a mask as one channel")
        expected = read_tiff(image).shape[:2] if not masks else masks[0].shape
        if mask.shape != expected:
            raise ShapeMismatch(
                f"{path} is {_size(mask)} but its image is {expected[1]} x {expected[0]}",
                next_step="draw the mask on the image's own grid",
            )
        top = mask.max(initial=0)
        if top not in (0, 1, 255) or np.any((mask != 0) & (mask != top)):
            raise FormatError(f"{path} holds grey values, not 0 and 255", next_step="threshold the mask at 128")
        masks.append((mask != 0).astype(np.uint8))
    return np.stack(masks)


def read_clinical(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of data.csv by patient, such as TCGA_CS_4941; {} where there is no table.

    Raises:
        DataError: the table has no column Patient.
    """
    table = list_lgg(folder).table
    if table is None:
        return {}
    with open(table, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if "Patient" not in (rows.fieldnames or ()):
            raise DataError(f"{table} has no column 'Patient'", next_step="restore the published data.csv")
        return {identify(row["Patient"])[0]: {k: v for k, v in row.items() if k != "Patient"} for row in rows}


def _size(frame: Pixels) -> str:
    return f"{frame.shape[1]} x {frame.shape[0]}"
