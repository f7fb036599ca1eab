"""Comparisons of models say no more than the patients do."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics.bootstrap import RESAMPLES, SEED, bootstrap_interval
from tumorseg.metrics.detectable import detectable_difference, power_of
from tumorseg.metrics.paired import holm, paired_difference, wilcoxon
from tumorseg.metrics.unpaired import Ratio, unpaired_difference
from tumorseg.metrics.variance import variance_split

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def exact_p(differences):
    """The two-sided p by going through every pattern of signs, mid-ranks for ties, zeros left out."""
    moved = [value for value in differences if value != 0]
    sizes = sorted(abs(value) for value in moved)
    rank = {size: np.mean([i + 1 for i, other in enumerate(sizes) if other == size]) for size in sizes}
    ranks = [rank[abs(value)] for value in moved]
    found = abs(sum(r if value > 0 else -r for r, value in zip(ranks, moved, strict=True)))
    patterns = [abs(np.dot(signs, ranks)) for signs in product((1, -1), repeat=len(moved))]
    return float(np.mean([pattern >= found - 1e-9 for pattern in patterns]))


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        # By hand: all five of one sign is 2 of the 32 patterns; one small difference against the rest is 4 of them.
        ([0.1, 0.2, 0.3, 0.4, 0.5], 2 / 32),
        ([-0.1, 0.2, 0.3, 0.4, 0.5], 4 / 32),
        ([0.1, -0.1], 1.0),
        ([0.25], 1.0),
        ([0.0, 0.0], 1.0),
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.0], 2 / 32),
    ],
)
def test_the_signed_rank_test_agrees_with_counting_by_hand(differences, p):
    assert wilcoxon(differences) == pytest.approx(p)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_few_patients_are_tested_exactly_ties_and_zeros_included(steps):
    differences = [step / 8 for step in steps]
    assert wilcoxon(differences) == pytest.approx(exact_p(differences) if any(steps) else 1)


def test_many_patients_take_the_normal_approximation():
    # Ranks 1 to 60, of which 15 and 51 to 60 are negative: 570 of 1830. Under chance 915, variance 60·61·121/24.
    ranks = np.arange(1, 61)
    signs = np.where((ranks > 50) | (ranks == 15), -1, 1)
    z = (915 - 570) / math.sqrt(60 * 61 * 121 / 24)
    assert wilcoxon(signs * ranks / 100) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-6)


def test_equal_differences_tie_whatever_their_last_bits_say():
    assert wilcoxon([0.3 - 0.2, 0.2 - 0.1, -(0.9 - 0.8), 0.1 + 0.2 - 0.3]) == wilcoxon([0.1, 0.1, -0.1])


@given(SCORES)
def test_the_sign_of_a_comparison_turns_with_its_order(scores):
    others = scores[::-1]
    one, other = paired_difference(scores, others, resamples=50), paired_difference(others, scores, resamples=50)
    assert one.mean == pytest.approx(-other.mean, abs=1e-12)
    assert one.p == pytest.approx(other.p)
    assert one.interval.low == pytest.approx(-other.interval.high, abs=1e-9)


def test_a_difference_is_over_the_patients_that_both_have_a_score_for():
    found = paired_difference([0.9, math.nan, 0.8, 0.7], [0.8, 0.5, 0.8, math.nan])
    assert (found.n, found.equal, found.left_out) == (2, 1, 2)
    assert found.mean == pytest.approx(0.05)
    nobody = paired_difference([math.nan], [0.5])
    assert nobody.n == 0 and math.isnan(nobody.mean) and math.isnan(nobody.p) and math.isnan(nobody.interval.low)
    with pytest.raises(ShapeMismatch, match="cannot be paired"):
        paired_difference([0.1], [0.1, 0.2])


def test_the_interval_is_the_bootstrap_of_the_mean_difference():
    random = np.random.default_rng(3)
    first, second = random.random(17), random.random(17)
    assert paired_difference(first, second).interval == bootstrap_interval(first - second)


def test_holm_agrees_with_a_correction_by_hand():
    # Holm (1979): sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, and never falling.
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    with_gap = holm([0.01, math.nan, 0.02])
    assert with_gap[0] == pytest.approx(0.02) and math.isnan(with_gap[1]) and with_gap[2] == pytest.approx(0.02)


@given(P_VALUES)
def test_holm_never_lowers_a_p_value_and_keeps_their_order(raw):
    corrected = holm(raw)
    assert all(1 >= after >= before for before, after in zip(raw, corrected, strict=True))
    in_order = [after for _, after in sorted(zip(raw, corrected, strict=True))]
    assert in_order == sorted(in_order)
    assert holm(raw[:1]) == raw[:1]


@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_of_the_comparisons(raw, random):
    shuffled = list(range(len(raw)))
    random.shuffle(shuffled)
    assert holm([raw[index] for index in shuffled]) == [holm(raw)[index] for index in shuffled]


def test_an_unpaired_difference_of_means_agrees_with_the_normal_approximation():
    random = np.random.default_rng(11)
    first, second = random.normal(0.9, 0.05, 400), random.normal(0.7, 0.10, 300)
    found = unpaired_difference(Ratio.mean(first), Ratio.mean(second))
    error = math.sqrt(first.var() / 400 + second.var() / 300)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert found.interval.low < found.value < found.interval.high
    assert found == unpaired_difference(Ratio.mean(first), Ratio.mean(second), resamples=RESAMPLES, seed=SEED)


def test_a_ratio_of_sums_weighs_patients_by_what_they_bring():
    score = Ratio(np.array([10.0, 0.0]), np.array([10.0, 90.0]))
    assert score.value == pytest.approx(0.1)
    assert math.isnan(Ratio(np.zeros(2), np.zeros(2)).value)
    assert Ratio.mean(np.array([0.5, math.nan, 1.0])).value == pytest.approx(0.75)


def test_without_patients_there_is_no_difference():
    found = unpaired_difference(Ratio.mean(np.array([math.nan])), Ratio.mean(np.array([0.5])))
    assert math.isnan(found.value) and math.isnan(found.interval.low)


@given(SCORES)
def test_identical_patients_in_both_arms_give_an_interval_around_zero(scores):
    values = np.array(scores)
    found = unpaired_difference(Ratio.mean(values), Ratio.mean(values), resamples=200)
    assert found.value == 0
    assert found.interval.low <= 1e-12 and found.interval.high >= -1e-12


# Several seeds of one recipe


def test_a_variance_split_agrees_with_the_table_by_hand():
    # Patients' means 0.25, 0.45, 0.70 and seeds' means 0.5, 0.4333: MS patient 0.1016667, MS seed 1/150, MS rest 1/24.
    found = variance_split([[0.2, 0.3], [0.4, 0.5], [0.9, 0.5]])
    assert found.patient == pytest.approx((0.305 / 3 - 1 / 24) / 2)
    assert found.rest == pytest.approx(1 / 24)
    assert found.seed == 0 and found.clipped
    assert found.mean_moves_by == pytest.approx(math.sqrt(1 / 72))
    assert (found.patients, found.seeds, found.left_out) == (3, 2, 0)


def test_what_adds_up_exactly_leaves_no_rest():
    found = variance_split([[0.2, 0.3], [0.5, 0.6], [0.8, 0.9]])
    assert (found.patient, found.seed, found.rest) == pytest.approx((0.09, 0.005, 0))
    assert found.total == pytest.approx(0.095) and not found.clipped
    assert found.mean_moves_by == pytest.approx(math.sqrt(0.005))


def test_a_network_that_helps_in_one_fold_and_harms_in_another_is_seed_and_not_rest():
    scores = [[0.2, 0.3], [0.5, 0.6], [0.4, 0.3], [0.7, 0.6]]
    assert variance_split(scores, [0, 0, 1, 1]).seed == pytest.approx(0.005)
    assert variance_split(scores, [0, 0, 1, 1]).rest == pytest.approx(0)
    assert variance_split(scores).seed == 0


def test_simulated_components_are_found_again():
    random = np.random.default_rng(5)
    folds = np.repeat(np.arange(5), [14, 12, 12, 11, 11])
    patients = random.normal(0.85, 0.10, (300, 60, 1))
    networks = random.normal(0, 0.04, (300, 5, 4))[:, folds]
    scores = patients + networks + random.normal(0, 0.05, (300, 60, 4))
    found = [variance_split(one, folds) for one in scores]
    assert np.mean([one.patient for one in found]) == pytest.approx(0.10**2, rel=0.05)
    assert np.mean([one.seed for one in found]) == pytest.approx(0.04**2, rel=0.08)
    assert np.mean([one.rest for one in found]) == pytest.approx(0.05**2, rel=0.03)


def test_how_far_the_mean_moves_is_what_training_again_shows():
    random = np.random.default_rng(6)
    folds = np.repeat(np.arange(5), 12)
    patients = random.normal(0.85, 0.10, (1, 60, 1))
    scores = patients + random.normal(0, 0.04, (400, 5, 3))[:, folds] + random.normal(0, 0.05, (400, 60, 3))
    expected = np.mean([variance_split(one, folds).mean_moves_by ** 2 for one in scores])
    assert expected == pytest.approx(scores.mean(axis=1).var(), rel=0.12)


def test_one_seed_or_lone_patients_tell_nothing_of_variances():
    assert math.isnan(variance_split([[0.5], [0.6]]).seed)
    assert math.isnan(variance_split([[0.5, 0.6], [0.6, 0.7]], [0, 1]).rest)
    found = variance_split([[0.5, 0.6], [math.nan, 0.7], [0.1, 0.3]])
    assert (found.patients, found.left_out) == (2, 1)
    with pytest.raises(ShapeMismatch, match="do not belong together"):
        variance_split([[0.5, 0.6]], [0, 1])


# How small a difference shows


def test_the_power_of_a_paired_t_test_agrees_with_the_textbook():
    # G*Power and Cohen (1988): half a standard deviation needs 34 pairs for 80 % at the 5 % level, where it has 0.808.
    assert power_of(0.5, 1, 34, efficiency=1) == pytest.approx(0.808, abs=5e-4)
    assert detectable_difference(1, 34, efficiency=1) < 0.5 < detectable_difference(1, 33, efficiency=1)


@pytest.mark.parametrize("patients", [13, 88])
def test_the_smallest_difference_is_found_four_times_in_five(patients):
    random = np.random.default_rng(8)
    smallest = detectable_difference(0.05, patients)
    found = [wilcoxon(random.normal(smallest, 0.05, patients)) < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.80, abs=0.04)


@pytest.mark.parametrize(("deviation", "patients"), [(0.1, 4), (0.03, 17), (0.2, 88), (0.5, 1000)])
def test_more_patients_and_less_scatter_show_smaller_differences(deviation, patients):
    smallest = detectable_difference(deviation, patients)
    assert detectable_difference(deviation, patients + 10) < smallest
    assert detectable_difference(2 * deviation, patients) == pytest.approx(2 * smallest, rel=1e-4)
    assert detectable_difference(deviation, patients, comparisons=3) > smallest
    assert power_of(smallest, deviation, patients) == pytest.approx(0.8, abs=1e-4)


def test_without_scatter_or_patients_no_difference_is_promised():
    assert detectable_difference(0.0, 20) == 0
    assert math.isnan(detectable_difference(math.nan, 20)) and math.isnan(detectable_difference(0.1, 1))
