"""A folder of one's own: pairs of images and masks as scans."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tumorseg.datasets.data_set import DataSet, Source
from tumorseg.datasets.described import (
    DESCRIPTION,
    TABLE,
    Description,
    pairs_of,
    read_description,
    read_table,
)
from tumorseg.datasets.own_files import Survey, read_geometry, read_slices, read_values, survey_classes, survey_images
from tumorseg.datasets.pairing import Pair, Pairing, holds_pairs, recognise
from tumorseg.errors import DataError
from tumorseg.formats import find_format, split_name
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan

__all__ = ["DESCRIPTION", "TABLE", "FolderListing", "find_folder", "holds_pairs", "list_folder", "read_folder"]

_NUMBERED = re.compile(r"(?P<stem>.+)_(?P<number>\d+)")
_NAME_PATIENTS = (
    f"name the patients: a column patient in {TABLE}, or in {DESCRIPTION} a regular expression such as "
    "patient: '(?P<patient>P[0-9]+)'"
)


@dataclass(frozen=True)
class FolderListing:
    """What lies in a folder, or what a description names, by names alone.

    Attributes:
        folder: the folder.
        pairing: the pairs, with patients as far as they are said.
        described: what dataset.yaml says.
        described_by: the files that say it.
    """

    folder: Path
    pairing: Pairing
    described: Description
    described_by: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        pairs = self.pairing.pairs
        return (*self.described_by, *dict.fromkeys(path for pair in pairs for path in (*pair.images, pair.mask)))


def list_folder(path: Path) -> FolderListing:
    """The pairs that a folder holds, or that a CSV or YAML file names.

    Raises:
        DataError: the description is wrong, or no image has a mask.
    """
    path = Path(path)
    yaml = path / DESCRIPTION if path.is_dir() else path if path.suffix.lower() in (".yaml", ".yml") else None
    table = path / TABLE if path.is_dir() else path.parent / TABLE if yaml else path
    folder = path if path.is_dir() else path.parent
    described, described_by = Description(), []
    if yaml is not None and yaml.is_file():
        described, described_by = read_description(yaml), [yaml]
    if described.names_pairs:
        if table.is_file():
            raise DataError(f"{described_by[0]} and {table} both name pairs", next_step="keep one of the two")
        pairing = pairs_of(described_by[0], described)
    elif table.is_file():
        pairing = read_table(table)
        described_by.append(table)
    else:
        pairing = recognise(folder)
    if not pairing.pairs and not pairing.lone_images:
        raise DataError(
            f"no pairs of image and mask under {folder}", next_step=f"name them in {TABLE} or {DESCRIPTION}"
        )
    if described.patient is not None:
        pairing = replace(pairing, pairs=tuple(_with_patient(pair, described.patient) for pair in pairing.pairs))
    return FolderListing(folder, pairing, described, tuple(described_by))


def _with_patient(pair: Pair, pattern: str) -> Pair:
    match = re.search(pattern, pair.place.as_posix())
    if match is None or not match["patient"]:
        raise DataError(
            f"{pair.image} names no patient by the regular expression {pattern}", next_step=f"mend it in {DESCRIPTION}"
        )
    return replace(pair, patient=match["patient"])


def find_folder(path: Path) -> Source:
    """The set at `path`, not yet opened; see `list_folder` and `read_folder`."""
    listing = list_folder(path)
    return Source(
        "folder",
        listing.folder,
        listing.files,
        lambda progress: open_listing(listing, progress=progress),
        listing.described_by,
    )


def read_folder(path: Path, *, progress: Progress = silent) -> DataSet:
    """The pairs at `path` as scans, after a look at every mask.

    Raises:
        DataError: an image or a mask has no partner, or what they hold does not fit together.
        FormatError: a file is damaged, or a mask holds grey values.
    """
    return open_listing(list_folder(path), progress=progress)


def open_listing(listing: FolderListing, *, progress: Progress = silent) -> DataSet:
    """Read what the listed files hold; see `read_folder`."""
    for lone, other in ((listing.pairing.lone_images, "mask"), (listing.pairing.lone_masks, "image")):
        if lone:
            more = f", nor have {len(lone) - 1} more" if len(lone) > 1 else ""
            raise DataError(
                f"{lone[0]} has no {other} whose name fits{more}", next_step=f"rename it, or name the pairs in {TABLE}"
            )
    pairs = listing.pairing.pairs
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        read = pool.map(lambda pair: read_values(pair.mask), pairs)
        values = dict(
            zip(
                (pair.mask for pair in pairs),
                progress.track(read, what="Reading masks", total=len(pairs)),
                strict=True,
            )
        )
        images = survey_images([pair.images for pair in pairs], listing.described.channel_names, pool)
    survey = replace(images, classes=survey_classes(values, listing.described.classes))
    groups = group_pairs(pairs)
    return DataSet(
        name=listing.folder.resolve().name,
        kind="folder",
        folder=listing.folder,
        scans=tuple(scan_of(name, members, survey) for name, members in sorted(groups.items())),
        channels=survey.channels,
        classes=survey.classes,
        files=listing.files,
        warnings=(*survey.warnings, *patient_warnings(groups)),
    )


def group_pairs(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Pairs of one scan, by its id, in the order of their numbers.

    Pairs of one named scan belong together; else those in one folder whose names differ in the number at the end
    alone, as far as they are of one patient; every other pair is a scan of its own.

    Raises:
        DataError: a scan has two patients, two institutions, or one number twice.
    """
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.scan is not None:
            groups[pair.scan, ""].append(pair)
            continue
        stem = split_name(pair.place)[0]
        kind = find_format(pair.place)
        match = None if kind and kind.holds_volumes else _NUMBERED.fullmatch(stem)
        if match:
            pair = replace(pair, number=int(match["number"]))
        name = (pair.place.parent / (match["stem"] if match else stem)).as_posix()
        # Files that are scans of their own keep their suffix apart: x.png and x.tif are two.
        groups[name, f"{pair.patient or ''}{pair.place.suffix.lower()}"].append(pair)
    often: dict[str, int] = defaultdict(int)
    for name, _ in groups:
        often[name] += 1
    named: dict[str, list[Pair]] = {}
    for (name, rest), members in groups.items():
        members.sort(key=lambda pair: (pair.number is None, pair.number or 0, pair.place))
        _refuse_discord(name, members)
        named[f"{name} ({rest})" if often[name] > 1 else name] = members
    return named


