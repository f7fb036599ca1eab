"""Judgement: how a set of segmentations compares with the references, by patient, by slice and altogether."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError
from tumorseg.evaluation.class_scores import class_scores, over_patients
from tumorseg.files import atomic_write, write_json
from tumorseg.metrics import aggregate
from tumorseg.metrics.bootstrap import RESAMPLES, SEED
from tumorseg.metrics.overlap import Confusion, confusion_by_slice
from tumorseg.scan import Mask, Segmentation

NOT_A_NUMBER = float("nan")


@dataclass(frozen=True)
class PatientScore:
    """The scores of one patient over all voxels of all scans of this patient; NaN where a score is 0/0.

    Attributes:
        slices: number of slices.
        dice_lone: Dice when every slice was segmented by itself; NaN where that was not done.
    """

    patient: str
    institution: str
    slices: int
    reference_voxels: int
    predicted_voxels: int
    tp: int
    fp: int
    fn: int
    tn: int
    dice: float
    iou: float
    precision: float
    recall: float
    dice_lone: float


@dataclass(frozen=True)
class SliceScore:
    """The scores of one slice; `dice` is NaN where prediction and reference are both empty."""

    patient: str
    slice_number: int
    reference_pixels: int
    predicted_pixels: int
    tp: int
    fp: int
    fn: int
    tn: int
    dice: float


@dataclass(frozen=True)
class Judgement:
    """Every score of one data set under one protocol.

    Attributes:
        patients: sorted by patient.
        slices: sorted by patient, scan and slice number.
        metrics: the content of metrics.json; NaN where a score is 0/0.
        lone_metrics: `{"dice_patient": {…}, "dice_pooled": …}` of slices segmented one by one; empty where that
            was not done. The same dictionary as metrics["single_slice"].
    """

    patients: tuple[PatientScore, ...]
    slices: tuple[SliceScore, ...]
    metrics: Mapping[str, Any]
    lone_metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Tally:
    """Confusion counts of every slice, with whose they are; sorted by scan and slice number.

    Attributes:
        classes: the counts of each class by itself; empty where all classes count as one.
        held: (slices, K) which classes the reference of a slice holds; None where it has one class.
    """

    scans: tuple[str, ...]
    patients: tuple[str, ...]
    institutions: tuple[str, ...]
    numbers: tuple[int, ...]
    counts: Confusion
    classes: tuple[Confusion, ...] = ()
    held: NDArray[np.bool_] | None = None

    def by_patient(self) -> tuple[list[str], Confusion]:
        """The patients, sorted, and the counts of each."""
        names, group = np.unique(np.asarray(self.patients, dtype=np.str_), return_inverse=True)
        return [str(name) for name in names], self.counts.grouped(group.astype(np.intp), names.size)


def judge(
    pairs: Iterable[tuple[Segmentation, Mask]],
    protocol: Mapping[str, Any] | None = None,
    lone: Iterable[tuple[Segmentation, Mask]] | None = None,
    *,
    classes: Sequence[str] = ("tumour",),
    segmented: bool = False,
) -> Judgement:
    """Score segmentations against references; whatever is not background counts as tumour.

    Of several classes, each is scored by itself too where the segmentations tell them apart.

    Args:
        pairs: each segmentation with its reference, (slices, height, width); consumed once, nothing but counts
            is kept.
        protocol: how the segmentations came about; goes into metrics["protocol"].
        lone: the same patients with every slice segmented by itself, one pair a slice; consumed after `pairs`.
        classes: names of the references' classes 1…K.
        segmented: whether the segmentations tell these classes apart.

    Raises:
        DataError: there is nothing to judge, or two pairs are of one scan and slice.
        ShapeMismatch: a segmentation and its reference differ in shape.
    """
    tally = _tally(pairs, classes=len(classes), segmented=segmented)
    names, counts = tally.by_patient()
    lone_metrics: dict[str, Any] = {}
    dice_lone: dict[str, float] = {}
    if lone is not None:
        lone_names, lone_counts = _tally(lone).by_patient()
        dice_lone = dict(zip(lone_names, lone_counts.dice.tolist(), strict=True))
        lone_metrics = {
            "dice_patient": over_patients(lone_counts.dice),
            "dice_pooled": float(lone_counts.pooled().dice),
        }
    metrics = _metrics(tally, counts)
    if tally.held is not None:
        group = np.unique(np.asarray(tally.patients, dtype=np.str_), return_inverse=True)[1].astype(np.intp)
        metrics |= class_scores(classes, group, counts, tally.classes, tally.held)
    if lone_metrics:
        metrics["single_slice"] = lone_metrics
    bootstrap = {"resamples": RESAMPLES, "seed": SEED, "unit": "patient", "level": 0.95}
    metrics["protocol"] = {**(protocol or {}), "bootstrap": bootstrap}
    return Judgement(_patient_scores(tally, names, counts, dice_lone), _slice_scores(tally), metrics, lone_metrics)


def write_judgement(folder: Path, judgement: Judgement) -> None:
    """Write metrics.json, patients.csv and slices.csv, each whole or not at all.

    A score that is 0/0 is null in the JSON and an empty field in the tables.
    """
    write_json(folder / "metrics.json", json_ready(judgement.metrics))
    _write_table(folder / "patients.csv", [item.name for item in fields(PatientScore)], judgement.patients)
    _write_table(folder / "slices.csv", [item.name for item in fields(SliceScore)], judgement.slices)


def json_ready(value: Any) -> Any:
    """The same value with null where a number is not finite, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _tally(pairs: Iterable[tuple[Segmentation, Mask]], *, classes: int = 1, segmented: bool = False) -> _Tally:
    rows: list[tuple[str, int, str, str]] = []
    counts: list[Confusion] = []
    by_class: list[list[Confusion]] = [[] for _ in range(classes)]
    held: list[NDArray[np.bool_]] = []
    for segmentation, reference in pairs:
        scan = segmentation.scan
        part = confusion_by_slice(segmentation.mask, reference)
        numbers = scan.slice_numbers or tuple(range(1, part.tp.size + 1))
        rows += [(scan.id, number, scan.patient, scan.institution) for number in numbers]
        counts.append(part)
        if classes > 1:
            held.append(np.stack([np.any(reference == index, axis=(1, 2)) for index in range(1, classes + 1)], axis=-1))
        if classes > 1 and segmented:
            for index, found in enumerate(by_class, start=1):
                found.append(confusion_by_slice(segmentation.mask == index, reference == index))
    if not rows:
        raise DataError("there is no scan to judge", next_step="give a data set or a part that holds scans")
    if len({row[:2] for row in rows}) < len(rows):
        raise DataError("one slice of one scan is judged twice", next_step="remove doubled copies from the data set")
    order = sorted(range(len(rows)), key=lambda index: (rows[index][2], *rows[index][:2]))
    scans, numbers, patients, institutions = zip(*(rows[index] for index in order), strict=True)
    sorting = np.asarray(order)
    return _Tally(
        scans,
        patients,
        institutions,
        numbers,
        Confusion.joined(counts).take(sorting),
        tuple(Confusion.joined(found).take(sorting) for found in by_class if found),
        np.concatenate(held)[sorting] if held else None,
    )


