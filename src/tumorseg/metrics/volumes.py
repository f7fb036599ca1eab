"""How far predicted volumes are off: bias and limits of agreement (Bland & Altman 1986)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics.bootstrap import RESAMPLES, SEED, Interval, bootstrap_interval

_WITHIN = 1.96


@dataclass(frozen=True)
class Agreement:
    """Predicted minus reference volume over patients; NaN where there are too few.

    Attributes:
        n: patients.
        bias: mean of the differences.
        interval: percentile bootstrap interval of the bias, over patients.
        sd: standard deviation of the differences, with n - 1 below the line.
        low, high: limits of agreement, bias ± 1.96·sd.
        absolute: mean of the differences without their signs.
        relative: median of the differences without their signs over the reference, of the patients who have a
            reference volume.
    """

    n: int
    bias: float
    interval: Interval
    sd: float
    low: float
    high: float
    absolute: float
    relative: float


def bland_altman(
    predicted: ArrayLike, reference: ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Agreement:
    """Agreement of two volumes of each patient.

    Args:
        predicted, reference: (patients,), in one unit.
        resamples, seed: of the interval; see `bootstrap_interval`.

    Raises:
        ShapeMismatch: the two have different lengths.
    """
    found, true = np.asarray(predicted, np.float64), np.asarray(reference, np.float64)
    if found.shape != true.shape or found.ndim != 1:
        raise ShapeMismatch(
            f"volumes of shape {found.shape} cannot be held against volumes of shape {true.shape}",
            next_step="give one volume for each patient, in one order",
        )
    difference = found - true
    n, nothing = difference.size, float("nan")
    bias = float(difference.mean()) if n else nothing
    sd = float(difference.std(ddof=1)) if n > 1 else nothing
    there = true > 0
    return Agreement(
        n=n,
        bias=bias,
        interval=bootstrap_interval(difference, resamples=resamples, seed=seed),
        sd=sd,
        low=bias - _WITHIN * sd,
        high=bias + _WITHIN * sd,
        absolute=float(np.abs(difference).mean()) if n else nothing,
        relative=float(np.median(np.abs(difference[there]) / true[there])) if there.any() else nothing,
    )
