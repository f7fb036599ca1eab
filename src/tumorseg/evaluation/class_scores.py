"""Scores of each class by itself, where there are several."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.evaluation.means import over_patients
from tumorseg.evaluation.measure_scores import shape_scores
from tumorseg.evaluation.measures import Measures
from tumorseg.metrics import aggregate
from tumorseg.metrics.overlap import Confusion, ratio


def class_scores(
    names: Sequence[str],
    group: NDArray[np.intp],
    tumour: Confusion,
    classes: Sequence[Confusion],
    held: NDArray[np.bool_],
    measures: Sequence[Sequence[Measures]] = (),
) -> dict[str, Any]:
    """What metrics.json says of several classes.

    Args:
        names: of the K classes.
        group: (slices,), the patient of each slice, 0 to P - 1.
        tumour: (P,), all classes together.
        classes: K times (slices,), each class against itself; empty where the prediction does not tell them apart.
        held: (slices, K), which classes the reference of a slice holds.
        measures: K times (P,), of each class by itself; empty where nothing was measured.

    Returns:
        `dice_patient_by_class`: Dice of all classes together, over the patients whose reference holds the class;
        and, where `classes` are there, `per_class`: the scores of each class over those patients, and as
        `absent_class_fpr` the share of the other patients in whom any voxel is called so.
    """
    holders = np.zeros((tumour.tp.size, len(names)), bool)
    np.logical_or.at(holders, group, held)
    scores: dict[str, Any] = {
        "dice_patient_by_class": {
            name: over_patients(tumour.dice[holders[:, index]]) for index, name in enumerate(names)
        }
    }
    if classes:
        scores["per_class"] = {
            name: _one_class(counts, counts.grouped(group, tumour.tp.size), holders[:, index])
            for index, (name, counts) in enumerate(zip(names, classes, strict=True))
        }
    for index, (name, of_class) in enumerate(zip(names, measures, strict=bool(measures))):
        holding = np.flatnonzero(holders[:, index])
        counts = classes[index].grouped(group, tumour.tp.size).take(holding)
        scores["per_class"][name] |= shape_scores([of_class[int(patient)] for patient in holding], counts)
    return scores


def _one_class(slices: Confusion, patients: Confusion, holds: NDArray[np.bool_]) -> dict[str, Any]:
    with_class = patients.take(holds)
    pooled = patients.pooled()
    wrongly = np.count_nonzero(patients.predicted[~holds])
    return {
        "dice_patient": over_patients(with_class.dice),
        "iou_patient": over_patients(with_class.iou),
        "dice_pooled": float(pooled.dice),
        "iou_pooled": float(pooled.iou),
        "dice_slice_positive": aggregate.slice_positive(slices),
        "precision": float(pooled.precision),
        "recall": float(pooled.recall),
        "absent_class_fpr": float(ratio(wrongly, np.count_nonzero(~holds))),
    }
