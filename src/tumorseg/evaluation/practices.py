"""The same masks under other definitions: what every way of scoring that is in use makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.metrics import aggregate
from tumorseg.metrics.bootstrap import SEED, Interval
from tumorseg.metrics.overlap import Confusion, Scores
from tumorseg.metrics.unpaired import Ratio, ratio_interval

PRACTICES = {
    "dice_patient": "by patient, mean: the headline",
    "dice_pooled": "all voxels together",
    "dice_slice_positive": "by slice, slices with tumour",
    "dice_slice_all": "by slice, empty = 1",
    "dice_smooth100_b1": "smooth = 100, one slice a batch",
    "dice_smooth100_b32": "smooth = 100, 32 slices a batch",
    "dice_batch16": "16 slices a batch, no tumour = 0",
}
"""Definitions by their name in metrics.json, in words."""

_SMOOTH = 100.0


@dataclass(frozen=True, eq=False)
class JudgedSlices:
    """Counts of slices, in the order of their files, and whose they are.

    Attributes:
        patients: of each slice.
        counts: (slices,), of the masks that are judged.
        copied: (slices,), of masks copied from the nearest slice of another fold; None where that is not known, or
            no scan has two slices.
    """

    patients: tuple[str, ...]
    counts: Confusion
    copied: Confusion | None = None


@dataclass(frozen=True)
class Practice:
    """One definition.

    Attributes:
        key: in metrics.json.
        value: of the masks that are judged; NaN where it is 0/0.
        interval: over patients; None where the score does not divide by patient.
        all_empty, perfect: what marking nothing, and the reference itself, score.
        copied: what a split by slice hands out without learning; NaN where that is not known.
    """

    key: str
    value: float
    interval: Interval | None
    all_empty: float
    perfect: float
    copied: float

    @property
    def label(self) -> str:
        """The definition in words."""
        return PRACTICES[self.key]


def practices(judged: Sequence[JudgedSlices]) -> tuple[Practice, ...]:
    """Every definition of `PRACTICES` on the same masks.

    Args:
        judged: one, or several trainings of one thing on the same slices, whose scores are averaged.
    """
    first = judged[0]
    own = [_values(one) for one in judged]
    nothing = _values(JudgedSlices(first.patients, first.counts.all_empty()))
    perfect = _values(JudgedSlices(first.patients, first.counts.perfect()))
    copied = _values(JudgedSlices(first.patients, first.copied)) if first.copied is not None else {}
    ratios = [ratios_of(one.patients, one.counts) for one in judged]
    return tuple(
        Practice(
            key,
            float(np.mean([values[key] for values in own])),
            _interval([each[key] for each in ratios]) if key in ratios[0] else None,
            nothing[key],
            perfect[key],
            copied.get(key, float("nan")),
        )
        for key in PRACTICES
    )


def as_json(found: Sequence[Practice]) -> dict[str, Any]:
    """By key, what metrics.json and practices.json say; `copied` is None where it is not known."""
    return {
        one.key: {
            "value": one.value,
            "ci95": None if one.interval is None else list(one.interval),
            "all_empty": one.all_empty,
            "perfect": one.perfect,
            "copied": one.copied,
        }
        for one in found
    }


def from_json(found: Any) -> tuple[Practice, ...]:
    """The reverse of `as_json`, where null stands for a number that is undefined."""

    def number(value: Any) -> float:
        return float("nan") if value is None else float(value)

    return tuple(
        Practice(
            key,
            number(one["value"]),
            None if one["ci95"] is None else Interval(*map(number, one["ci95"])),
            *(number(one[name]) for name in ("all_empty", "perfect", "copied")),
        )
        for key, one in found.items()
    )


def ratios_of(patients: Sequence[str], counts: Confusion) -> dict[str, Ratio]:
    """The scores of `PRACTICES` that are sums over patients, ready to be resampled by patient."""
    names, group = np.unique(np.asarray(patients, np.str_), return_inverse=True)
    size = len(names)
    group = group.astype(np.intp)
    by_patient = counts.grouped(group, size)
    dice = counts.dice
    positive = counts.reference > 0
    smooth = (2 * counts.tp + _SMOOTH) / (counts.predicted + counts.reference + _SMOOTH)

    def summed(values: NDArray[Any]) -> Scores:
        return np.asarray(np.bincount(group, weights=np.asarray(values, np.float64), minlength=size), np.float64)

    return {
        "dice_patient": Ratio.mean(by_patient.dice),
        "dice_pooled": Ratio(
            (2 * by_patient.tp).astype(np.float64), (by_patient.predicted + by_patient.reference).astype(np.float64)
        ),
        "dice_slice_positive": Ratio(summed(np.where(positive, dice, 0.0)), summed(positive)),
        "dice_slice_all": Ratio(summed(np.nan_to_num(dice, nan=1.0)), summed(np.ones_like(smooth))),
        "dice_smooth100_b1": Ratio(summed(smooth), summed(np.ones_like(smooth))),
    }


def _values(judged: JudgedSlices) -> dict[str, float]:
    counts = judged.counts
    values = {key: ratio.value for key, ratio in ratios_of(judged.patients, counts).items()}
    shuffled = counts.take(aggregate.shuffled_order(counts.tp.size, SEED))
    values["dice_smooth100_b32"] = aggregate.smoothed(shuffled, batch=32)
    values["dice_batch16"] = aggregate.batched(counts, batch=16)
    return values


def _interval(ratios: Sequence[Ratio]) -> Interval:
    if len({ratio.above.size for ratio in ratios}) > 1:
        # A patient is undefined in one training alone, so that draws of patients would not be of the same.
        return Interval(float("nan"), float("nan"))
    return ratio_interval(ratios)
