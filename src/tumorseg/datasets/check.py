"""Whether a data set in the LGG layout is fit to train on, and what to know about it."""

import csv
import filecmp
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorseg.datasets.check_patient import Finding, Findings, Level, PatientFacts, examine
from tumorseg.datasets.known import published_lgg
from tumorseg.datasets.lgg import LggListing, identify, list_lgg
from tumorseg.progress import Progress, silent

FEWEST_PATIENTS = 3
"""One each for training, validation and test."""


@dataclass(frozen=True)
class CheckReport(Findings):
    """What `check_lgg` found.

    Attributes:
        folder: the folder that was checked.
        patients: one entry a patient, sorted by name.
        published: names of the patients that are pixel for pixel the published ones, as far as those are known.
        altered: names of published patients whose pixels or masks differ from the published ones.
        copies: patients that lie there more than once.
        findings: errors first, then notes.
    """

    folder: Path
    patients: tuple[PatientFacts, ...]
    published: tuple[str, ...]
    altered: tuple[str, ...]
    copies: int
    findings: tuple[Finding, ...]

    @property
    def institutions(self) -> Counter[str]:
        """Patients of each institution."""
        return Counter(facts.institution or "unknown" for facts in self.patients)

    @property
    def frames(self) -> Counter[str]:
        """Images of each kind."""
        return sum((facts.frames for facts in self.patients), Counter())

    @property
    def mask_values(self) -> Counter[str]:
        """Masks of each set of values."""
        return sum((facts.mask_values for facts in self.patients), Counter())

    def missing(self, sequence: str) -> tuple[str, ...]:
        """Names of the patients in whom FLAIR stands in for a sequence."""
        return tuple(facts.id for facts in self.patients if sequence in facts.missing)

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "folder": str(self.folder),
            "kind": "lgg",
            "ok": not self.errors,
            "patients": len(self.patients),
            "slices": sum(facts.slices for facts in self.patients),
            "pairs": sum(facts.pairs for facts in self.patients),
            "tumour_slices": sum(facts.tumour_slices for facts in self.patients),
            "institutions": dict(sorted(self.institutions.items())),
            "images": dict(self.frames.most_common()),
            "mask_values": dict(self.mask_values.most_common()),
            "missing_sequences": {name: list(self.missing(name)) for name in ("pre", "post")},
            "copies": self.copies,
            "published": {"known": len(published_lgg()), "identical": len(self.published)},
            "altered": list(self.altered),
            "errors": [finding_as_json(finding) for finding in self.errors],
            "notes": [finding_as_json(finding) for finding in self.notes],
            "per_patient": [
                {
                    "patient": facts.id,
                    "institution": facts.institution,
                    "slices": facts.slices,
                    "pairs": facts.pairs,
                    "tumour_slices": facts.tumour_slices,
                    "tumour_voxels": facts.tumour_pixels,
                    "missing_sequences": list(facts.missing),
                    "blank_slices": dict(facts.blank),
                    "published": facts.id in self.published,
                    "digest": facts.digest or None,
                }
                for facts in self.patients
            ],
        }


def finding_as_json(finding: Finding) -> dict[str, Any]:
    """One finding, for programs."""
    return {
        "kind": finding.kind,
        "patient": finding.patient or None,
        "message": finding.message,
        "files": [str(path) for path in finding.files],
    }


def check_lgg(folder: Path, *, progress: Progress = silent) -> CheckReport:
    """Read every file of a data set and list what is wrong with it.

    Raises:
        DataError: no such folder, or nothing of the LGG layout in it.
    """
    listing = list_lgg(Path(folder))
    names = list(listing.patients)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda name: examine(name, listing.patients[name]), names)
        patients = tuple(progress.track(results, what="Checking patients", total=len(names)))
    known = published_lgg()
    digests = set(known.values())
    published = tuple(facts.id for facts in patients if facts.digest in digests)
    altered = tuple(facts.id for facts in patients if facts.id in known and facts.digest != known[facts.id])
    findings = [
        *_doubled_numbers(listing),
        *_copies(listing),
        *(finding for facts in patients for finding in facts.findings),
        *_shared_pixels(patients),
        *_altered(patients, altered),
        *_of_the_whole(patients),
        *_clinical(listing),
    ]
    findings.sort(key=lambda finding: finding.level is not Level.ERROR)
    return CheckReport(Path(folder), patients, published, altered, len(listing.copies), tuple(findings))


def _doubled_numbers(listing: LggListing) -> Iterator[Finding]:
    for name, numbers in listing.doubled.items():
        text = f"slice {', '.join(map(str, numbers))} occurs twice in the folder"
        yield Finding(Level.ERROR, "number-twice", name, text, (listing.homes[name],))


