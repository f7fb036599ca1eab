"""From segmentations to scores by patient, by slice and altogether, and to the files that hold them."""

import csv
import json
import math

import numpy as np
import pytest

from tumorseg.errors import DataError, ShapeMismatch
from tumorseg.evaluation.judgement import judge, write_judgement
from tumorseg.metrics.overlap import dice
from tumorseg.scan import Scan, Segmentation

EMPTY = np.zeros((2, 4, 4), np.uint8)


def some(*pixels):
    """A volume of two slices of 4 x 4 with tumour at (slice, row, column)."""
    mask = EMPTY.copy()
    for pixel in pixels:
        mask[pixel] = 1
    return mask


def pair(scan_id, predicted, reference, *, patient=None, numbers=(1, 2)):
    scan = Scan(
        id=scan_id,
        patient=patient or scan_id,
        channels=("flair",),
        read_pixels=lambda: predicted[..., None],
        slice_numbers=numbers,
        institution=scan_id[:2],
    )
    return Segmentation(scan, predicted, predicted.astype(np.float16)), reference


A = (some((0, 0, 0), (0, 0, 1), (1, 1, 1)), some((0, 0, 0), (0, 0, 1), (0, 0, 2)))
B = (EMPTY, some((1, 0, 0)))


def test_scores_are_of_patients_and_not_of_slices():
    judgement = judge([pair("CS_2", *B), pair("CS_1", *A)])
    first, second = judgement.patients
    assert (first.patient, first.institution, first.slices) == ("CS_1", "CS", 2)
    assert (first.tp, first.fp, first.fn, first.tn) == (2, 1, 1, 28)
    assert first.dice == pytest.approx(4 / 6) and first.iou == pytest.approx(2 / 4)
    assert second.dice == 0 and second.recall == 0 and math.isnan(second.precision)
    patient = judgement.metrics["dice_patient"]
    assert patient["mean"] == pytest.approx(1 / 3) == patient["median"]
    assert patient["n"] == 2 and patient["left_out"] == 0
    assert patient["ci95"][0] <= patient["mean"] <= patient["ci95"][1]
    assert judgement.metrics["dice_pooled"] == pytest.approx(4 / 7)


def test_a_patient_whose_masks_are_both_empty_is_left_out_and_counted():
    judgement = judge([pair("CS_1", *A), pair("CS_3", EMPTY, EMPTY)])
    assert judgement.metrics["dice_patient"]["n"] == 1
    assert judgement.metrics["dice_patient"]["left_out"] == 1
    assert judgement.metrics["dice_patient"]["mean"] == pytest.approx(4 / 6)
    assert math.isnan(judgement.patients[1].dice)


def test_the_scans_of_one_patient_are_one_patient():
    judgement = judge([pair("CS_1_a", *A, patient="CS_1"), pair("CS_1_b", *B, patient="CS_1")])
    (only,) = judgement.patients
    assert only.slices == 4
    assert only.dice == pytest.approx(dice(*(np.concatenate([A[i], B[i]]) for i in range(2))))


def test_slices_are_scored_one_by_one_in_the_order_of_their_numbers():
    judgement = judge([pair("CS_1", *A, numbers=(9, 10))])
    assert [(score.slice_number, score.reference_pixels, score.tp) for score in judgement.slices] == [
        (9, 3, 2),
        (10, 0, 0),
    ]
    assert judgement.slices[0].dice == pytest.approx(0.8)
    assert judgement.metrics["dice_slice_positive"] == pytest.approx(0.8)
    assert judgement.metrics["dice_slice_all"] == pytest.approx(0.4)
    assert judgement.metrics["empty_slice_fpr"] == 1


def test_flattering_scores_come_with_what_an_empty_prediction_gets():
    metrics = judge([pair("CS_1", *A)]).metrics
    assert metrics["all_empty"]["dice_slice_all"] == 0.5
    assert metrics["all_empty"]["dice_smooth100_b1"] == pytest.approx((100 / 103 + 1) / 2)
    assert metrics["all_empty"]["dice_smooth100_b32"] == pytest.approx(100 / 103)
    assert metrics["all_empty"]["accuracy"] == pytest.approx(29 / 32)
    assert metrics["perfect"]["dice_batch16"] == pytest.approx(1)


def test_the_order_of_the_scans_changes_nothing():
    pairs = [pair("CS_1", *A), pair("CS_2", *B), pair("DU_1", *A)]
    forwards, backwards = judge(pairs), judge(pairs[::-1])
    assert str(forwards) == str(backwards)


def test_slices_that_were_segmented_alone_are_scored_beside_the_volumes():
    alone = [pair(f"CS_1_{n}", A[1][n : n + 1], A[1][n : n + 1], patient="CS_1", numbers=(n,)) for n in (0, 1)]
    judgement = judge([pair("CS_1", *A), pair("CS_2", *B)], lone=alone)
    assert judgement.patients[0].dice_lone == 1 and math.isnan(judgement.patients[1].dice_lone)
    assert judgement.lone_metrics["dice_patient"]["mean"] == 1 == judgement.lone_metrics["dice_pooled"]
    assert judgement.metrics["single_slice"] == judgement.lone_metrics
    assert "single_slice" not in judge([pair("CS_1", *A)]).metrics


def test_the_protocol_is_kept_and_says_how_intervals_were_drawn():
    protocol = judge([pair("CS_1", *A)], {"part": "test"}).metrics["protocol"]
    assert protocol["part"] == "test" and protocol["bootstrap"]["resamples"] == 10_000


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(DataError, match="no scan"):
        judge([])
    with pytest.raises(DataError, match="twice"):
        judge([pair("CS_1", *A), pair("CS_1", *A)])
    with pytest.raises(ShapeMismatch):
        judge([pair("CS_1", A[0], A[1][:, :3])])


def test_files_hold_every_score_and_null_where_there_is_none(tmp_path):
    judgement = judge([pair("CS_1", EMPTY, EMPTY), pair("CS_2", *B)], {"part": "test"})
    write_judgement(tmp_path, judgement)
    text = (tmp_path / "metrics.json").read_text()
    metrics = json.loads(text, parse_constant=pytest.fail)
    assert metrics["precision"] is None and metrics["recall"] == 0
    promised = {"dice_patient", "dice_pooled", "dice_slice_positive", "dice_slice_all", "iou_pooled", "precision"}
    assert promised | {"recall", "specificity", "accuracy", "empty_slice_fpr", "protocol"} <= metrics.keys()
    assert metrics["dice_patient"].keys() >= {"mean", "median", "ci95", "n"}
    with open(tmp_path / "patients.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["patient"] for row in rows] == ["CS_1", "CS_2"]
    assert rows[0]["dice"] == "" and float(rows[1]["dice"]) == 0
    with open(tmp_path / "slices.csv", newline="") as file:
        assert sum(int(row["fn"]) for row in csv.DictReader(file)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "patients.csv", "slices.csv"]
