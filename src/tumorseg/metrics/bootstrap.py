"""How far a mean over patients could move with other patients: the percentile bootstrap (Efron 1979)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 10_000
SEED = 20261121
_CHUNK = 4_000_000


class Interval(NamedTuple):
    """Low and high end."""

    low: float
    high: float


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Percentile bootstrap interval of the mean.

    Args:
        values: (patients,), one score per patient; NaN marks a patient without a score, who is left out.
        level: share of the resampled means between the two ends.
        resamples: how often patients are drawn, with replacement, as many as there are.
        seed: fixes the draw, so that the same scores give the same interval.

    Returns:
        The interval; NaN at both ends when fewer than two patients have a score: one says nothing of others.
    """
    scores = np.asarray(values, np.float64)
    scores = scores[~np.isnan(scores)]
    if scores.size < 2:
        return Interval(float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _CHUNK // scores.size)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        means[start:stop] = scores[random.integers(scores.size, size=(stop - start, scores.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
