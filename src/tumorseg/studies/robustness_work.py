"""Segmenting the scans of a robustness study in every case, and counting what comes of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tumorseg.disturbances import Scale, scale_of
from tumorseg.errors import DataError
from tumorseg.evaluation.judged_scans import with_references
from tumorseg.evaluation.tally import shown_channel
from tumorseg.inference.predictor import Predictor
from tumorseg.metrics.overlap import Confusion, confusion
from tumorseg.scan import Scan
from tumorseg.studies.robustness_cases import Case
from tumorseg.studies.robustness_result import UNDISTURBED, Robustness, Shot, slice_shot
from tumorseg.studies.unfinished import CaseAnswers, Unfinished


@dataclass(eq=False)
class Gathered:
    """Counts of every model on every scan in every case, and pictures of one slice; nothing else is kept.

    Attributes:
        scans: with references.
        cases: beside the scans as they are.
        work: where each case is written once it is whole.
        counts: (scans,), by the model's label and the case's key.
        shots: of the first model, by the case's key.
        shown: patient, scan's id and slice number of the pictures.
    """

    scans: Sequence[Scan]
    cases: Sequence[Case]
    work: Unfinished
    counts: dict[tuple[str, str], Confusion] = field(default_factory=dict)
    shots: dict[str, Shot] = field(default_factory=dict)
    shown: tuple[str, str, int] = ("", "", 0)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the scans as they are, and of every case."""
        return (UNDISTURBED, *(case.key for case in self.cases))

    def recall(self, labels: Sequence[str]) -> int:
        """Take over what an earlier start has counted; gives how many scans are still to be segmented."""
        for label in labels:
            for key in self.keys:
                known = self.work.known(label, key)
                if known is not None and (label != labels[0] or known.shot is not None):
                    self._take(label, key, known)
        return (len(labels) * len(self.keys) - len(self.counts)) * len(self.scans)

    def answers(self, predictors: Mapping[str, Predictor]) -> Iterator[None]:
        """Segment what is not counted yet, and write each case when it is whole; one item a scan, model and case."""
        scan_id, index = self._choose_picture()
        if all((label, key) in self.counts for label in predictors for key in self.keys):
            return
        scales = {scan.id: scale_of(scan.pixels) for scan in self.scans}
        for label, predictor in predictors.items():
            first = label == next(iter(predictors))
            for key, scans in self._disturbed(scales):
                if (label, key) in self.counts:
                    continue
                parts: dict[str, Confusion] = {}
                shot = None
                for segmentation, reference in with_references(predictor.segment_all(scans)):
                    scan = segmentation.scan
                    parts[scan.id] = confusion(segmentation.mask, reference)
                    if first and scan.id == scan_id:
                        image = shown_channel(scan)[index]
                        shot = slice_shot(image, reference[index], segmentation.mask[index])
                    yield
                ordered = [parts[scan.id] for scan in self.scans]
                counts = (np.array([int(getattr(one, name)) for one in ordered]) for name in ("tp", "fp", "fn", "tn"))
                found = CaseAnswers(Confusion(*counts), shot)
                self.work.keep(label, key, found)
                self._take(label, key, found)

    def by_patient(self, patients: Sequence[str]) -> dict[tuple[str, str], Confusion]:
        """The counts of each patient's scans together, (patients,), by model and case."""
        place = {patient: index for index, patient in enumerate(patients)}
        group = np.array([place[scan.patient] for scan in self.scans], np.intp)
        return {name: counts.grouped(group, len(patients)) for name, counts in self.counts.items()}

    def shots_with_dice(self, found: Robustness, label: str) -> dict[str, Shot]:
        """The pictures, each with its patient's Dice by one model."""
        index = found.patients.index(found.shown[0])
        return {key: replace(shot, dice=float(found.dice(label, key)[index])) for key, shot in self.shots.items()}

    def _take(self, label: str, key: str, found: CaseAnswers) -> None:
        self.counts[label, key] = found.counts
        if found.shot is not None:
            self.shots[key] = found.shot

    def _disturbed(self, scales: Mapping[str, Scale]) -> Iterator[tuple[str, Iterator[Scan]]]:
        # Copies, since a scan keeps its pixels once read: only those on their way are in memory.
        yield UNDISTURBED, (replace(scan) for scan in self.scans)
        for case in self.cases:
            yield case.key, _changed(self.scans, case, scales)

    def _choose_picture(self) -> tuple[str, int]:
        """The scan whose tumour is of middle size, and its slice that shows most of it.

        Raises:
            DataError: a scan has no reference mask.
        """
        sizes = []
        for scan in self.scans:
            if scan.reference is None:
                raise DataError(f"{scan.id} has no reference mask", next_step="judge only scans that have one")
            pixels = np.count_nonzero(scan.reference, axis=(1, 2))
            sizes.append((int(pixels.sum()), int(pixels.argmax())))
        order = sorted(range(len(sizes)), key=lambda each: sizes[each][0])
        chosen = order[len(order) // 2]
        scan, index = self.scans[chosen], sizes[chosen][1]
        self.shown = (scan.patient, scan.id, scan.slice_numbers[index] if scan.slice_numbers else index + 1)
        return scan.id, index


def _changed(scans: Iterable[Scan], case: Case, scales: Mapping[str, Scale]) -> Iterator[Scan]:
    for scan in scans:
        yield case.change(replace(scan), scales[scan.id])