def _metrics(tally: _Tally, by_patient: Confusion) -> dict[str, Any]:
    pooled = by_patient.pooled()
    in_file_order = tally.counts.take(aggregate.file_order(tally.scans, tally.numbers))
    all_empty, perfect = in_file_order.all_empty(), in_file_order.perfect()
    metrics: dict[str, Any] = {"patients": by_patient.tp.size, "slices": tally.counts.tp.size}
    scores: tuple[aggregate.Score, ...] = ("dice", "iou")
    for score in scores:
        metrics[f"{score}_patient"] = over_patients(aggregate.by_slice(by_patient, score))
        metrics[f"{score}_pooled"] = float(aggregate.by_slice(pooled, score))
        metrics |= {f"{score}_{name}": value for name, value in _over_slices(in_file_order, score).items()}
    metrics |= {name: float(getattr(pooled, name)) for name in ("precision", "recall", "specificity", "accuracy")}
    metrics["empty_slice_fpr"] = aggregate.empty_slice_fpr(in_file_order)
    metrics["all_empty"] = _reference_values(all_empty)
    metrics["perfect"] = _reference_values(perfect)
    return metrics


def _over_slices(slices: Confusion, score: aggregate.Score) -> dict[str, float]:
    # Batches of 32 are of random slices, as the system that is reproduced draws them: in file order some batches
    # hold no tumour, and an all-empty prediction would score 0.07 instead of 0.005.
    shuffled = aggregate.shuffled_order(slices.tp.size, SEED)
    return {
        "slice_positive": aggregate.slice_positive(slices, score),
        "slice_all": aggregate.slice_all(slices, score),
        "smooth100_b1": aggregate.smoothed(slices, score, batch=1),
        "smooth100_b32": aggregate.smoothed(slices.take(shuffled), score, batch=32),
        "batch16": aggregate.batched(slices, score, batch=16),
    }


def _reference_values(slices: Confusion) -> dict[str, float]:
    """What the same slices score under a prediction that is no model's: all empty, or the reference itself."""
    scores: tuple[aggregate.Score, ...] = ("dice", "iou")
    values = {f"{score}_{name}": value for score in scores for name, value in _over_slices(slices, score).items()}
    return {**values, "accuracy": float(slices.pooled().accuracy)}


def _patient_scores(
    tally: _Tally, names: Sequence[str], counts: Confusion, dice_lone: Mapping[str, float]
) -> tuple[PatientScore, ...]:
    institution = dict(zip(tally.patients, tally.institutions, strict=True))
    slices = Counter(tally.patients)
    rows = zip(
        names,
        (institution[name] for name in names),
        (slices[name] for name in names),
        *_columns(counts.reference, counts.predicted, counts.tp, counts.fp, counts.fn, counts.tn),
        *_columns(counts.dice, counts.iou, counts.precision, counts.recall),
        (dice_lone.get(name, NOT_A_NUMBER) for name in names),
        strict=True,
    )
    return tuple(PatientScore(*row) for row in rows)


def _slice_scores(tally: _Tally) -> tuple[SliceScore, ...]:
    counts = tally.counts
    rows = zip(
        tally.patients,
        tally.numbers,
        *_columns(counts.reference, counts.predicted, counts.tp, counts.fp, counts.fn, counts.tn, counts.dice),
        strict=True,
    )
    return tuple(SliceScore(*row) for row in rows)


def _columns(*arrays: NDArray[Any]) -> list[list[Any]]:
    """The arrays as plain Python numbers."""
    return [array.tolist() for array in arrays]


def _write_table(path: Path, header: Sequence[str], rows: Iterable[PatientScore | SliceScore]) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(["" if value != value else value for value in astuple(row)] for row in rows)