def _copies(listing: LggListing) -> Iterator[Finding]:
    """Identical copies do no harm, since the reader keeps one; where copies differ nobody knows which is right."""
    identical = []
    for name, places in listing.copies.items():
        home = listing.homes[name]
        unlike = [place for place in places if not _same_files(home, place)]
        if unlike:
            text = f"lies there more than once, and {unlike[0]} differs from {home}"
            yield Finding(Level.ERROR, "copies-differ", name, text, (home, *unlike))
        else:
            identical.append(name)
    if identical:
        first = listing.copies[identical[0]][0].parent
        word = "patient lies" if len(identical) == 1 else "patients lie"
        text = f"{len(identical)} {word} there more than once, as identical copies (under {first}); one is read"
        yield Finding(Level.NOTE, "copies", "", text, tuple(listing.copies[name][0] for name in identical))


def _same_files(one: Path, other: Path) -> bool:
    names = {path.name for path in one.iterdir() if path.is_file()}
    if names != {path.name for path in other.iterdir() if path.is_file()}:
        return False
    _, differing, failed = filecmp.cmpfiles(one, other, sorted(names), shallow=False)
    return not differing and not failed


def _shared_pixels(patients: tuple[PatientFacts, ...]) -> Iterator[Finding]:
    """Two patients with the same pixels would put one person into two parts of a split."""
    owners: dict[str, list[str]] = defaultdict(list)
    for facts in patients:
        if facts.digest:
            owners[facts.digest].append(facts.id)
    for names in owners.values():
        if len({identify(name)[0] for name in names}) > 1:
            yield Finding(Level.ERROR, "same-pixels", names[1], f"has the pixels of {names[0]}, slice for slice")


def _altered(patients: tuple[PatientFacts, ...], names: tuple[str, ...]) -> Iterator[Finding]:
    whole = {facts.id for facts in patients if facts.digest}
    for name in names:
        if name in whole:
            yield Finding(Level.NOTE, "altered", name, "differs from the published patient of this name")


def _of_the_whole(patients: tuple[PatientFacts, ...]) -> Iterator[Finding]:
    """What only the set as a whole can lack."""
    if not any(facts.tumour_pixels for facts in patients):
        yield Finding(Level.ERROR, "no-tumour-at-all", "", "no readable mask of any patient shows tumour")
    if len({identify(facts.id)[0] for facts in patients}) < FEWEST_PATIENTS:
        text = f"fewer than {FEWEST_PATIENTS} patients: too few for training, validation and test"
        yield Finding(Level.NOTE, "few-patients", "", text)
    blank = [facts for facts in patients if facts.blank]
    if blank:
        slices = sum(max(facts.blank.values()) for facts in blank)
        text = f"a sequence is blank in {slices} slices of {len(blank)} patients, as at the ends of a volume"
        yield Finding(Level.NOTE, "blank-slices", "", text)
    values = {value for facts in patients for value in facts.mask_values if value.startswith("0 and")}
    if len(values) > 1:
        yield Finding(Level.NOTE, "mask-values-vary", "", f"masks hold {', others '.join(sorted(values))}")
    sizes = {frame for facts in patients for frame in facts.frames}
    if len(sizes) > 1:
        yield Finding(Level.NOTE, "sizes-vary", "", f"images are of {len(sizes)} kinds: {'; '.join(sorted(sizes))}")


def _clinical(listing: LggListing) -> Iterator[Finding]:
    """Patients without a row of data.csv, and rows without a patient."""
    if listing.table is None:
        yield Finding(Level.NOTE, "table-missing", "", "there is no data.csv with clinical data")
        return
    table = listing.table
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = [identify((row.get("Patient") or "").strip())[0] for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        yield Finding(Level.NOTE, "table-unreadable", "", f"{table.name} cannot be read: {error}", (table,))
        return
    here = {identify(name)[0] for name in listing.patients}
    rowless = sorted(here - set(rows))
    if rowless:
        text = f"{len(rowless)} of {len(here)} patients have no row in {table.name}: {first_of(rowless)}"
        yield Finding(Level.NOTE, "row-missing", "", text, (table,))
    absent = sorted(set(rows) - here - {""})
    if absent:
        text = f"{len(absent)} rows of {table.name} belong to patients who are not there: {first_of(absent)}"
        yield Finding(Level.NOTE, "row-without-patient", "", text, (table,))


def first_of(names: Sequence[str], most: int = 3) -> str:
    """The first few names, as people read them."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
