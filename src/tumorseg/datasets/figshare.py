"""The figshare set of Cheng (2017): `<number>.mat`, one slice a file, unpacked or in the published ZIPs."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tumorseg.datasets.data_set import DataSet, Source
from tumorseg.errors import DataError
from tumorseg.formats.archive import Archive
from tumorseg.formats.matlab import Identity, read_class_mask, read_folds, read_identity, read_image
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan

CHANNELS = ("post",)
CLASSES = ("meningioma", "glioma", "pituitary")
FOLDS_FILE = "cvind.mat"
_SLICE = re.compile(r"(?P<number>\d+)\.mat", re.IGNORECASE)
_PUBLISHED = re.compile(r"brainTumorDataPublic_.*\.zip", re.IGNORECASE)
_SUFFIX = re.compile(r"(?<=\d)[A-Za-z]+$")


@dataclass(frozen=True, eq=False)
class Member:
    """One file of the set, on its own or in an archive; `path` is its name for people.

    Attributes:
        archive, name: the archive it lies in, and its name there; None and "" for a file on its own.
    """

    path: Path
    archive: Archive | None = None
    name: str = ""

    def read(self, reader: Callable[[Path, BinaryIO | None], Any]) -> Any:
        """What a reader of `tumorseg.formats.matlab` makes of it."""
        return reader(self.path, self.archive.read(self.name) if self.archive else None)


@dataclass(frozen=True, eq=False)
class FigshareListing:
    """What lies in a folder or an archive, by names alone.

    Attributes:
        folder: the folder, or that of the archive.
        slices: by the number that names the file, in its order.
        doubled: further places of numbers that are in `slices`.
        folds: the file with the published folds, where there is one.
        files: all files and archives that are read.
    """

    folder: Path
    slices: Mapping[int, Member]
    doubled: Mapping[int, tuple[Member, ...]]
    folds: Member | None
    files: tuple[Path, ...]


def holds_figshare(names: Sequence[str]) -> bool:
    """Whether names of files, without their folders, are those of this set."""
    return any(_SLICE.fullmatch(name) or _PUBLISHED.fullmatch(name) for name in names)


def list_figshare(path: Path) -> FigshareListing:
    """Find the slices at `path`, however deep; a file on its own goes before the same number in an archive.

    Args:
        path: a folder that holds .mat files or the published archives, or one archive.

    Raises:
        DataError: nothing of the layout there.
        FormatError: an archive is damaged.
    """
    path = Path(path)
    loose: list[Path] = []
    zips: list[Path] = []
    if path.is_dir():
        for place, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            here = sorted(Path(place) / name for name in names if not name.startswith("."))
            loose += [file for file in here if _SLICE.fullmatch(file.name) or file.name.lower() == FOLDS_FILE]
            zips += [file for file in here if _PUBLISHED.fullmatch(file.name)]
    else:
        zips = [path]
    members = [Member(file) for file in loose]
    for file in zips:
        members += _in_archive(Archive(file))
    slices: dict[int, Member] = {}
    doubled: dict[int, list[Member]] = defaultdict(list)
    folds = None
    for member in members:
        name = member.path.name
        if match := _SLICE.fullmatch(name):
            number = int(match["number"])
            if number not in slices:
                slices[number] = member
            elif member.archive is None or slices[number].archive is not None:
                doubled[number].append(member)
        elif folds is None:
            folds = member
    if not slices and path.is_dir() and len(whole := sorted(path.glob("*.zip"))) == 1:
        return list_figshare(whole[0])  # the publication downloads as one archive of any name
    if not slices:
        raise DataError(
            f"no slices named <number>.mat in {path}",
            next_step="give the folder that holds the figshare set, or one of its ZIP files",
        )
    return FigshareListing(
        folder=path if path.is_dir() else path.parent,
        slices=dict(sorted(slices.items())),
        doubled={number: tuple(more) for number, more in sorted(doubled.items())},
        folds=folds,
        files=(*loose, *zips),
    )


def _in_archive(archive: Archive) -> Iterator[Member]:
    """The slices in a ZIP, and in the published ones within it."""
    for name in archive.names:
        base = PurePosixPath(name).name
        if base.startswith("."):
            continue
        if _SLICE.fullmatch(base) or base.lower() == FOLDS_FILE:
            yield Member(archive.path / name, archive, name)
        elif _PUBLISHED.fullmatch(base):
            yield from _in_archive(archive.nested(name))


def find_figshare(path: Path) -> Source:
    """The set at `path`, not yet opened; see `list_figshare` and `read_figshare`."""
    listing = list_figshare(path)
    return Source("figshare", listing.folder, listing.files, lambda progress: open_listing(listing, progress=progress))


def read_figshare(path: Path, *, progress: Progress = silent) -> DataSet:
    """The set at `path`: every slice is a scan; the patient's id is the published one without its letter suffix.

    Raises:
        DataError: nothing of the layout there, a number occurs twice, or the published folds share a patient.
        FormatError: a file is damaged, or lacks a field.
    """
    return open_listing(list_figshare(path), progress=progress)


def open_listing(listing: FigshareListing, *, progress: Progress = silent) -> DataSet:
    """Read who the listed slices belong to; see `read_figshare`."""
    for number, (other, *_) in listing.doubled.items():
        raise DataError(
            f"slice {number} lies there twice, as {listing.slices[number].path} and {other.path}",
            next_step="keep one of the two",
        )
    numbers = list(listing.slices)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda number: identity_of(listing.slices[number]), numbers)
        identities = dict(zip(numbers, progress.track(found, what="Reading patients", total=len(numbers)), strict=True))
    folds: dict[str, int] | None = None
    warnings: tuple[str, ...] = ()
    if listing.folds is not None:
        folds, warnings = folds_by_patient(identities, listing.folds.read(read_folds), where=listing.folds.path)
    scans = [scan_of(number, member, identities[number]) for number, member in listing.slices.items()]
    return DataSet(
        name="figshare",
        kind="figshare",
        folder=listing.folder,
        scans=tuple(sorted(scans, key=lambda scan: scan.id)),
        channels=CHANNELS,
        classes=CLASSES,
        files=listing.files,
        folds=folds,
        warnings=warnings,
    )


def identity_of(member: Member) -> Identity:
    """Patient as published, and type of tumour."""
    found: Identity = member.read(read_identity)
    return found


def merged(patient: str) -> str:
    """A published id without its letter suffix: MR040240B and MR040240C are MR040240, one person seen again."""
    return _SUFFIX.sub("", patient)


def folds_by_patient(
    identities: Mapping[int, Identity], folds: NDArray[np.int64], *, where: Path
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The published fold of each patient, and warnings about patients whom the publication cuts apart.

    The publication splits by its ids. Where ids that differ in a letter suffix alone lie in several folds, all of the
    patient's slices go to the fold of most of them.

    Args:
        identities: by the number of the file.
        folds: of the files 1, 2, ….
        where: the file with the folds, for errors.

    Raises:
        DataError: there are too few folds, or one published id is in two.
    """
    if max(identities) > len(folds):
        raise DataError(
            f"{where} names the folds of {len(folds)} files, but there is a {max(identities)}.mat",
            next_step="use the cvind.mat that belongs to these files",
        )
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    by_id: dict[str, int] = {}
    for number, identity in identities.items():
        fold = int(folds[number - 1])
        if by_id.setdefault(identity.patient, fold) != fold:
            raise DataError(
                f"{where} puts patient {identity.patient} into folds {by_id[identity.patient]} and {fold}",
                next_step="use the published cvind.mat, or remove it to have folds drawn by patient",
            )
        seen[merged(identity.patient)][fold] += 1
    cut = sorted(patient for patient, counts in seen.items() if len(counts) > 1)
    warnings = (
        (
            f"the published folds cut {len(cut)} patients apart whose ids differ in a letter suffix alone "
            f"({', '.join(cut[:3])}{', …' * (len(cut) > 3)}); each is put whole into the fold of most of its slices",
        )
        if cut
        else ()
    )
    return {patient: max(counts, key=lambda fold: (counts[fold], -fold)) for patient, counts in seen.items()}, warnings


def scan_of(number: int, member: Member, identity: Identity) -> Scan:
    """One slice as a scan; its pixels are read when first used."""
    return Scan(
        id=str(number),
        patient=merged(identity.patient),
        channels=CHANNELS,
        read_pixels=partial(member.read, read_image),
        read_reference=partial(member.read, read_class_mask),
        sources=(member.path,),
    )
