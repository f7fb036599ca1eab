"""Calibration and volumes against scikit-learn and torchmetrics; where the head is."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics.calibration import BINS, Reliability, calibration_intervals, expected_dice, reliability
from tumorseg.metrics.head import head_mask
from tumorseg.metrics.volumes import bland_altman

unhurried = settings(deadline=None, max_examples=60)
PROBABILITIES = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 1, width=32))


def sums(probability, truth):
    return reliability(probability, truth, np.ones(probability.shape, bool))


@unhurried
@given(PROBABILITIES, st.integers(0, 9))
def test_the_brier_score_agrees_with_scikit_learn(probability, seed):
    truth = np.random.default_rng(seed).random(probability.shape) < probability
    assert sums(probability, truth).brier == pytest.approx(brier_score_loss(truth, probability, pos_label=1), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_ece_and_its_diagram_agree_with_torchmetrics_and_scikit_learn(seed):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    random = np.random.default_rng(seed)
    probability = random.beta(0.4, 0.6, 4000).astype(np.float32)
    truth = random.random(4000) < probability**1.5
    ours = sums(probability, truth)
    theirs = functional.binary_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(truth).int(), n_bins=BINS, norm="l1"
    )
    assert ours.ece == pytest.approx(float(theirs), abs=1e-6)
    observed, predicted = calibration_curve(truth, probability, n_bins=BINS)
    held = ours.voxels > 0
    assert ours.observed[held] / ours.voxels[held] == pytest.approx(observed, abs=1e-6)
    assert ours.predicted[held] / ours.voxels[held] == pytest.approx(predicted, abs=1e-6)


def test_a_probability_of_one_is_in_the_last_bin_where_torchmetrics_gives_it_its_own():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    probability, truth = np.float32([1.0, 0.95]), np.array([True, False])
    theirs = functional.binary_calibration_error(torch.from_numpy(probability), torch.tensor([1, 0]), n_bins=BINS)
    assert sums(probability, truth).ece == pytest.approx(abs(1.95 - 1) / 2)
    assert float(theirs) == pytest.approx(0.95 / 2)


def test_right_and_certain_is_perfect_and_wrong_and_certain_the_worst():
    truth = np.array([0, 1, 1, 0])
    assert sums(truth.astype(float), truth).ece == 0 == sums(truth.astype(float), truth).brier
    assert sums(1.0 - truth, truth).ece == 1 == sums(1.0 - truth, truth).brier


def test_ece_sees_what_is_said_in_each_bin():
    assert sums(np.array([0.9, 0.9]), np.array([1, 0])).ece == pytest.approx(0.4)
    assert math.isnan(reliability(np.ones(3), np.ones(3), np.zeros(3, bool)).ece)


@unhurried
@given(PROBABILITIES, PROBABILITIES)
def test_scans_joined_are_scans_together(one, other):
    truth = [values > 0.5 for values in (one, other)]
    joined = Reliability.joined([sums(one, truth[0]), sums(other, truth[1])])
    whole = sums(np.concatenate([one, other]), np.concatenate(truth))
    assert joined.ece == pytest.approx(whole.ece) and joined.brier == pytest.approx(whole.brier)


def test_calibration_intervals_hold_the_value_where_patients_are_alike_and_repeat():
    random = np.random.default_rng(0)
    patients = []
    for _ in range(20):
        probability = random.random(500)
        patients.append(sums(probability, random.random(500) < probability**2))
    ece, brier = calibration_intervals(patients, resamples=2000)
    whole = Reliability.joined(patients)
    assert ece.low < whole.ece < ece.high and brier.low < whole.brier < brier.high
    assert (ece, brier) == calibration_intervals(patients, resamples=2000)
    assert all(math.isnan(end) for interval in calibration_intervals([]) for end in interval)


def test_an_expected_dice_is_the_dice_where_the_model_is_certain():
    mask = np.array([1, 1, 0, 0])
    above, below = expected_dice(mask.astype(np.float16), mask)
    assert above / below == 1
    above, below = expected_dice(np.array([0.5, 0.5, 0.5, 0.5]), mask)
    assert above / below == pytest.approx(0.5)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ShapeMismatch, match="same grid"):
        reliability(np.zeros((2, 2)), np.zeros(4), np.zeros((2, 2), bool))
    with pytest.raises(ShapeMismatch, match="one order"):
        bland_altman([1.0], [1.0, 2.0])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_the_head_is_what_is_bright_and_what_that_encloses(dtype):
    grey = np.zeros((3, 40, 40), dtype)
    grey[:, 5:30, 5:30] = 100
    grey[1, 12:20, 12:20] = 0
    grey[0, 35:38, 35:38] = 120
    head = head_mask(grey)
    expected = np.zeros(grey.shape, bool)
    expected[:, 5:30, 5:30] = True
    assert np.array_equal(head, expected)


def test_the_head_agrees_with_simpleitk():
    sitk = pytest.importorskip("SimpleITK")
    rows, columns = np.mgrid[:64, :64]
    random = np.random.default_rng(0)
    ball = np.stack([np.hypot(rows - 32, columns - 30) < radius for radius in (20, 25, 22)])
    grey = (ball * 120 + random.normal(20, 8, ball.shape)).clip(0, 255).astype(np.uint8)
    bright = sitk.OtsuThreshold(sitk.GetImageFromArray(grey), 0, 1, 256)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(bright), sortByObjectSize=True)
    largest = sitk.GetArrayFromImage(parts) == 1
    filled = [
        sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(one.astype(np.uint8)))) for one in largest
    ]
    assert np.array_equal(head_mask(grey), np.stack(filled) > 0)


def test_a_picture_in_which_nothing_stands_out_is_all_head():
    assert head_mask(np.full((2, 4, 4), 7, np.uint8)).all()


@unhurried
@given(st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 90_000)), min_size=2, max_size=20))
def test_limits_of_agreement_agree_with_their_definition(volumes):
    found, true = (list(column) for column in zip(*volumes, strict=True))
    agreement = bland_altman(found, true, resamples=100)
    difference = [a - b for a, b in volumes]
    assert agreement.bias == pytest.approx(sum(difference) / len(difference), abs=1e-6)
    assert agreement.high - agreement.low == pytest.approx(2 * 1.96 * np.std(difference, ddof=1), abs=1e-6)
    assert agreement.absolute == pytest.approx(np.mean(np.abs(difference)), abs=1e-6)
    assert agreement.low <= agreement.bias <= agreement.high


def test_one_patient_has_a_bias_and_no_limits():
    agreement = bland_altman([110.0], [100.0])
    assert agreement.bias == 10 and agreement.relative == pytest.approx(0.1) and math.isnan(agreement.low)
