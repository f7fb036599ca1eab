"""The scans that a check can look into, and what is wrong with a data set before any scan is read."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tumorseg.datasets import figshare, folder
from tumorseg.datasets.check_patient import Finding, Level
from tumorseg.datasets.data_set import Kind
from tumorseg.datasets.own_files import Survey, read_values, survey_classes, survey_images
from tumorseg.datasets.pairing import Pair
from tumorseg.errors import DataError
from tumorseg.formats.matlab import Identity, read_folds
from tumorseg.progress import Progress
from tumorseg.scan import Scan

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Examinable:
    """What of a data set can be looked into; see `DataSet` for the fields of the same name.

    Attributes:
        merged: patients under whom several published ids were brought together.
        findings: what kept the rest out, and what the names alone show.
    """

    scans: tuple[Scan, ...]
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    folds: Mapping[str, int] | None = None
    merged: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def examinable(path: Path, kind: Kind, pool: Executor, progress: Progress) -> Examinable:
    """The scans at `path`; files that spoil the data set are findings instead of errors.

    Raises:
        DataError: the description of a folder is wrong, or an archive is damaged.
    """
    return _figshare(path, pool, progress) if kind == "figshare" else _folder(path, pool, progress)


def _figshare(path: Path, pool: Executor, progress: Progress) -> Examinable:
    listing = figshare.list_figshare(path)
    findings: list[Finding] = []
    for number, others in listing.doubled.items():
        places = (listing.slices[number].path, *(other.path for other in others))
        text = f"slice {number} lies there {len(places)} times"
        findings.append(Finding(Level.ERROR, "number-twice", "", text, places))
    read = _attempt(
        pool, lambda number: figshare.identity_of(listing.slices[number]), listing.slices, progress, "Reading patients"
    )
    identities: dict[int, Identity] = {}
    for number, found in read.items():
        if isinstance(found, DataError):
            findings.append(_unreadable(found, listing.slices[number].path))
        else:
            identities[number] = found
    folds = None
    if listing.folds is None:
        findings.append(Finding(Level.NOTE, "folds-missing", "", f"there is no {figshare.FOLDS_FILE} with folds"))
    elif identities:
        where = listing.folds.path
        try:
            folds, warnings = figshare.folds_by_patient(identities, listing.folds.read(read_folds), where=where)
            findings += [Finding(Level.NOTE, "folds-cut", "", text, (where,)) for text in warnings]
        except DataError as error:
            findings.append(Finding(Level.ERROR, "folds", "", error.what, (where,)))
    ids: dict[str, set[str]] = defaultdict(set)
    for identity in identities.values():
        ids[figshare.merged(identity.patient)].add(identity.patient)
    merged = tuple(sorted(patient for patient, names in ids.items() if len(names) > 1))
    if merged:
        text = f"{len(merged)} patients have several ids that differ in a letter suffix alone; each counts as one"
        findings.append(Finding(Level.NOTE, "merged", "", text))
    scans = [figshare.scan_of(number, listing.slices[number], identity) for number, identity in identities.items()]
    scans.sort(key=lambda scan: scan.id)
    return Examinable(tuple(scans), figshare.CHANNELS, figshare.CLASSES, folds, merged, tuple(findings))


def _folder(path: Path, pool: Executor, progress: Progress) -> Examinable:
    listing = folder.list_folder(path)
    pairing, described = listing.pairing, listing.described
    findings = [
        Finding(Level.ERROR, f"{other}-missing", "", f"{file.name} has no {other} whose name fits", (file,))
        for files, other in ((pairing.lone_images, "mask"), (pairing.lone_masks, "image"))
        for file in files
    ]
    read = _attempt(pool, lambda pair: read_values(pair.mask), pairing.pairs, progress, "Reading masks")
    values: dict[Pair, tuple[int, ...]] = {}
    for pair, found in read.items():
        if isinstance(found, DataError):
            findings.append(_unreadable(found, pair.mask))
        else:
            values[pair] = found
    try:
        images = (
            survey_images([pair.images for pair in values], described.channel_names, pool) if values else Survey(())
        )
        classes = survey_classes({pair.mask: found for pair, found in values.items()}, described.classes)
        groups = folder.group_pairs(tuple(values))
    except DataError as error:
        findings.append(Finding(Level.ERROR, "unfit", "", error.what))
        return Examinable((), described.channel_names, described.classes, findings=tuple(findings))
    survey = replace(images, classes=classes)
    findings += [Finding(Level.NOTE, "assumed", "", text) for text in images.warnings]
    findings += [Finding(Level.NOTE, "patients-unknown", "", text) for text in folder.patient_warnings(groups)]
    scans = tuple(folder.scan_of(name, members, survey) for name, members in sorted(groups.items()))
    return Examinable(scans, survey.channels, survey.classes, findings=tuple(findings))


def _attempt(
    pool: Executor, read: Callable[[T], R], items: Iterable[T], progress: Progress, what: str
) -> dict[T, R | DataError]:
    """What reading each item gives: a result, or the error."""

    def one(item: T) -> R | DataError:
        try:
            return read(item)
        except DataError as error:
            return error

    items = list(items)
    return dict(zip(items, progress.track(pool.map(one, items), what=what, total=len(items)), strict=True))


def _unreadable(error: DataError, file: Path) -> Finding:
    return Finding(Level.ERROR, "unreadable", "", error.what.replace(str(file), file.name), (file,))
