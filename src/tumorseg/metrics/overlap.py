"""Overlap of two masks: the four confusion counts, and the six ratios that follow from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorseg.errors import ShapeMismatch

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of pixels, in arrays of one shape, and the scores that follow from them.

    Every score is NaN where it is 0/0: what such a slice or patient is worth is for the caller to decide.

    Attributes:
        tp: tumour in prediction and reference. fp: in the prediction alone. fn: in the reference alone.
        tn: in neither.
    """

    tp: Counts
    fp: Counts
    fn: Counts
    tn: Counts

    @property
    def predicted(self) -> Counts:
        """|P|, pixels that the prediction calls tumour."""
        return self.tp + self.fp

    @property
    def reference(self) -> Counts:
        """|R|, pixels that the reference calls tumour."""
        return self.tp + self.fn

    @property
    def total(self) -> Counts:
        """All pixels."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def dice(self) -> Scores:
        """2|P∩R| / (|P|+|R|) (Dice 1945)."""
        return ratio(2 * self.tp, self.predicted + self.reference)

    @property
    def iou(self) -> Scores:
        """|P∩R| / (|P|+|R|-|P∩R|) (Jaccard 1912)."""
        return ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> Scores:
        """TP / (TP+FP)."""
        return ratio(self.tp, self.predicted)

    @property
    def recall(self) -> Scores:
        """TP / (TP+FN), the sensitivity."""
        return ratio(self.tp, self.reference)

    @property
    def specificity(self) -> Scores:
        """TN / (TN+FP)."""
        return ratio(self.tn, self.tn + self.fp)

    @property
    def accuracy(self) -> Scores:
        """(TP+TN) / all."""
        return ratio(self.tp + self.tn, self.total)

    def pooled(self) -> "Confusion":
        """The counts of everything together, 0-d."""
        return Confusion(*(np.asarray(count.sum(), np.int64) for count in self._arrays()))

    def grouped(self, group: NDArray[np.intp], groups: int) -> "Confusion":
        """Sums by group, (groups,); `group` names the group of each entry, 0 to groups - 1."""
        return Confusion(*(_sums(count, group, groups) for count in self._arrays()))

    def take(self, index: NDArray[Any]) -> "Confusion":
        """The entries that `index` picks, in its order; an integer or boolean array."""
        return Confusion(*(count[index] for count in self._arrays()))

    def all_empty(self) -> "Confusion":
        """The counts of a prediction without any tumour against the same reference."""
        nothing = np.zeros_like(self.tp)
        return Confusion(tp=nothing, fp=nothing, fn=self.reference, tn=self.fp + self.tn)

    def perfect(self) -> "Confusion":
        """The counts of a prediction that equals the reference."""
        nothing = np.zeros_like(self.tp)
        return Confusion(tp=self.reference, fp=nothing, fn=nothing, tn=self.fp + self.tn)

    @classmethod
    def joined(cls, parts: "list[Confusion]") -> "Confusion":
        """Several counts one after the other, (entries,)."""
        if not parts:
            return cls(*(np.zeros(0, np.int64) for _ in range(4)))
        return cls(*(np.concatenate(arrays) for arrays in zip(*(part._arrays() for part in parts), strict=True)))

    def _arrays(self) -> tuple[Counts, Counts, Counts, Counts]:
        return self.tp, self.fp, self.fn, self.tn


def confusion_by_slice(predicted: NDArray[Any], reference: NDArray[Any]) -> Confusion:
    """Confusion counts of each slice, (slices,).

    Args:
        predicted: (slices, height, width), bool or class index; whatever is not 0 is tumour.
        reference: the same shape.

    Raises:
        ShapeMismatch: the shapes differ, or the arrays are not three-dimensional.
    """
    same_volumes(predicted, reference)
    found, true = predicted != 0, reference != 0
    tp = np.count_nonzero(found & true, axis=(1, 2)).astype(np.int64)
    fp = np.count_nonzero(found, axis=(1, 2)).astype(np.int64) - tp
    fn = np.count_nonzero(true, axis=(1, 2)).astype(np.int64) - tp
    return Confusion(tp=tp, fp=fp, fn=fn, tn=found.shape[1] * found.shape[2] - tp - fp - fn)


def same_volumes(predicted: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raise ShapeMismatch unless both masks are (slices, height, width) of one shape."""
    if predicted.shape != reference.shape:
        raise ShapeMismatch(
            f"the prediction's shape {predicted.shape} is not the reference's {reference.shape}",
            next_step="give masks on the same grid",
        )
    if predicted.ndim != 3:
        raise ShapeMismatch(f"masks of shape {predicted.shape} are not (slices, height, width)")


def confusion(predicted: NDArray[Any], reference: NDArray[Any]) -> Confusion:
    """Confusion counts of two whole masks of any shape, 0-d.

    Raises:
        ShapeMismatch: the shapes differ.
    """
    if predicted.shape != reference.shape:
        raise ShapeMismatch(
            f"the prediction's shape {predicted.shape} is not the reference's {reference.shape}",
            next_step="give masks on the same grid",
        )
    return confusion_by_slice(predicted.reshape(1, 1, -1), reference.reshape(1, 1, -1)).pooled()


def dice(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """Overlap of two masks, 2|P∩R| / (|P|+|R|) (Dice 1945).

    Args:
        predicted: (slices, height, width), bool or class index.
        reference: the same shape.

    Returns:
        0 to 1; NaN when both masks are empty, which the caller must decide on.

    Raises:
        ShapeMismatch: the shapes differ.
    """
    return float(confusion(predicted, reference).dice)


def iou(predicted: NDArray[Any], reference: NDArray[Any]) -> float:
    """Overlap of two masks, |P∩R| / (|P|+|R|-|P∩R|) (Jaccard 1912); as `dice` in all else."""
    return float(confusion(predicted, reference).iou)


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Scores:
    """Quotient of two arrays, NaN where it is 0/0."""
    empty = np.full(np.shape(numerator), np.nan)
    return np.asarray(np.divide(numerator, denominator, out=empty, where=np.asarray(denominator) != 0))


def _sums(values: Counts, group: NDArray[np.intp], groups: int) -> Counts:
    sums = np.zeros(groups, np.int64)
    np.add.at(sums, group, values)
    return sums
