"""Two models on the same patients: is the difference more than chance?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics.bootstrap import RESAMPLES, SEED, Interval, bootstrap_interval

_DIGITS = 12
"""Decimals of a difference that count: equal differences must tie, whatever their last bits say."""


@dataclass(frozen=True)
class PairedDifference:
    """The first model's scores minus the second's, over the patients that both have a score for.

    Attributes:
        mean: of the differences; NaN without any patient.
        interval: percentile bootstrap interval of that mean, over patients.
        p: of the Wilcoxon signed-rank test, two-sided, not corrected; NaN without any patient.
        n: patients.
        equal: of these, patients without any difference.
        left_out: patients without a score from one of the two.
    """

    mean: float
    interval: Interval
    p: float
    n: int
    equal: int
    left_out: int


def paired_difference(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> PairedDifference:
    """Compare two models on identical patients.

    Args:
        first, second: (patients,), one score per patient in the same order; NaN marks a patient without a score.
        level, resamples, seed: of the bootstrap interval; see `bootstrap_interval`.

    Raises:
        ShapeMismatch: the two have different lengths.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise ShapeMismatch(
            f"scores of shape {one.shape} cannot be paired with scores of shape {other.shape}",
            next_step="give one score for each patient, in one order",
        )
    both = ~(np.isnan(one) | np.isnan(other))
    differences = one[both] - other[both]
    return PairedDifference(
        mean=float(differences.mean()) if differences.size else float("nan"),
        interval=bootstrap_interval(differences, level=level, resamples=resamples, seed=seed),
        p=wilcoxon(differences),
        n=int(differences.size),
        equal=int(np.count_nonzero(_rounded(differences) == 0)),
        left_out=int(one.size - differences.size),
    )


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided p of the signed-rank test that differences are symmetric about zero (Wilcoxon 1945).

    Args:
        differences: (patients,), without NaN. Zeros are left out, as Wilcoxon does. Up to 50 patients without tied
            ranks, and up to 13 with, the distribution is exact; above, a normal approximation.

    Returns:
        0 to 1; 1 where every difference is zero, NaN without any.
    """
    rounded = _rounded(np.asarray(differences, np.float64))
    if rounded.size == 0:
        return float("nan")
    moved = rounded[rounded != 0]
    if moved.size == 0:
        return 1.0
    from scipy import stats

    return float(stats.wilcoxon(moved, alternative="two-sided", method="auto").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number, so that one false finding among all is as rare as with one test (Holm 1979).

    Args:
        p_values: of all comparisons, in any order; NaN is no comparison and stays NaN.

    Returns:
        The corrected values in the same order, at most 1.
    """
    given = np.asarray(p_values, np.float64)
    corrected = np.full(given.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    steps = given[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in corrected]


def _rounded(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(differences, _DIGITS)