def _refuse_discord(name: str, members: Sequence[Pair]) -> None:
    for what, said in (("patients", {pair.patient for pair in members}),
                       ("institutions", {pair.institution for pair in members})):  # fmt: skip
        if len(said) > 1:
            raise DataError(
                f"scan {name} is of {len(said)} {what}: {', '.join(sorted(map(str, said))[:3])}",
                next_step="give each patient's scans names of their own",
            )
    numbers = [pair.number for pair in members if pair.number is not None]
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise DataError(f"scan {name} has slice {twice} twice", next_step="keep one of the two")


def patient_warnings(groups: Mapping[str, Sequence[Pair]]) -> tuple[str, ...]:
    """What must be said where no one has said whose the scans are."""
    pairs = [pair for members in groups.values() for pair in members]
    if any(pair.patient is not None for pair in pairs):
        return ()
    if len(groups) == len(pairs) > 1:
        return (
            f"patients cannot be told apart: each of the {len(pairs)} files counts as a patient of its own. "
            "Where several are of one person, that person comes into training and test, and every score is too high; "
            f"{_NAME_PATIENTS}",
        )
    if len(groups) == 1 and len(pairs) > 1:
        return (
            f"the names of all {len(pairs)} files differ in their number alone: they count as the slices of one scan "
            f"of one patient; where they are not, {_NAME_PATIENTS}",
        )
    return ()


def scan_of(name: str, members: Sequence[Pair], survey: Survey) -> Scan:
    """Pairs of one scan as that scan; its pixels are read when first used."""
    images = tuple(pair.images for pair in members)
    masks = tuple(pair.mask for pair in members)
    numbers = tuple(pair.number for pair in members if pair.number is not None)
    return Scan(
        id=name,
        patient=members[0].patient or name,
        channels=survey.channels,
        read_pixels=partial(read_slices, images, survey),
        read_reference=partial(survey.read_masks, masks, images),
        slice_numbers=numbers if len(numbers) == len(members) else (),
        sources=tuple(path for files in images for path in files),
        institution=members[0].institution,
        geometry=read_geometry(images[0]) if len(members) == 1 else None,
    )
