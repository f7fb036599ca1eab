"""One line of reading for each of the report's sections on borders, lesions, volume, errors and calibration."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tumorseg.evaluation.definitions import cut
from tumorseg.evaluation.judgement import Judgement
from tumorseg.evaluation.measure_figures import KINDS


@dataclass(frozen=True)
class Reading:
    """Sentences; "" where there is nothing to say.

    Attributes:
        unit: of border distances, mm or px.
        errors: on the kinds of error.
        empty_slices: on false alarms.
        shapes: on borders, lesions and volume, one each.
        calibration: on probabilities.
    """

    unit: str
    errors: str
    empty_slices: str
    shapes: tuple[str, ...]
    calibration: str


def reading(judgement: Judgement) -> Reading:
    """Say in words what metrics.json says in numbers."""
    metrics = judgement.metrics
    return Reading(
        unit=metrics.get("hd95", {}).get("unit", "px"),
        errors=_errors(metrics.get("error_parts", {})),
        empty_slices=_empty_slices(judgement),
        shapes=tuple(_shapes(metrics)),
        calibration=_calibration(metrics),
    )


def _errors(parts: Mapping[str, int]) -> str:
    total = sum(parts.values())
    if not total:
        return ""
    ranked = sorted(parts, key=lambda kind: -parts[kind])
    most = ", ".join(f"{_percent(parts[kind] / total)} {KINDS[kind]}" for kind in ranked if parts[kind])
    return (
        f"Of {total:,} wrong voxels: {most}. Each wrong voxel is of one kind: of a lesion that is not touched at all, "
        "of a marked spot that touches no tumour, within 2 pixels of the reference's outline, or further in or out. "
        "The patients with the lowest Dice come first."
    )


def _empty_slices(judgement: Judgement) -> str:
    empty = [piece for piece in judgement.slices if piece.reference_pixels == 0]
    alarms = sorted(piece.predicted_pixels for piece in empty if piece.predicted_pixels)
    if not empty:
        return "Every slice holds a tumour: false alarms cannot be seen on this data."
    if not alarms:
        return f"None of the {len(empty):,} slices without tumour is marked."
    return (
        f"{len(alarms):,} of {len(empty):,} slices without tumour are marked, in the median with "
        f"{alarms[len(alarms) // 2]:,} pixels, at most with {alarms[-1]:,}."
    )


def _shapes(metrics: Mapping[str, Any]) -> Iterator[str]:
    if hausdorff := metrics.get("hd95"):
        unit = hausdorff["unit"]
        place = "in space" if unit == "mm" else "in the plane, since the spacing is not known"
        mean = cut(hausdorff["mean"], 1, lower_is_better=True)
        said = (
            f"Borders ({place}): 95 % lie within {mean} {unit} of each other, on average over {hausdorff['n']} patients"
        )
        if hausdorff["undefined"]:
            said += f"; for {hausdorff['undefined']} more it is undefined, since a mask is empty or no slice is shared"
        share = metrics["nsd"]
        yield f"{said}. Within {share['tolerance']:g} {unit} of each other lies {cut(share['mean'])} of both borders."
    if lesions := metrics.get("lesion_f1"):
        yield (
            f"Lesions: {lesions['found']:,} of {lesions['reference']:,} found; {lesions['predicted']:,} marked, of "
            f"which {lesions['predicted'] - lesions['found']:,} are none of the reference's own."
        )
    if volume := metrics.get("volume"):
        unit = volume["unit"]
        bias, (low, high) = volume["bias"], volume["limits"]
        limits = f", limits of agreement {_signed(low)} to {_signed(high)} {unit}" if math.isfinite(low) else ""
        end, other = volume["bias_ci95"]
        said = f"Volume: predictions are off by {_signed(bias)} {unit} on average"
        said += f" (95 % {_signed(end)} to {_signed(other)}){limits}" if math.isfinite(end) else limits
        if math.isfinite(volume["relative_median"]):
            said += f"; in the median by {100 * volume['relative_median']:.0f} % of the tumour, either way"
        yield f"{said}."


def _calibration(metrics: Mapping[str, Any]) -> str:
    calibration = metrics.get("calibration")
    if not calibration:
        return ""
    low, high = calibration["ece_ci95"]
    ece, brier, end = (cut(value, 4, lower_is_better=True) for value in (metrics["ece"], metrics["brier"], high))
    said = (
        f"Over {calibration['voxels']:,} voxels of heads, probabilities are off by {ece} on average (95 % "
        f"{cut(low, 4)} to {end}); Brier score {brier}. Below the diagonal the model is too sure."
    )
    expected = calibration["expected_dice"]
    if math.isfinite(expected["spearman"]):
        said += (
            f" The Dice that it expects of its own masks is {expected['mean_excess']:+.3f} off on average and ranks "
            f"the patients with Spearman's rho {expected['spearman']:.2f} ({expected['n']} patients)."
        )
    return said


def _percent(share: float) -> str:
    """Whole per cent; what is there never becomes 0."""
    return f"{100 * share:.0f} %" if share >= 0.005 else "under 1 %"


def _signed(value: float) -> str:
    """Three digits that count, or whole numbers."""
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.3g}"
