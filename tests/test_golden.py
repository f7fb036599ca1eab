"""Scores of known masks on the 88 real patients, beside the values published for all 110.

The published figures and their definitions: an all-empty prediction, and the reference dilated in its plane by a
disc of radius 2 pixels.
"""

import cv2
import numpy as np
import pytest

from tumorseg.datasets.lgg import read_lgg
from tumorseg.evaluation.judgement import judge
from tumorseg.metrics import aggregate
from tumorseg.metrics.overlap import Confusion, confusion_by_slice
from tumorseg.scan import Segmentation

DISC = (np.hypot(*np.mgrid[-2:3, -2:3]) <= 2).astype(np.uint8)

PUBLISHED = {
    "empty": {
        "dice_patient": 0.000,
        "dice_pooled": 0.000,
        "dice_slice_positive": 0.000,
        "dice_slice_all": 0.651,
        "dice_smooth100_b1": 0.687,
        "dice_smooth100_b32": 0.005,
        "accuracy": 0.990,
    },
    "dilated": {
        "dice_patient": 0.890,
        "dice_pooled": 0.906,
        "dice_slice_positive": 0.867,
        "dice_slice_all": 0.954,
        "dice_smooth100_b1": 0.957,
        "accuracy": 0.998,
    },
}

GOLDEN = {
    "empty": {
        "dice_patient": 0.0,
        "dice_pooled": 0.0,
        "dice_slice_positive": 0.0,
        "dice_slice_all": 0.6522451655195018,
        "dice_smooth100_b1": 0.6868393332457126,
        "dice_smooth100_b32": 0.005096219007261877,
        "dice_batch16": 0.0,
        "iou_slice_all": 0.6522451655195018,
        "recall": 0.0,
        "specificity": 1.0,
        "accuracy": 0.9893090652270772,
        "empty_slice_fpr": 0.0,
    },
    "dilated": {
        "dice_patient": 0.8896303711917052,
        "dice_pooled": 0.9060605623904859,
        "dice_slice_positive": 0.8682304117287959,
        "dice_slice_all": 0.9541764886411841,
        "dice_smooth100_b1": 0.9575648212285239,
        "dice_smooth100_b32": 0.9039327360165331,
        "dice_batch16": 0.6908065431513453,
        "iou_patient": 0.8027362301601477,
        "iou_pooled": 0.8282547746613993,
        "iou_slice_positive": 0.7737693454056694,
        "iou_slice_all": 0.9213271961571338,
        "iou_smooth100_b1": 0.9294284540379586,
        "iou_smooth100_b32": 0.8253872013933391,
        "iou_batch16": 0.6163643564873014,
        "precision": 0.8282547746613993,
        "recall": 1.0,
        "specificity": 0.9977591931922666,
        "accuracy": 0.9977831495116868,
        "empty_slice_fpr": 0.0,
    },
}


@pytest.fixture(scope="module")
def volumes(lgg_real):
    """Each scan with its reference."""
    return [(scan, scan.read_reference()) for scan in read_lgg(lgg_real)]


@pytest.fixture(scope="module")
def judgements(volumes):
    def dilated(reference):
        return np.stack([cv2.dilate(mask, DISC) for mask in reference])

    return {
        name: judge(
            ((Segmentation(scan, predict(mask), np.zeros(0, np.float16)), mask) for scan, mask in volumes),
            calibrated=False,
        ).metrics
        for name, predict in (("empty", np.zeros_like), ("dilated", dilated))
    }


def value(metrics, key):
    found = metrics[key]
    return found["mean"] if isinstance(found, dict) else found


@pytest.mark.parametrize("prediction", ["empty", "dilated"])
def test_scores_on_88_patients_are_those_of_the_published_110_but_for_who_is_missing(judgements, prediction):
    for key, published in PUBLISHED[prediction].items():
        assert value(judgements[prediction], key) == pytest.approx(published, abs=0.002), key


@pytest.mark.parametrize("prediction", ["empty", "dilated"])
def test_scores_on_88_patients_never_move(judgements, prediction):
    metrics = judgements[prediction]
    assert (metrics["patients"], metrics["slices"]) == (88, 3051)
    for key, golden in GOLDEN[prediction].items():
        assert value(metrics, key) == pytest.approx(golden, abs=1e-9), key


def test_the_interval_over_88_patients_never_moves(judgements):
    assert judgements["dilated"]["dice_patient"]["ci95"] == pytest.approx(
        [0.8827545342822961, 0.8962690591893874], abs=1e-9
    )
    assert judgements["dilated"]["dice_patient"]["median"] == pytest.approx(0.8942037311089178, abs=1e-9)


def test_what_is_shown_beside_a_score_is_what_an_all_empty_prediction_scores(judgements):
    beside = judgements["dilated"]["all_empty"]
    for key in beside:
        assert value(judgements["empty"], key) == pytest.approx(beside[key], abs=1e-12), key


def test_perfect_masks_reach_079_in_batches_of_16_and_068_to_089_by_which_17_patients(judgements, volumes):
    assert judgements["dilated"]["perfect"]["dice_batch16"] == pytest.approx(0.7905759162285043, abs=1e-9)
    counts = {scan.id: confusion_by_slice(mask, mask) for scan, mask in volumes}
    in_order = {
        scan.id: counts[scan.id].take(aggregate.file_order([""] * len(mask), scan.slice_numbers))
        for scan, mask in volumes
    }
    random = np.random.default_rng(0)
    names = sorted(in_order)
    ceilings = []
    for _ in range(300):
        drawn = sorted(random.choice(names, 17, replace=False))
        ceilings.append(aggregate.batched(Confusion.joined([in_order[name] for name in drawn]), batch=16))
    assert np.quantile(ceilings, [0.025, 0.975]) == pytest.approx([0.68, 0.89], abs=0.02)
