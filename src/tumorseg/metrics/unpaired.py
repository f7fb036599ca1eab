"""Scores that are sums over patients: their intervals, and how far two models on different patients are apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorseg.metrics.bootstrap import RESAMPLES, SEED, Interval

_CHUNK = 4_000_000


@dataclass(frozen=True, eq=False)
class Ratio:
    """A score of several patients as one sum over another, each with one term a patient.

    A mean over patients has ones below; a pooled Dice has 2·|P∩R| above and |P|+|R| below; a mean over slices has
    the sum of a patient's slices above and their number below.

    Attributes:
        above, below: (patients,), float.
    """

    above: NDArray[np.float64]
    below: NDArray[np.float64]

    @property
    def value(self) -> float:
        """Sum of `above` over the sum of `below`; NaN where that is 0/0."""
        below = float(self.below.sum())
        return float(self.above.sum()) / below if below else float("nan")

    @classmethod
    def mean(cls, values: NDArray[np.float64]) -> "Ratio":
        """The mean over the patients that have a score, that is, are not NaN."""
        scored = values[~np.isnan(values)]
        return cls(scored, np.ones_like(scored))


@dataclass(frozen=True)
class Difference:
    """The first score minus the second, with the percentile bootstrap interval of that."""

    value: float
    interval: Interval


def ratio_interval(
    scores: Sequence[Ratio], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Percentile bootstrap interval over patients of a score, or of the mean of one score under several trainings.

    Args:
        scores: one, or several on the same patients in one order, who are drawn alike in all of them.
        level, resamples, seed: see `bootstrap_interval`.

    Returns:
        NaN at both ends with fewer than two patients.
    """
    if any(score.above.size < 2 for score in scores):
        return Interval(float("nan"), float("nan"))
    draws = [_resampled(score, resamples, np.random.default_rng(seed)) for score in scores]
    drawn = np.mean(draws, axis=0)
    drawn = drawn[~np.isnan(drawn)]
    if drawn.size == 0:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def unpaired_difference(
    first: Ratio, second: Ratio, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> Difference:
    """Bootstrap interval of the difference of two scores, patients drawn in each by itself.

    Returns:
        The difference, NaN when one of the two has no patient; the interval, NaN when one has fewer than two.
    """
    if min(first.above.size, second.above.size) < 2:
        return Difference(first.value - second.value, Interval(float("nan"), float("nan")))
    random = np.random.default_rng(seed)
    drawn = _resampled(first, resamples, random) - _resampled(second, resamples, random)
    drawn = drawn[~np.isnan(drawn)]
    if drawn.size == 0:
        return Difference(float("nan"), Interval(float("nan"), float("nan")))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Difference(first.value - second.value, Interval(float(low), float(high)))


def _resampled(score: Ratio, resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    """The score in each of `resamples` draws of as many patients with replacement, (resamples,)."""
    patients = score.above.size
    values = np.full(resamples, np.nan)
    step = max(1, _CHUNK // patients) if patients else resamples
    for start in range(0, resamples if patients else 0, step):
        stop = min(start + step, resamples)
        picked = random.integers(patients, size=(stop - start, patients))
        above, below = score.above[picked].sum(axis=1), score.below[picked].sum(axis=1)
        np.divide(above, below, out=values[start:stop], where=below != 0)
    return values
