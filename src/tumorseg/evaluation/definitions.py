"""Every score of metrics.json with its definition in words, in the order in which people should read them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DICE = "2·|P∩R| / (|P|+|R|)"
_IOU = "|P∩R| / |P∪R|"
_POSITIVE = "A slice with tumour in which nothing is marked scores 0."
_FLATTERING = "Slices without tumour are easy and many: an empty prediction scores high too."
_BATCH = "As another published system reports it; how slices fall into batches changes the value."


@dataclass(frozen=True)
class Definition:
    """One score.

    Attributes:
        key: in metrics.json.
        label: for people.
        meaning: how it is computed; P is the predicted, R the reference mask.
        edge_case: what happens where the formula is 0/0, or what to beware of.
        compare: "all_empty" or "perfect" where the value means little without what such a prediction scores.
        lower_is_better: whether a small value is the good one.
        borrowed: whether it is shown only because other systems report it.
        in_share: whether it is a share of something; else it is a length, in metrics[key]["unit"].
    """

    key: str
    label: str
    meaning: str
    edge_case: str = ""
    compare: str = ""
    lower_is_better: bool = False
    borrowed: bool = False
    in_share: bool = True


def _batched(score: str, label: str, *, borrowed: bool = True) -> tuple[Definition, ...]:
    return (
        Definition(
            f"{score}_smooth100_b1",
            f"{label}, smoothed by 100, one slice a batch",
            f"{label} with 100 added above and below the line, per slice, then the mean over slices.",
            _BATCH,
            compare="all_empty",
            borrowed=borrowed,
        ),
        Definition(
            f"{score}_smooth100_b32",
            f"{label}, smoothed by 100, 32 slices a batch",
            f"{label} with 100 added above and below the line, over 32 slices together, then the mean over batches.",
            _BATCH,
            compare="all_empty",
            borrowed=borrowed,
        ),
        Definition(
            f"{score}_batch16",
            f"{label}, 16 slices a batch",
            f"{label} over 16 slices together, in file order, then the mean over batches.",
            "A batch without tumour scores 0 even when the prediction is right: perfect masks do not reach 1.",
            compare="perfect",
            borrowed=borrowed,
        ),
    )


DEFINITIONS: tuple[Definition, ...] = (
    Definition(
        "dice_patient",
        "Dice by patient",
        f"{_DICE} over all voxels of one patient, then the mean and the median over patients. The headline. "
        "The interval holds 95 % of the means of 10,000 draws of as many patients with replacement.",
        "A patient whose masks are both empty is left out and counted; one empty mask scores 0.",
    ),
    Definition(
        "dice_pooled",
        "Dice, all voxels together",
        f"{_DICE} over all voxels of all patients together.",
        "Large tumours weigh most.",
    ),
    Definition(
        "dice_slice_positive",
        "Dice by slice, slices with tumour",
        f"{_DICE} per slice, then the mean over the slices whose reference is not empty.",
        _POSITIVE,
    ),
    Definition(
        "dice_slice_all",
        "Dice by slice, all slices",
        f"{_DICE} per slice, 1 where both masks are empty, then the mean over all slices.",
        _FLATTERING,
        compare="all_empty",
    ),
    Definition(
        "hd95",
        "Hausdorff distance, 95th percentile",
        "From every border voxel of one mask the distance to the nearest border voxel of the other; of either "
        "direction the 95th percentile, of the two the larger; then the mean and the median over patients. In space "
        "and millimetres where the spacing is known; else in the plane and in pixels, over the slices in which both "
        "masks mark something.",
        "Lower is better. Where one mask is empty it is undefined: such a patient has no part in the mean, which "
        "flatters, and is counted.",
        lower_is_better=True,
        in_share=False,
    ),
    Definition(
        "nsd",
        "Surface Dice",
        "The share of all border voxels of both masks that lie within 2 mm of the other mask's border (2 pixels, "
        "in the plane, where the spacing is unknown); then the mean and the median over patients.",
        "One empty mask scores 0, in the plane the borders of a slice in which one is empty count as wrong; a patient "
        "whose masks are both empty is left out.",
    ),
    Definition(
        "lesion_f1",
        "Lesions found, F1",
        "2·hits / (lesions marked + lesions there) of one patient, then the mean and the median over patients. Lesions "
        "are components of voxels that touch, at corners too; a marked one and a true one are a hit from an IoU of "
        "0.1, each at most once, the best pairs first.",
        "A speck is a lesion like any other: many small false ones cost much here and nothing in Dice.",
    ),
    Definition(
        "precision",
        "Precision",
        "TP / (TP+FP), all voxels together: how much of what is marked is tumour.",
        "Undefined where nothing is marked.",
    ),
    Definition(
        "recall",
        "Recall (sensitivity)",
        "TP / (TP+FN), all voxels together: how much of the tumour is marked.",
        "Undefined where the reference is empty.",
    ),
    Definition(
        "empty_slice_fpr",
        "False alarms on slices without tumour",
        "The share of slices without tumour in which any pixel is marked.",
        "Lower is better. One pixel is enough.",
        lower_is_better=True,
    ),
    Definition(
        "ece",
        "Calibration error (ECE)",
        "Voxels of the head in 15 bins by their probability: how far the mean probability of a bin is from its share "
        "of tumour, on average over voxels. The head is the largest component above the scan's Otsu threshold, filled.",
        "Lower is better. Most of a head is plainly no tumour, which keeps the value small: read the diagram.",
        lower_is_better=True,
    ),
    Definition(
        "brier",
        "Brier score",
        "Mean of (probability - truth)² over the voxels of the head.",
        "Lower is better. Calling everything improbable scores the share of tumour.",
        lower_is_better=True,
    ),
    Definition(
        "specificity",
        "Specificity",
        "TN / (TN+FP), all voxels together: how much of what is no tumour is left unmarked.",
        "Close to 1 for any model, since nearly everything is no tumour.",
    ),
    Definition(
        "accuracy",
        "Accuracy",
        "(TP+TN) / all voxels.",
        "Close to 1 for any model, since nearly everything is no tumour.",
        compare="all_empty",
    ),
    Definition(
        "iou_patient",
        "IoU by patient",
        f"{_IOU} over all voxels of one patient, then the mean and the median over patients.",
        "Always at most Dice: IoU = Dice / (2 - Dice) for one patient.",
    ),
    Definition("iou_pooled", "IoU, all voxels together", f"{_IOU} over all voxels of all patients together."),
    Definition(
        "iou_slice_positive",
        "IoU by slice, slices with tumour",
        f"{_IOU} per slice, then the mean over the slices whose reference is not empty.",
        _POSITIVE,
    ),
    Definition(
        "iou_slice_all",
        "IoU by slice, all slices",
        f"{_IOU} per slice, 1 where both masks are empty, then the mean over all slices.",
        _FLATTERING,
        compare="all_empty",
    ),
    *_batched("dice", "Dice"),
    *_batched("iou", "IoU"),
)


@dataclass(frozen=True)
class Value:
    """One score as the report shows it; texts are ready, "" where there is nothing to say.

    Attributes:
        definition: of the score.
        shown: the value, or "mean … · median …".
        exact: every digit, for the curious.
        lone: the value when every slice was segmented by itself.
        beside: what an all-empty or a perfect prediction scores.
        rows: further named numbers.
    """

    definition: Definition
    shown: str
    exact: str
    lone: str
    beside: str
    rows: tuple[tuple[str, str], ...]


def cut(value: float | None, digits: int = 3, *, lower_is_better: bool = False) -> str:
    """A score in decimals, cut (where lower is better: raised) rather than rounded, so that no digit flatters."""
    if value is None or not math.isfinite(value):
        return "undefined"
    scale = 10**digits
    scaled = math.ceil(value * scale - 1e-6) if lower_is_better else math.floor(value * scale + 1e-6)
    return f"{scaled / scale:.{digits}f}"


def values(metrics: Mapping[str, Any]) -> list[Value]:
    """The scores of metrics.json that are there, defined and in reading order."""
    return [_value(definition, metrics) for definition in DEFINITIONS if definition.key in metrics]


def _value(definition: Definition, metrics: Mapping[str, Any]) -> Value:
    key, lower = definition.key, definition.lower_is_better
    found = metrics[key]
    rows: list[tuple[str, str]] = []
    if isinstance(found, Mapping):
        low, high = found.get("ci95") or (math.nan, math.nan)
        digits = 3 if definition.in_share else 1
        ends = f"{cut(low, digits)} to {cut(high, digits, lower_is_better=True)}"
        rows.append(("95 % interval of the mean", ends))
        rows.append(("patients", str(found.get("n", ""))))
        if found.get("left_out"):
            rows.append(("left out, both masks empty", str(found["left_out"])))
        if found.get("undefined"):
            rows.append(("undefined, one mask empty", str(found["undefined"])))
        if found.get("one_sided_slices"):
            rows.append(("slices in which one mask is empty", str(found["one_sided_slices"])))
    beside = ""
    if definition.compare:
        other = metrics.get(definition.compare, {}).get(key)
        who = "an all-empty prediction" if definition.compare == "all_empty" else "perfect masks"
        beside = f"{who}: {cut(other, lower_is_better=lower)}" if other is not None else ""
    lone = metrics.get("single_slice", {}).get(key)
    return Value(
        definition,
        shown=_shown(found, lower, definition.in_share),
        exact=_exact(found),
        lone="" if lone is None else _shown(lone, lower),
        beside=beside,
        rows=tuple(rows),
    )


def _shown(found: Any, lower: bool, in_share: bool = True) -> str:
    if isinstance(found, Mapping):
        unit = "" if in_share else f" {found.get('unit', '')}"
        mean, median = (
            cut(found.get(name), 3 if in_share else 1, lower_is_better=lower) for name in ("mean", "median")
        )
        return f"mean {mean}{unit} · median {median}{unit}"
    return cut(found, lower_is_better=lower)


def _exact(found: Any) -> str:
    value = found["mean"] if isinstance(found, Mapping) else found
    return str(value) if value is not None and math.isfinite(value) else "undefined"
