"""From the confusion counts of slices to one score of a data set, in every way that people report it.

All functions take the counts of single slices, (slices,), so that a data set of any size needs a few numbers a
slice. Dice and IoU are aggregated alike; `Score` says which of the two is meant.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tumorseg.metrics.overlap import Confusion, Scores, ratio

Score = Literal["dice", "iou"]


def file_order(scans: Sequence[str], slice_numbers: Sequence[int]) -> NDArray[np.intp]:
    """The order in which a program that sorts file names meets the slices: 1, 10, 11, 2, …

    Args:
        scans: the scan of each slice, (slices,).
        slice_numbers: the number of each slice, (slices,), as its file name shows it, without padding.

    Returns:
        (slices,), indices: by scan, and within a scan by the number's digits.
    """
    order = sorted(range(len(scans)), key=lambda index: (scans[index], str(slice_numbers[index])))
    return np.asarray(order, np.intp)


def shuffled_order(slices: int, seed: int) -> NDArray[np.intp]:
    """A random order of the slices, (slices,), indices; the same for the same seed."""
    return np.random.default_rng(seed).permutation(slices).astype(np.intp)


def by_slice(slices: Confusion, score: Score) -> Scores:
    """The score of each slice, (slices,); NaN where prediction and reference are both empty."""
    return slices.dice if score == "dice" else slices.iou


def slice_positive(slices: Confusion, score: Score = "dice") -> float:
    """Mean over the slices whose reference is not empty; NaN when there are none."""
    return _mean(by_slice(slices, score)[slices.reference > 0])


def slice_all(slices: Confusion, score: Score = "dice") -> float:
    """Mean over all slices, where two empty masks count as 1. Most slices are empty, which flatters."""
    return _mean(np.nan_to_num(by_slice(slices, score), nan=1.0))


def smoothed(slices: Confusion, score: Score = "dice", *, batch: int, smooth: float = 100.0) -> float:
    """Mean over batches of (2·|P∩R|+s) / (|P|+|R|+s); for IoU of (|P∩R|+s) / (|P or R|+s).

    Args:
        slices: (slices,), in the order in which they are batched; the last batch may be smaller.
        score: "dice" or "iou".
        batch: slices that are flattened into one score.
        smooth: s, added above and below, which gives empty masks the score 1.
    """
    above, below = _fraction(_batches(slices, batch), score)
    return _mean((above + smooth) / (below + smooth))


def batched(slices: Confusion, score: Score = "dice", *, batch: int = 16, epsilon: float = 1e-8) -> float:
    """Mean over batches of 2·|P∩R| / (|P|+|R|+ε); a batch without tumour scores 0 even when that is right.

    Args:
        slices: (slices,), in file order; the last batch may be smaller.
        score: "dice" or "iou".
        batch: slices that are flattened into one score.
        epsilon: ε, added below.
    """
    above, below = _fraction(_batches(slices, batch), score)
    return _mean(above / (below + epsilon))


def empty_slice_fpr(slices: Confusion) -> float:
    """Share of the slices without tumour in which any pixel is called tumour; NaN when there are none."""
    empty = slices.reference == 0
    return float(ratio(np.count_nonzero(slices.predicted[empty]), np.count_nonzero(empty)))


def _batches(slices: Confusion, batch: int) -> Confusion:
    group = np.arange(slices.tp.size) // batch
    return slices.grouped(group, int(group[-1]) + 1 if group.size else 0)


def _fraction(counts: Confusion, score: Score) -> tuple[Scores, Scores]:
    """Numerator and denominator of the score."""
    if score == "dice":
        above, below = 2 * counts.tp, counts.predicted + counts.reference
    else:
        above, below = counts.tp, counts.tp + counts.fp + counts.fn
    return above.astype(np.float64), below.astype(np.float64)


def _mean(values: Scores) -> float:
    return float(values.mean()) if values.size else float("nan")
