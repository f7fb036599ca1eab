"""Uncertainty against error, by patient and by slice, as metrics.json says it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tumorseg.evaluation.tally import Tally
from tumorseg.metrics.overlap import Confusion, Scores
from tumorseg.metrics.uncertainty import RESAMPLES, risk_coverage, selective, selective_intervals

_POINTS = 20
"""Of the curves that are kept."""


@dataclass(frozen=True)
class Kind:
    """One way in which doubt is held against error.

    Attributes:
        key: in metrics["uncertainty"].
        label: for people.
        doubt, error: what they are.
    """

    key: str
    label: str
    doubt: str
    error: str


KINDS = (
    Kind("patients", "patients", "relative entropy", "1 - Dice of the patient"),
    Kind("marked_slices", "slices with anything marked", "relative entropy", "1 - Dice of the slice"),
    Kind("slices", "all slices", "entropy, bits", "wrong pixels"),
)
"""Doubt is always known without the reference, and so is which slices take part."""

MEASURED = (
    Kind("mean_entropy", "patients, by what segment says", "mean_entropy", "1 - Dice of the patient"),
    Kind("flip_disagreement", "patients, by what segment says", "flip_disagreement", "1 - Dice of the patient"),
)
"""Only where the segmentations say so; patients in whom nothing is marked have none."""


def relative_entropy(bits: Scores, predicted: Scores) -> Scores:
    """Entropy beside what is marked, H / (|P| + H), so that a large tumour is not doubted for its size.

    Ranks as H / |P| does, and is 1 where there is entropy and nothing marked; 0 where there is neither.

    Args:
        bits: H, the entropy of each slice or patient.
        predicted: |P|, its marked voxels.
    """
    both = predicted + bits
    return np.asarray(np.divide(bits, both, out=np.zeros_like(bits), where=both != 0), np.float64)


def by_patient(tally: Tally, counts: Confusion) -> Scores:
    """Relative entropy of each patient, (patients,); NaN where there are no probabilities."""
    names, group = tally.groups()
    bits = np.asarray(np.bincount(group, weights=tally.entropy, minlength=len(names)), np.float64)
    return relative_entropy(bits, counts.predicted.astype(np.float64))


def doubt_scores(tally: Tally, counts: Confusion) -> dict[str, Any]:
    """The content of metrics["uncertainty"]; empty where there are no probabilities.

    Args:
        tally: the slices.
        counts: (patients,), the counts of each patient.
    """
    if not np.isfinite(tally.entropy).all():
        return {}
    slices = tally.counts
    predicted = slices.predicted.astype(np.float64)
    marked = predicted > 0
    owners = np.asarray(tally.patients)
    own = relative_entropy(tally.entropy, predicted)
    errors, patients = 1 - counts.dice, np.arange(counts.tp.size)
    measured = {
        kind.key: _held(kind, tally.doubts[kind.key], errors, patients) for kind in MEASURED if kind.key in tally.doubts
    }
    return {
        "patients": _held(KINDS[0], by_patient(tally, counts), errors, patients),
        "marked_slices": _held(KINDS[1], own[marked], 1 - slices.dice[marked], owners[marked]),
        "slices": _held(KINDS[2], tally.entropy, (slices.fp + slices.fn).astype(np.float64), owners),
        **measured,
    }


def _held(kind: Kind, doubt: Scores, error: Scores, owners: Any) -> Mapping[str, Any]:
    found = asdict(selective(doubt, error))
    ends = selective_intervals(doubt, error, owners)
    known = ~np.isnan(doubt)
    coverage, risk = risk_coverage(doubt, error)
    oracle = risk_coverage(error[known], error[known])[1]
    kept = _some(len(coverage))
    return {
        "doubt": kind.doubt,
        "error": kind.error,
        **found,
        **{f"{name}_ci95": list(interval) for name, interval in ends.items()},
        "resamples": RESAMPLES,
        "curve": [
            {"coverage": float(coverage[at]), "risk": float(risk[at]), "oracle": float(oracle[at])} for at in kept
        ],
    }


def _some(count: int) -> list[int]:
    """Indices of at most `_POINTS` items, spread evenly, the last among them."""
    points = min(count, _POINTS)
    return [round((index + 1) * count / points) - 1 for index in range(points)]
