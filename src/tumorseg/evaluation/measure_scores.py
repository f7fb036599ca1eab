"""What metrics.json says beyond overlap: borders, lesions, kinds of error, volumes and calibration."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.evaluation.means import over_patients
from tumorseg.evaluation.measures import Measures
from tumorseg.metrics.calibration import BINS, Reliability, calibration_intervals
from tumorseg.metrics.error_parts import ErrorParts
from tumorseg.metrics.lesions import HIT_IOU, LesionCounts
from tumorseg.metrics.overlap import Confusion
from tumorseg.metrics.surface import TOLERANCE, SurfaceDistances
from tumorseg.metrics.volumes import bland_altman


def measure_scores(measures: Sequence[Measures], counts: Confusion) -> dict[str, Any]:
    """The scores over patients.

    Args:
        measures: of each patient.
        counts: (patients,), the counts of the same patients.
    """
    scores = shape_scores(measures, counts)
    scores["error_parts"] = asdict(sum((one.errors for one in measures), ErrorParts()))
    known = [one.reliability for one in measures if one.reliability is not None]
    if known and len(known) == len(measures):
        scores |= _calibration(known)
        scores["calibration"]["expected_dice"] = _expected(measures, counts)
    return scores


def shape_scores(measures: Sequence[Measures], counts: Confusion) -> dict[str, Any]:
    """Borders, lesions and volumes, of the tumour or of one class; the arguments are those of `measure_scores`."""
    surfaces, unit = distances(measures)
    hausdorff = over_patients(np.array([surface.hausdorff() for surface in surfaces], np.float64))
    undefined = hausdorff.pop("left_out")
    one_empty = int(np.count_nonzero((counts.predicted == 0) & (counts.reference == 0)))
    lesions = sum((one.lesions for one in measures), LesionCounts())
    return {
        "hd95": {
            **hausdorff,
            "undefined": undefined - one_empty,
            "left_out": one_empty,
            "unit": unit,
            "one_sided_slices": sum(one.one_sided_slices for one in measures),
        },
        "nsd": {
            **over_patients(np.array([surface.surface_dice() for surface in surfaces], np.float64)),
            "tolerance": TOLERANCE,
            "unit": unit,
        },
        "lesion_f1": {
            **over_patients(np.array([one.lesions.f1 for one in measures], np.float64)),
            "pooled": lesions.f1,
            "precision": lesions.precision,
            "recall": lesions.recall,
            "found": lesions.hits,
            "predicted": lesions.predicted,
            "reference": lesions.reference,
            "hit_iou": HIT_IOU,
        },
        "volume": _volume(measures, counts),
    }


def distances(measures: Sequence[Measures]) -> tuple[list[SurfaceDistances], str]:
    """The distances that are judged and their unit: millimetres where all are known, else pixels."""
    spaces = [one.in_millimetres for one in measures if one.in_millimetres is not None]
    if spaces and len(spaces) == len(measures):
        return spaces, "mm"
    return [one.in_pixels for one in measures], "px"


def _volume(measures: Sequence[Measures], counts: Confusion) -> dict[str, Any]:
    volumes = [one.millilitres for one in measures if one.millilitres is not None]
    known = bool(measures) and len(volumes) == len(measures)
    predicted: NDArray[np.float64] = (
        np.array([pair[0] for pair in volumes]) if known else counts.predicted.astype(float)
    )
    reference: NDArray[np.float64] = (
        np.array([pair[1] for pair in volumes]) if known else counts.reference.astype(float)
    )
    agreement = bland_altman(predicted, reference)
    return {
        "unit": "ml" if known else "voxels",
        "n": agreement.n,
        "bias": agreement.bias,
        "bias_ci95": list(agreement.interval),
        "sd": agreement.sd,
        "limits": [agreement.low, agreement.high],
        "absolute_mean": agreement.absolute,
        "relative_median": agreement.relative,
    }


def _calibration(patients: Sequence[Reliability]) -> dict[str, Any]:
    whole = Reliability.joined(patients)
    ece, brier = calibration_intervals(patients)
    edges = np.linspace(0, 1, BINS + 1)
    bins = [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            "voxels": int(whole.voxels[index]),
            "predicted": float(whole.predicted[index] / whole.voxels[index]) if whole.voxels[index] else None,
            "observed": float(whole.observed[index] / whole.voxels[index]) if whole.voxels[index] else None,
        }
        for index in range(BINS)
    ]
    return {
        "ece": whole.ece,
        "brier": whole.brier,
        "calibration": {
            "voxels": int(whole.voxels.sum()),
            "ece_ci95": list(ece),
            "brier_ci95": list(brier),
            "bins": bins,
        },
    }


def _expected(measures: Sequence[Measures], counts: Confusion) -> dict[str, Any]:
    """How well the Dice that the model expects of itself ranks the Dice that it has."""
    expected = np.array([one.expected_dice for one in measures], np.float64)
    both = ~(np.isnan(expected) | np.isnan(counts.dice))
    one, other = expected[both], counts.dice[both]
    rank = float("nan")
    if len(one) > 2 and np.ptp(one) > 0 and np.ptp(other) > 0:
        from scipy import stats

        rank = float(stats.spearmanr(one, other).statistic)
    gap = float(np.mean(one - other)) if len(one) else float("nan")
    return {"spearman": rank, "mean_excess": gap, "n": int(both.sum())}
