"""Everything that is kept of the scans that are judged: counts and measures, by slice and by patient."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError
from tumorseg.evaluation.measures import Measures, measure_scan
from tumorseg.metrics.head import head_mask
from tumorseg.metrics.neighbours import copied_from_neighbours
from tumorseg.metrics.overlap import Confusion, Scores, confusion_by_slice
from tumorseg.metrics.uncertainty import entropy_by_slice
from tumorseg.postprocess import tumour_probability
from tumorseg.scan import Mask, Scan, Segmentation

DOUBTS = frozenset({"mean_entropy", "flip_disagreement"})
"""Measurements of a segmentation that say how sure it is, as `segment` writes them."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Confusion counts of every slice, with whose they are; sorted by patient, scan and slice number.

    Attributes:
        scans, patients, institutions, numbers: of each slice.
        counts: (slices,), all classes counting as one.
        copied: (slices,), of masks copied from the nearest slice of another fold, see `copied_from_neighbours`.
        hd95, nsd: (slices,), of borders in the plane, in pixels; NaN where they are not defined or not measured.
        entropy: (slices,), of the probabilities, bits; NaN where there are none.
        classes: the counts of each class by itself; empty where all classes count as one.
        held: (slices, K) which classes the reference of a slice holds; None where it has one class.
        doubts: (patients,), what the segmentations measure of their own doubt, by the names in `DOUBTS`, the mean over
            a patient's scans; NaN where it is not known; empty where nobody says.
        measures: of each patient, sorted by patient; empty where nothing was measured.
        class_measures: the same of each class.
    """

    scans: tuple[str, ...]
    patients: tuple[str, ...]
    institutions: tuple[str, ...]
    numbers: tuple[int, ...]
    counts: Confusion
    copied: Confusion
    hd95: Scores
    nsd: Scores
    entropy: Scores
    classes: tuple[Confusion, ...] = ()
    held: NDArray[np.bool_] | None = None
    doubts: Mapping[str, Scores] = field(default_factory=dict)
    measures: tuple[Measures, ...] = ()
    class_measures: tuple[tuple[Measures, ...], ...] = ()

    def groups(self) -> tuple[list[str], NDArray[np.intp]]:
        """The patients, sorted, and the patient of each slice, (slices,), as index into them."""
        names, group = np.unique(np.asarray(self.patients, dtype=np.str_), return_inverse=True)
        return [str(name) for name in names], group.astype(np.intp)

    def by_patient(self) -> tuple[list[str], Confusion]:
        """The patients, sorted, and the counts of each."""
        names, group = self.groups()
        return names, self.counts.grouped(group, len(names))


def tally_pairs(
    pairs: Iterable[tuple[Segmentation, Mask]],
    *,
    classes: int = 1,
    segmented: bool = False,
    measured: bool = True,
    calibrated: bool = True,
) -> Tally:
    """Count and measure segmentations against their references; nothing else of them is kept.

    Args:
        pairs: consumed once.
        classes: how many the references have.
        segmented: whether the segmentations tell them apart.
        measured: measure borders, lesions and the like, and not only count voxels.
        calibrated: hold probabilities against the references too.

    Raises:
        DataError: there is nothing to judge, or two pairs are of one scan and slice.
        ShapeMismatch: a segmentation and its reference differ in shape.
    """
    rows: list[tuple[str, int, str, str]] = []
    counts: list[Confusion] = []
    copied: list[Confusion] = []
    surfaces: list[tuple[Scores, Scores]] = []
    entropies: list[Scores] = []
    by_class: list[list[Confusion]] = [[] for _ in range(classes)]
    held: list[NDArray[np.bool_]] = []
    measures: dict[str, list[Measures]] = {}
    doubts: dict[str, dict[str, list[float]]] = {}
    class_measures: list[dict[str, list[Measures]]] = [{} for _ in range(classes)]
    apart = classes > 1 and segmented
    for segmentation, reference in pairs:
        scan = segmentation.scan
        part = confusion_by_slice(segmentation.mask, reference)
        numbers = scan.slice_numbers or tuple(range(1, part.tp.size + 1))
        rows += [(scan.id, number, scan.patient, scan.institution) for number in numbers]
        counts.append(part)
        copied.append(copied_from_neighbours(reference, scan.id))
        unknown = np.full(part.tp.size, np.nan)
        surfaces.append((unknown, unknown))
        entropies.append(unknown)
        if measured:
            probability = _tumour_probability(segmentation) if calibrated else None
            found = _measured(segmentation, reference, probability)
            measures.setdefault(scan.patient, []).append(found)
            surfaces[-1] = found.in_pixels.by_slice(part.tp.size)
            if probability is not None:
                entropies[-1] = entropy_by_slice(probability)
                for name in DOUBTS & segmentation.measurements.keys():
                    found_doubt = doubts.setdefault(name, {}).setdefault(scan.patient, [])
                    found_doubt.append(segmentation.measurements[name])
        if classes > 1:
            held.append(np.stack([np.any(reference == index, axis=(1, 2)) for index in range(1, classes + 1)], axis=-1))
        for index in range(1, classes + 1) if apart else ():
            one, other = segmentation.mask == index, reference == index
            by_class[index - 1].append(confusion_by_slice(one, other))
            if measured:
                kept = class_measures[index - 1].setdefault(scan.patient, [])
                kept.append(measure_scan(one, other, scan.spacing))
    if not rows:
        raise DataError("there is no scan to judge", next_step="give a data set or a part that holds scans")
    if len({row[:2] for row in rows}) < len(rows):
        raise DataError("one slice of one scan is judged twice", next_step="remove doubled copies from the data set")
    order = sorted(range(len(rows)), key=lambda index: (rows[index][2], *rows[index][:2]))
    scans, numbers, patients, institutions = zip(*(rows[index] for index in order), strict=True)
    sorting = np.asarray(order)
    return Tally(
        scans,
        patients,
        institutions,
        numbers,
        Confusion.joined(counts).take(sorting),
        Confusion.joined(copied).take(sorting),
        np.concatenate([pair[0] for pair in surfaces])[sorting],
        np.concatenate([pair[1] for pair in surfaces])[sorting],
        np.concatenate(entropies)[sorting],
        tuple(Confusion.joined(found).take(sorting) for found in by_class if found),
        np.concatenate(held)[sorting] if held else None,
        {name: _means(of_patients, patients) for name, of_patients in sorted(doubts.items())},
        _by_patient(measures),
        tuple(_by_patient(found) for found in class_measures if found),
    )


def _tumour_probability(segmentation: Segmentation) -> NDArray[Any]:
    probability: NDArray[Any] = segmentation.probability
    if probability.ndim == 4:
        # Half precision: the classes' sum may pass 1 by a little.
        probability = np.stack([tumour_probability(values) for values in probability]).clip(0, 1)
    return probability


def _measured(segmentation: Segmentation, reference: Mask, probability: NDArray[Any] | None) -> Measures:
    scan = segmentation.scan
    if probability is None:
        return measure_scan(segmentation.mask, reference, scan.spacing)
    return measure_scan(
        segmentation.mask,
        reference,
        scan.spacing,
        probability=probability,
        inside=head_mask(shown_channel(scan)),
    )


def shown_channel(scan: Scan) -> NDArray[Any]:
    """FLAIR, or where there is none the first channel, (slices, height, width)."""
    return scan.pixels[..., scan.channels.index("flair") if "flair" in scan.channels else 0]


def _means(of_patients: Mapping[str, Sequence[float]], patients: Iterable[str]) -> Scores:
    """The mean of what is known of each patient, sorted by patient, (patients,)."""
    known = [[value for value in of_patients.get(name, ()) if value == value] for name in sorted(set(patients))]
    return np.array([float(np.mean(values)) if values else np.nan for values in known], np.float64)


def _by_patient(measures: dict[str, list[Measures]]) -> tuple[Measures, ...]:
    return tuple(Measures.joined(measures[patient]) for patient in sorted(measures))
