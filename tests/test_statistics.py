"""Comparisons of models say no more than the patients do."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics.bootstrap import RESAMPLES, SEED, bootstrap_interval
from tumorseg.metrics.paired import holm, paired_difference, wilcoxon
from tumorseg.metrics.unpaired import Ratio, unpaired_difference

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


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
