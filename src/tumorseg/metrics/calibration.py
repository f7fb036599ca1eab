"""Whether probabilities mean what they say: of the voxels called 70 % tumour, are 70 % tumour?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics.bootstrap import RESAMPLES, SEED, Interval

BINS = 15
_CHUNK = 1_000_000


@dataclass(frozen=True, eq=False)
class Reliability:
    """Sums over voxels by how probable they are called, in bins of equal width.

    Attributes:
        voxels: (bins,) how many.
        predicted: (bins,) sum of their probabilities.
        observed: (bins,) how many of them are tumour.
        squared: sum of (probability - truth)² over all of them.
    """

    voxels: NDArray[np.float64]
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    squared: float

    @property
    def ece(self) -> float:
        """Σ_b n_b/N · |mean probability - share of tumour| (Naeini 2015); NaN without a voxel.

        Of the probability of tumour, as scikit-learn's `calibration_curve`, and not of the probability of whichever
        answer is given. A probability of exactly 1 belongs to the last bin; torchmetrics' BinaryCalibrationError
        gives it a bin of its own.
        """
        total = float(self.voxels.sum())
        return float(np.abs(self.predicted - self.observed).sum()) / total if total else float("nan")

    @property
    def brier(self) -> float:
        """Mean of (probability - truth)² (Brier 1950); NaN without a voxel."""
        total = float(self.voxels.sum())
        return self.squared / total if total else float("nan")

    @classmethod
    def joined(cls, parts: "Sequence[Reliability]") -> "Reliability":
        """The sums of several scans together."""
        return cls(
            np.sum([part.voxels for part in parts], axis=0),
            np.sum([part.predicted for part in parts], axis=0),
            np.sum([part.observed for part in parts], axis=0),
            float(sum(part.squared for part in parts)),
        )


def reliability(probability: NDArray[Any], reference: NDArray[Any], inside: NDArray[np.bool_]) -> Reliability:
    """Sums for ECE, Brier score and the reliability diagram of one scan.

    Args:
        probability: of tumour, any shape, 0 to 1.
        reference: the same shape; whatever is not 0 is tumour.
        inside: the same shape, bool: the voxels that count.

    Raises:
        ShapeMismatch: the shapes differ.
    """
    if not probability.shape == reference.shape == inside.shape:
        raise ShapeMismatch(
            f"probabilities of shape {probability.shape}, a reference of {reference.shape} and a region of "
            f"{inside.shape} do not belong together",
            next_step="give all three on the same grid",
        )
    said = probability[inside].astype(np.float64)
    truth = (reference[inside] != 0).astype(np.float64)
    place = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    return Reliability(
        np.bincount(place, minlength=BINS).astype(np.float64),
        np.bincount(place, weights=said, minlength=BINS).astype(np.float64),
        np.bincount(place, weights=truth, minlength=BINS).astype(np.float64),
        float(np.square(said - truth).sum()),
    )


def calibration_intervals(
    patients: Sequence[Reliability], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[Interval, Interval]:
    """Percentile bootstrap intervals over patients of the pooled ECE and of the pooled Brier score.

    ECE is biased upwards in few voxels; with resampled patients its interval need not hold the value itself.

    Args:
        patients: the sums of each; NaN at both ends with fewer than two.
        level, resamples, seed: see `bootstrap_interval`.
    """
    nothing = Interval(float("nan"), float("nan"))
    if len(patients) < 2:
        return nothing, nothing
    voxels, predicted, observed = (
        np.stack([getattr(patient, name) for patient in patients]) for name in ("voxels", "predicted", "observed")
    )
    squared = np.array([patient.squared for patient in patients])
    random = np.random.default_rng(seed)
    count = len(patients)
    ece, brier = np.full(resamples, np.nan), np.full(resamples, np.nan)
    step = max(1, _CHUNK // count)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        drawn = random.multinomial(count, np.full(count, 1 / count), size=stop - start).astype(np.float64)
        total = (drawn @ voxels).sum(axis=1)
        gaps = np.abs(drawn @ predicted - drawn @ observed).sum(axis=1)
        np.divide(gaps, total, out=ece[start:stop], where=total > 0)
        np.divide(drawn @ squared, total, out=brier[start:stop], where=total > 0)
    return _ends(ece, level), _ends(brier, level)


def expected_dice(probability: NDArray[Any], predicted: NDArray[Any]) -> tuple[float, float]:
    """Numerator and denominator of the Dice that a model expects of its own mask, 2·Σ_P p / (|P| + Σ p).

    What the Dice would be on average if every probability were right, and voxels independent of each other, up to
    the mean of a quotient being taken for the quotient of the means.

    Args:
        probability: of tumour, any shape.
        predicted: the mask, the same shape.
    """
    said = probability.astype(np.float32)
    marked = predicted != 0
    return 2 * float(said[marked].sum(dtype=np.float64)), float(marked.sum()) + float(said.sum(dtype=np.float64))


def _ends(values: NDArray[np.float64], level: float) -> Interval:
    known = values[~np.isnan(values)]
    if not known.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
