"""Judgement: how a set of segmentations compares with the references, by patient, by slice and altogether."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.evaluation.class_scores import class_scores
from tumorseg.evaluation.doubt import by_patient, doubt_scores
from tumorseg.evaluation.means import over_patients
from tumorseg.evaluation.measure_scores import distances, measure_scores
from tumorseg.evaluation.measures import Measures
from tumorseg.evaluation.overlap_scores import overlap_scores
from tumorseg.evaluation.practices import JudgedSlices, practices
from tumorseg.evaluation.practices import as_json as practices_json
from tumorseg.evaluation.tally import Tally, tally_pairs
from tumorseg.files import atomic_write, write_json
from tumorseg.metrics.aggregate import file_order
from tumorseg.metrics.bootstrap import RESAMPLES, SEED
from tumorseg.metrics.overlap import Confusion
from tumorseg.scan import Mask, Segmentation

NOT_A_NUMBER = float("nan")


@dataclass(frozen=True)
class PatientScore:
    """The scores of one patient over all voxels of all scans of this patient; NaN where a score is 0/0.

    Attributes:
        slices: number of slices.
        dice_lone: Dice when every slice was segmented by itself; NaN where that was not done.
        hd95: millimetres or pixels, as metrics["hd95"]["unit"] says; nsd has that unit's tolerance.
        lesions_…: found, marked and in the reference.
        volume_…_ml: NaN where the spacing is unknown.
        error_…: wrong voxels by kind, see `ErrorParts`.
        ece, brier, dice_expected: of the probabilities; NaN where there are none.
        entropy: beside what is marked, 0 to 1, see `relative_entropy`; NaN likewise.
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
    hd95: float = NOT_A_NUMBER
    nsd: float = NOT_A_NUMBER
    lesion_f1: float = NOT_A_NUMBER
    lesions_found: int = 0
    lesions_predicted: int = 0
    lesions_reference: int = 0
    volume_reference_ml: float = NOT_A_NUMBER
    volume_predicted_ml: float = NOT_A_NUMBER
    error_missed: int = 0
    error_elsewhere: int = 0
    error_boundary: int = 0
    error_too_little: int = 0
    error_too_much: int = 0
    ece: float = NOT_A_NUMBER
    brier: float = NOT_A_NUMBER
    dice_expected: float = NOT_A_NUMBER
    entropy: float = NOT_A_NUMBER


@dataclass(frozen=True)
class SliceScore:
    """The scores of one slice, NaN where they are 0/0; hd95 and nsd are in its plane, in pixels, entropy in bits."""

    patient: str
    slice_number: int
    reference_pixels: int
    predicted_pixels: int
    tp: int
    fp: int
    fn: int
    tn: int
    dice: float
    hd95: float = NOT_A_NUMBER
    nsd: float = NOT_A_NUMBER
    entropy: float = NOT_A_NUMBER


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


def judge(
    pairs: Iterable[tuple[Segmentation, Mask]],
    protocol: Mapping[str, Any] | None = None,
    lone: Iterable[tuple[Segmentation, Mask]] | None = None,
    *,
    classes: Sequence[str] = ("tumour",),
    segmented: bool = False,
    calibrated: bool = True,
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
        calibrated: whether the segmentations' probabilities are a model's own, to be held against the references
            too; the scans' pixels are read for that.

    Raises:
        DataError: there is nothing to judge, or two pairs are of one scan and slice.
        ShapeMismatch: a segmentation and its reference differ in shape.
    """
    tally = tally_pairs(pairs, classes=len(classes), segmented=segmented, calibrated=calibrated)
    names, counts = tally.by_patient()
    lone_metrics: dict[str, Any] = {}
    dice_lone: dict[str, float] = {}
    if lone is not None:
        lone_names, lone_counts = tally_pairs(lone, measured=False).by_patient()
        dice_lone = dict(zip(lone_names, lone_counts.dice.tolist(), strict=True))
        lone_metrics = {
            "dice_patient": over_patients(lone_counts.dice),
            "dice_pooled": float(lone_counts.pooled().dice),
        }
    metrics = overlap_scores(tally, counts) | measure_scores(tally.measures, counts)
    metrics["practices"] = practices_json(practices([_in_file_order(tally)]))
    if doubt := doubt_scores(tally, counts):
        metrics["uncertainty"] = doubt
    if tally.held is not None:
        group = tally.groups()[1]
        metrics |= class_scores(classes, group, counts, tally.classes, tally.held, tally.class_measures)
    if lone_metrics:
        metrics["single_slice"] = lone_metrics
    bootstrap = {"resamples": RESAMPLES, "seed": SEED, "unit": "patient", "level": 0.95}
    metrics["protocol"] = {**(protocol or {}), "bootstrap": bootstrap}
    return Judgement(_patient_scores(tally, names, counts, dice_lone), _slice_scores(tally), metrics, lone_metrics)


def _in_file_order(tally: Tally) -> JudgedSlices:
    order = file_order(tally.scans, tally.numbers)
    several = len(set(tally.scans)) < len(tally.scans)
    return JudgedSlices(
        tuple(tally.patients[index] for index in order),
        tally.counts.take(order),
        tally.copied.take(order) if several else None,
    )


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


def _patient_scores(
    tally: Tally, names: Sequence[str], counts: Confusion, dice_lone: Mapping[str, float]
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
    measured = zip(rows, _measured(tally.measures), by_patient(tally, counts).tolist(), strict=True)
    return tuple(PatientScore(*row, **{**columns, "entropy": entropy}) for row, columns, entropy in measured)


def _measured(measures: Sequence[Measures]) -> Iterator[dict[str, Any]]:
    """The columns of each patient that are no counts."""
    borders, _ = distances(measures)
    for one, surface in zip(measures, borders, strict=True):
        predicted, reference = one.millilitres or (NOT_A_NUMBER, NOT_A_NUMBER)
        yield {
            "hd95": surface.hausdorff(),
            "nsd": surface.surface_dice(),
            "lesion_f1": one.lesions.f1,
            "lesions_found": one.lesions.hits,
            "lesions_predicted": one.lesions.predicted,
            "lesions_reference": one.lesions.reference,
            "volume_reference_ml": reference,
            "volume_predicted_ml": predicted,
            **{f"error_{kind}": count for kind, count in asdict(one.errors).items()},
            "ece": one.reliability.ece if one.reliability else NOT_A_NUMBER,
            "brier": one.reliability.brier if one.reliability else NOT_A_NUMBER,
            "dice_expected": one.expected_dice,
        }


def _slice_scores(tally: Tally) -> tuple[SliceScore, ...]:
    counts = tally.counts
    rows = zip(
        tally.patients,
        tally.numbers,
        *_columns(counts.reference, counts.predicted, counts.tp, counts.fp, counts.fn, counts.tn, counts.dice),
        *_columns(tally.hd95, tally.nsd, tally.entropy),
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
