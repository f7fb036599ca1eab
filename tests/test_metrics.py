"""Every score against its law, against a slow computation of its own, and against scikit-learn."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics import aggregate
from tumorseg.metrics.bootstrap import bootstrap_interval
from tumorseg.metrics.overlap import Confusion, confusion, confusion_by_slice, dice, iou

unhurried = settings(deadline=None)  # a busy machine is no failure

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))


@st.composite
def mask_pairs(draw):
    """Two masks of one shape, often with empty slices."""
    shape = draw(SHAPES)
    predicted, reference = (draw(arrays.arrays(np.bool_, shape)) for _ in range(2))
    for mask in (predicted, reference):
        mask[draw(arrays.arrays(np.bool_, shape[0]))] = False
    return predicted, reference


def pixel_sets(predicted, reference):
    """The masks as sets of pixel positions: another way to the same scores."""
    return set(zip(*np.nonzero(predicted), strict=True)), set(zip(*np.nonzero(reference), strict=True))


def naive_dice(predicted, reference, *, smooth=0.0, epsilon=0.0):
    p, r = pixel_sets(predicted, reference)
    below = len(p) + len(r) + smooth + epsilon
    return (2 * len(p & r) + smooth) / below if below else math.nan


def naive_iou(predicted, reference):
    p, r = pixel_sets(predicted, reference)
    return len(p & r) / len(p | r) if p | r else math.nan


@unhurried
@given(mask_pairs())
def test_dice_and_iou_agree_with_counting_pixels_as_sets(pair):
    assert dice(*pair) == pytest.approx(naive_dice(*pair), nan_ok=True)
    assert iou(*pair) == pytest.approx(naive_iou(*pair), nan_ok=True)


@unhurried
@given(mask_pairs())
def test_dice_and_iou_are_symmetric_and_bounded_and_dice_is_the_larger(pair):
    predicted, reference = pair
    for score in (dice, iou):
        assert score(predicted, reference) == pytest.approx(score(reference, predicted), nan_ok=True)
    if predicted.any() or reference.any():
        assert 0 <= iou(*pair) <= dice(*pair) <= 1
        assert iou(*pair) == pytest.approx(dice(*pair) / (2 - dice(*pair)))


@unhurried
@given(mask_pairs())
def test_a_perfect_prediction_scores_one_and_a_disjoint_one_zero(pair):
    mask = pair[0]
    if mask.any():
        assert dice(mask, mask) == 1 == iou(mask, mask)
        assert dice(mask, np.zeros_like(mask)) == 0
    if mask.any() and not mask.all():
        assert dice(mask, ~mask) == 0 == iou(mask, ~mask)


@unhurried
@given(mask_pairs())
def test_pooled_scores_agree_with_scikit_learn(pair):
    predicted, reference = (mask.ravel() for mask in pair)
    counts = confusion(*pair)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        undefined = {"zero_division": np.nan}
        expected = {
            "dice": f1_score(reference, predicted, **undefined),
            "iou": jaccard_score(reference, predicted) if (predicted | reference).any() else np.nan,
            "precision": precision_score(reference, predicted, **undefined),
            "recall": recall_score(reference, predicted, **undefined),
            "specificity": recall_score(reference, predicted, pos_label=False, **undefined),
            "accuracy": accuracy_score(reference, predicted),
        }
    for name, value in expected.items():
        assert float(getattr(counts, name)) == pytest.approx(value, nan_ok=True), name


@unhurried
@given(mask_pairs())
def test_counts_add_up_to_all_pixels_and_slices_add_up_to_the_volume(pair):
    by_slice = confusion_by_slice(*pair)
    assert by_slice.total.tolist() == [pair[0][0].size] * len(pair[0])
    whole, pooled = confusion(*pair), by_slice.pooled()
    assert all(int(getattr(whole, n)) == int(getattr(pooled, n)) for n in ("tp", "fp", "fn", "tn"))
    assert np.array_equal(by_slice.predicted, pair[0].sum((1, 2)))
    assert np.array_equal(by_slice.reference, pair[1].sum((1, 2)))


@unhurried
@given(mask_pairs(), st.integers(1, 4))
def test_every_aggregation_agrees_with_a_loop(pair, batch):
    predicted, reference = pair
    counts = confusion_by_slice(predicted, reference)
    slices = list(zip(predicted, reference, strict=True))
    batches = [(predicted[i : i + batch], reference[i : i + batch]) for i in range(0, len(predicted), batch)]
    positive = [naive_dice(p, r) for p, r in slices if r.any()]
    empty = [p.any() for p, r in slices if not r.any()]
    expected = {
        aggregate.slice_positive: np.mean(positive) if positive else np.nan,
        aggregate.slice_all: np.mean([naive_dice(p, r) if (p | r).any() else 1.0 for p, r in slices]),
        aggregate.empty_slice_fpr: np.mean(empty) if empty else np.nan,
    }
    for function, value in expected.items():
        assert function(counts) == pytest.approx(value, nan_ok=True), function.__name__
    smoothed = np.mean([naive_dice(p, r, smooth=100) for p, r in batches])
    assert aggregate.smoothed(counts, batch=batch) == pytest.approx(smoothed)
    batched = np.mean([naive_dice(p, r, epsilon=1e-8) for p, r in batches])
    assert aggregate.batched(counts, batch=batch) == pytest.approx(batched)


@unhurried
@given(mask_pairs(), st.integers(1, 4))
def test_aggregated_iou_is_bounded_by_aggregated_dice(pair, batch):
    counts = confusion_by_slice(*pair)
    for function in (aggregate.slice_all, aggregate.slice_positive):
        if not math.isnan(function(counts)):
            assert 0 <= function(counts, "iou") <= function(counts, "dice") <= 1
    for function in (aggregate.smoothed, aggregate.batched):
        assert 0 <= function(counts, "iou", batch=batch) <= function(counts, "dice", batch=batch) + 1e-12 <= 1 + 1e-12


def test_zero_by_zero_is_not_a_number_and_never_two():
    empty = np.zeros((2, 4, 4), np.uint8)
    counts = confusion(empty, empty)
    undefined = ("dice", "iou", "precision", "recall")
    assert all(math.isnan(getattr(counts, name)) for name in undefined)
    assert float(counts.specificity) == 1 == float(counts.accuracy)
    full = confusion(np.ones_like(empty), np.ones_like(empty))
    assert math.isnan(full.specificity)


def test_any_class_counts_as_tumour():
    predicted, reference = np.array([[[0, 1, 2, 3]]], np.uint8), np.array([[[0, 3, 0, 3]]], np.uint8)
    counts = confusion(predicted, reference)
    assert [int(n) for n in (counts.tp, counts.fp, counts.fn, counts.tn)] == [2, 1, 0, 1]


def test_counts_do_not_overflow_the_type_of_the_masks():
    mask = np.full((3, 300, 300), 255, np.uint8)
    assert int(confusion(mask, mask).tp) == 270_000


def test_masks_of_different_shape_are_refused():
    with pytest.raises(ShapeMismatch, match="same grid"):
        dice(np.zeros((1, 2, 2)), np.zeros((2, 2, 2)))
    with pytest.raises(ShapeMismatch, match="height"):
        confusion_by_slice(np.zeros((2, 2)), np.zeros((2, 2)))


def test_what_all_empty_and_perfect_masks_score_needs_no_second_pass():
    random = np.random.default_rng(0)
    predicted, reference = random.random((2, 6, 5, 5)) < 0.3
    reference[2:4] = False
    counts = confusion_by_slice(predicted, reference)
    for made, mask in ((counts.all_empty(), np.zeros_like(reference)), (counts.perfect(), reference)):
        expected = confusion_by_slice(mask, reference)
        for name in ("tp", "fp", "fn", "tn"):
            assert np.array_equal(getattr(made, name), getattr(expected, name))


def test_a_batch_without_tumour_scores_zero_even_when_the_prediction_is_right():
    masks = np.zeros((32, 2, 2), bool)
    masks[:16] = True
    assert aggregate.batched(confusion_by_slice(masks, masks), batch=16) == pytest.approx(0.5)


def test_file_order_sorts_patients_and_then_the_digits_of_slice_numbers():
    scans = ["b", "a", "a", "a", "a"]
    assert aggregate.file_order(scans, [1, 2, 10, 1, 11]).tolist() == [3, 2, 4, 1, 0]


def test_shuffled_order_is_a_permutation_that_its_seed_fixes():
    order = aggregate.shuffled_order(50, seed=1)
    assert sorted(order.tolist()) == list(range(50))
    assert np.array_equal(order, aggregate.shuffled_order(50, seed=1))
    assert not np.array_equal(order, aggregate.shuffled_order(50, seed=2))


def test_no_slices_have_no_score():
    nothing = Confusion.joined([])
    assert math.isnan(aggregate.slice_all(nothing)) and math.isnan(aggregate.smoothed(nothing, batch=2))


@unhurried
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.integers(0, 3))
def test_the_bootstrap_interval_lies_within_the_scores_and_is_repeatable(values, seed):
    interval = bootstrap_interval(values, resamples=200, seed=seed)
    assert min(values) - 1e-12 <= interval.low <= interval.high <= max(values) + 1e-12
    assert interval == bootstrap_interval(values, resamples=200, seed=seed)


def test_the_bootstrap_interval_agrees_with_the_normal_one_for_many_patients():
    values = np.random.default_rng(0).normal(0.8, 0.1, 400)
    half = 1.96 * values.std() / np.sqrt(400)
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(values.mean() - half, abs=5e-4)
    assert high == pytest.approx(values.mean() + half, abs=5e-4)


def test_the_bootstrap_interval_agrees_with_scipy():
    values = np.random.default_rng(3).beta(8, 2, 17)
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=100_000, rng=5).confidence_interval
    assert bootstrap_interval(values, resamples=100_000) == pytest.approx((expected.low, expected.high), abs=2e-3)


def test_patients_without_a_score_do_not_enter_the_interval():
    assert bootstrap_interval([0.5, math.nan, 0.7]) == bootstrap_interval([0.5, 0.7])
    assert all(math.isnan(end) for end in bootstrap_interval([math.nan]))
