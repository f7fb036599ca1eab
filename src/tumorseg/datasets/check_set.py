"""Whether the figshare set or a folder of one's own is fit to train on, and what to know about it."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tumorseg.datasets.check import FEWEST_PATIENTS, CheckReport, check_lgg, finding_as_json, first_of
from tumorseg.datasets.check_patient import Finding, Findings, Level
from tumorseg.datasets.check_sources import Examinable, examinable
from tumorseg.datasets.data_set import Kind
from tumorseg.datasets.open_data import find_data
from tumorseg.datasets.store import digest_of_pixels
from tumorseg.errors import DataError, ShapeMismatch
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan


@dataclass(frozen=True)
class ScanFacts:
    """What one scan holds.

    Attributes:
        id, patient: see `Scan`.
        frame: size, channels and type, such as "512 x 512 x 1 int16"; "" where it cannot be read.
        slices: how many.
        empty: slices without tumour.
        class_slices: slices that show each class.
        digests: of each slice's pixels; blank slices have none.
        findings: what is wrong.
    """

    id: str
    patient: str
    frame: str = ""
    slices: int = 0
    empty: int = 0
    class_slices: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class SetReport(Findings):
    """What `check_data` found in a data set that is not of the LGG layout.

    Attributes:
        folder, kind, channels, classes: see `DataSet`.
        scans: sorted by id.
        files: how many there are.
        folds: patients of each published fold; None where none are published.
        merged: patients under whom several published ids were brought together.
        findings: errors first, then notes.
    """

    folder: Path
    kind: Kind
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    scans: tuple[ScanFacts, ...]
    files: int
    folds: Mapping[int, int] | None
    merged: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def patients(self) -> tuple[str, ...]:
        """Whose scans they are, sorted."""
        return tuple(sorted({facts.patient for facts in self.scans}))

    @property
    def frames(self) -> Counter[str]:
        """Slices of each size and type."""
        counts: Counter[str] = Counter()
        for facts in self.scans:
            if facts.frame:
                counts[facts.frame] += facts.slices
        return counts

    def slices_with(self, index: int) -> int:
        """Slices that show a class, counted from 0."""
        return sum(facts.class_slices[index] for facts in self.scans if facts.class_slices)

    def patients_with(self, index: int) -> int:
        """Patients who have a class, counted from 0."""
        return len({facts.patient for facts in self.scans if facts.class_slices and facts.class_slices[index]})

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        by_patient: dict[str, list[ScanFacts]] = defaultdict(list)
        for facts in self.scans:
            by_patient[facts.patient].append(facts)
        return {
            "folder": str(self.folder),
            "kind": self.kind,
            "ok": not self.errors,
            "patients": len(by_patient),
            "scans": len(self.scans),
            "slices": sum(facts.slices for facts in self.scans),
            "files": self.files,
            "channels": list(self.channels),
            "classes": {
                name: {"slices": self.slices_with(index), "patients": self.patients_with(index)}
                for index, name in enumerate(self.classes)
            },
            "empty_masks": sum(facts.empty for facts in self.scans),
            "images": dict(self.frames.most_common()),
            "merged_patients": list(self.merged),
            "folds": None if self.folds is None else {str(fold): count for fold, count in self.folds.items()},
            "errors": [finding_as_json(finding) for finding in self.errors],
            "notes": [finding_as_json(finding) for finding in self.notes],
            "per_patient": [
                {
                    "patient": patient,
                    "scans": len(members),
                    "slices": sum(facts.slices for facts in members),
                    "classes": {
                        name: sum(facts.class_slices[index] for facts in members if facts.class_slices)
                        for index, name in enumerate(self.classes)
                    },
                }
                for patient, members in sorted(by_patient.items())
            ],
        }


def check_data(path: Path, *, progress: Progress = silent) -> CheckReport | SetReport:
    """Read every file of a data set of any layout and list what is wrong with it.

    Raises:
        DataError: nothing there, or of no layout that is known.
    """
    path = Path(path)
    source = find_data(path)
    if source.kind == "lgg":
        return check_lgg(path, progress=progress)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = examinable(path, source.kind, pool, progress)
        looked = pool.map(partial(_look, classes=len(found.classes)), found.scans)
        scans = tuple(progress.track(looked, what="Checking scans", total=len(found.scans)))
    findings = [
        *found.findings,
        *(finding for facts in scans for finding in facts.findings),
        *_shared_pixels(scans),
        *_of_the_whole(found, scans),
    ]
    findings.sort(key=lambda finding: finding.level is not Level.ERROR)
    return SetReport(
        source.folder,
        source.kind,
        found.channels,
        found.classes,
        scans,
        len(source.files),
        None if found.folds is None else dict(sorted(Counter(found.folds.values()).items())),
        found.merged,
        tuple(findings),
    )


def _look(scan: Scan, *, classes: int) -> ScanFacts:
    """Read one scan; what cannot be read is a finding."""
    assert scan.read_reference is not None
    try:
        pixels, masks = scan.read_pixels(), scan.read_reference()
    except DataError as error:
        kind = "size-mismatch" if isinstance(error, ShapeMismatch) else "unreadable"
        finding = Finding(Level.ERROR, kind, scan.patient, error.what, scan.sources)
        return ScanFacts(scan.id, scan.patient, findings=(finding,))
    slices, height, width, channels = pixels.shape
    if masks.shape != pixels.shape[:3]:
        text = f"the mask of {scan.id} is {masks.shape[2]} x {masks.shape[1]} but its image is {width} x {height}"
        finding = Finding(Level.ERROR, "size-mismatch", scan.patient, text, scan.sources)
        return ScanFacts(scan.id, scan.patient, findings=(finding,))
    return ScanFacts(
        scan.id,
        scan.patient,
        f"{width} x {height} x {channels} {pixels.dtype}",
        slices,
        int(slices - masks.any(axis=(1, 2)).sum()),
        tuple(int((masks == value).any(axis=(1, 2)).sum()) for value in range(1, classes + 1)),
        tuple(
            digest_of_pixels(frame[None], np.zeros(0, np.uint8)) if frame.min() < frame.max() else ""
            for frame in pixels
        ),
    )


def _shared_pixels(scans: Sequence[ScanFacts]) -> Iterator[Finding]:
    """A slice of two patients would put one person into two parts of a split."""
    owners: dict[str, list[ScanFacts]] = defaultdict(list)
    for facts in scans:
        for digest in facts.digests:
            if digest:
                owners[digest].append(facts)
    again = 0
    for members in owners.values():
        first = members[0]
        others = [facts for facts in members if facts.patient != first.patient]
        if others:
            text = f"scan {others[0].id} has the pixels of scan {first.id} of patient {first.patient}"
            yield Finding(Level.ERROR, "same-pixels", others[0].patient, text)
        again += len(members) - 1 - len(others)
    if again:
        yield Finding(Level.NOTE, "same-slice", "", f"{again} slices are there again in the same patient")


def _of_the_whole(found: Examinable, scans: Sequence[ScanFacts]) -> Iterator[Finding]:
    """What only the set as a whole can lack."""
    read = [facts for facts in scans if facts.frame]
    totals = [sum(facts.class_slices[index] for facts in read) for index in range(len(found.classes))]
    if found.classes and not any(totals):
        yield Finding(Level.ERROR, "no-tumour-at-all", "", "no readable mask shows tumour")
    elif absent := [name for name, total in zip(found.classes, totals, strict=True) if not total]:
        yield Finding(Level.NOTE, "class-absent", "", f"no mask shows {' or '.join(absent)}")
    if len({facts.patient for facts in scans}) < FEWEST_PATIENTS:
        text = f"fewer than {FEWEST_PATIENTS} patients: too few for training, validation and test"
        yield Finding(Level.NOTE, "few-patients", "", text)
    if read and not any(facts.empty for facts in read):
        text = "every slice shows tumour: how often healthy slices are marked cannot be measured"
        yield Finding(Level.NOTE, "no-empty-mask", "", text)
    frames = sorted({facts.frame for facts in read})
    if len(frames) > 1:
        yield Finding(Level.NOTE, "sizes-vary", "", f"images are of {len(frames)} kinds: {first_of(frames)}")
