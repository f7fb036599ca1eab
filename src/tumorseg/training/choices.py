"""What validation patients choose for a model once it is trained: the threshold, and how masks are cleaned."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.inference.predictor import Predictor
from tumorseg.postprocess import postprocess, tumour_probability
from tumorseg.recipe import Cleaning
from tumorseg.scan import Mask, Scan

THRESHOLDS = np.round(np.arange(0.20, 0.81, 0.05), 2)

CLEANINGS: tuple[dict[str, Any], ...] = tuple(
    {"fill_holes": holes, "min_component_voxels": smallest}
    for smallest in (0, 10, 30, 100, 300)
    for holes in (False, True)
)
"""From nothing on, each doing more than the one before or something else."""


@dataclass(frozen=True)
class Chosen:
    """What validation patients chose.

    Attributes:
        threshold: see `ModelSpec`.
        cleaning: None where it was not asked for.
    """

    threshold: float
    cleaning: Cleaning | None = None


def choose(predictor: Predictor, scans: Iterable[Scan], *, cleaning: bool) -> Chosen:
    """Choose the threshold nearest to 0.5, and the least cleaning, that do as well as the best on these patients.

    As well means: its Dice by patient is on average no more than one standard error of the paired difference below
    that of the one with the highest mean (the one-standard-error rule, Breiman et al. 1984). Few patients tell
    neighbouring thresholds apart, and the highest of many equals is chance.

    Args:
        predictor: of the model.
        scans: of the validation patients.
        cleaning: choose that too, at the threshold that was chosen; what `CLEANINGS` do not name stays the model's own.
    """
    overlaps: dict[str, NDArray[np.float64]] = {}
    kept: list[tuple[str, NDArray[np.float16], Mask]] = []
    for scan in scans:
        probability, reference = predictor.probabilities(scan), scan.reference
        assert reference is not None
        counts = sum(
            (_overlaps(tumour_probability(values), frame > 0)
             for values, frame in zip(probability, reference, strict=True)),
            start=np.zeros((len(THRESHOLDS), 3)),
        )  # fmt: skip
        overlaps[scan.patient] = overlaps.get(scan.patient, 0.0) + counts
        if cleaning:
            kept.append((scan.patient, probability, reference))
    threshold = nearest_equal(_dice(list(overlaps.values())))
    if not cleaning:
        return Chosen(threshold)
    own = predictor.spec.postprocessing
    return Chosen(threshold, _least_cleaning(kept, threshold, [own.model_copy(update=each) for each in CLEANINGS]))


def nearest_equal(dice: NDArray[np.float64]) -> float:
    """The one-standard-error rule of `choose`, on Dice as (patients, thresholds)."""
    equal = THRESHOLDS[as_well_as_best(dice)]
    return float(equal[np.argmin(np.abs(equal - 0.5))])


def as_well_as_best(dice: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of several do as well as the best one, by Dice as (patients, several)."""
    best = int(np.argmax(dice.mean(axis=0)))
    behind = dice[:, best : best + 1] - dice
    patients = len(dice)
    error = behind.std(axis=0, ddof=1) / np.sqrt(patients) if patients > 1 else np.zeros(dice.shape[1])
    return np.asarray(behind.mean(axis=0) <= error + 1e-9)


def _least_cleaning(
    kept: Sequence[tuple[str, NDArray[np.float16], Mask]], threshold: float, cleanings: Sequence[Cleaning]
) -> Cleaning:
    overlaps: dict[str, NDArray[np.float64]] = {}
    for patient, probability, reference in kept:
        tumour = reference > 0
        counts = []
        for cleaning in cleanings:
            found = postprocess(probability, threshold=threshold, cleaning=cleaning) > 0
            counts.append([np.count_nonzero(found & tumour), np.count_nonzero(found), np.count_nonzero(tumour)])
        overlaps[patient] = overlaps.get(patient, 0.0) + np.array(counts, np.float64)
    return cleanings[int(np.argmax(as_well_as_best(_dice(list(overlaps.values())))))]


def _dice(overlaps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    both, predicted, reference = np.moveaxis(np.stack(overlaps), -1, 0)
    return np.asarray(2 * both / np.maximum(predicted + reference, 1))


def _overlaps(probability: NDArray[np.float32], tumour: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels of prediction and reference together, of the prediction, of the reference; for each threshold."""
    predicted = [probability > threshold for threshold in THRESHOLDS.astype(np.float32)]
    return np.array(
        [[np.count_nonzero(over & tumour), np.count_nonzero(over), np.count_nonzero(tumour)] for over in predicted],
        np.float64,
    )
