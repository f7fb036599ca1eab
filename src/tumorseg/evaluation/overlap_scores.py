"""What metrics.json says of overlap: Dice, IoU and the ratios of counts, in every aggregation that people report."""

from typing import Any

from tumorseg.evaluation.means import over_patients
from tumorseg.evaluation.tally import Tally
from tumorseg.metrics import aggregate
from tumorseg.metrics.bootstrap import SEED
from tumorseg.metrics.overlap import Confusion


def overlap_scores(tally: Tally, by_patient: Confusion) -> dict[str, Any]:
    """Every score that follows from counts of voxels, with what all-empty and perfect masks would get.

    Args:
        tally: the counts of every slice.
        by_patient: (patients,), the counts of each patient.
    """
    pooled = by_patient.pooled()
    in_file_order = tally.counts.take(aggregate.file_order(tally.scans, tally.numbers))
    all_empty, perfect = in_file_order.all_empty(), in_file_order.perfect()
    metrics: dict[str, Any] = {"patients": by_patient.tp.size, "slices": tally.counts.tp.size}
    scores: tuple[aggregate.Score, ...] = ("dice", "iou")
    for score in scores:
        metrics[f"{score}_patient"] = over_patients(aggregate.by_slice(by_patient, score))
        metrics[f"{score}_pooled"] = float(aggregate.by_slice(pooled, score))
        metrics |= {f"{score}_{name}": value for name, value in _over_slices(in_file_order, score).items()}
    metrics |= {name: float(getattr(pooled, name)) for name in ("precision", "recall", "specificity", "accuracy")}
    metrics["empty_slice_fpr"] = aggregate.empty_slice_fpr(in_file_order)
    metrics["all_empty"] = _reference_values(all_empty)
    metrics["perfect"] = _reference_values(perfect)
    return metrics


def _over_slices(slices: Confusion, score: aggregate.Score) -> dict[str, float]:
    # Batches of 32 are of random slices, as the system that is reproduced draws them: in file order some batches
    # hold no tumour, and an all-empty prediction would score 0.07 instead of 0.005.
    shuffled = aggregate.shuffled_order(slices.tp.size, SEED)
    return {
        "slice_positive": aggregate.slice_positive(slices, score),
        "slice_all": aggregate.slice_all(slices, score),
        "smooth100_b1": aggregate.smoothed(slices, score, batch=1),
        "smooth100_b32": aggregate.smoothed(slices.take(shuffled), score, batch=32),
        "batch16": aggregate.batched(slices, score, batch=16),
    }


def _reference_values(slices: Confusion) -> dict[str, float]:
    """What the same slices score under a prediction that is no model's: all empty, or the reference itself."""
    scores: tuple[aggregate.Score, ...] = ("dice", "iou")
    values = {f"{score}_{name}": value for score in scores for name, value in _over_slices(slices, score).items()}
    return {**values, "accuracy": float(slices.pooled().accuracy)}
