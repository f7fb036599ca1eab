"""Uncertainty against error, held against SciPy, counting by hand and resampling one patient after the other."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tumorseg.errors import ShapeMismatch
from tumorseg.evaluation.judgement import judge
from tumorseg.metrics.uncertainty import entropy_by_slice, risk_coverage, selective, selective_intervals
from tumorseg.scan import Scan, Segmentation

unhurried = settings(deadline=None, max_examples=60)
ITEMS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=3, max_size=12)


def aurc_by_hand(doubt, error):
    """Mean over k of the mean error of the k least doubted, averaged over every order of equal doubts."""
    found = []
    for order in itertools.permutations(range(len(doubt))):
        if all(doubt[one] <= doubt[other] for one, other in itertools.pairwise(order)):
            errors = [error[index] for index in order]
            found.append(np.mean([np.mean(errors[: k + 1]) for k in range(len(errors))]))
    return float(np.mean(found))


@unhurried
@given(ITEMS)
def test_the_rank_correlation_is_scipys(items):
    doubt, error = zip(*items, strict=True)
    found = selective(doubt, error).spearman
    if len(set(doubt)) == 1 or len(set(error)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(doubt, error).statistic, abs=1e-9)


@unhurried
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=6))
def test_the_area_is_the_mean_over_every_coverage_and_every_order_of_ties(items):
    doubt, error = zip(*items, strict=True)
    found = selective(doubt, error)
    assert found.aurc == pytest.approx(aurc_by_hand(doubt, error))
    assert found.aurc_oracle == pytest.approx(aurc_by_hand(error, error))
    assert found.aurc_random == pytest.approx(np.mean(error))
    assert found.aurc_oracle <= found.aurc + 1e-12
    assert found.aurc == pytest.approx(risk_coverage(doubt, error)[1].mean())


def test_the_best_ranking_gains_all_and_its_reverse_less_than_none():
    error = [0.1, 0.5, 0.2, 0.9]
    best, worst = selective(error, error), selective(np.negative(error), error)
    assert best.gain == pytest.approx(1) and best.spearman == pytest.approx(1)
    assert worst.gain < 0 and worst.spearman == pytest.approx(-1)
    assert selective([1, 1, 1, 1], error).gain == pytest.approx(0)


def test_where_all_errors_are_alike_no_ranking_is_better_than_another():
    found = selective([0.1, 0.2, 0.7], [0.3, 0.3, 0.3])
    assert math.isnan(found.gain) and math.isnan(found.spearman)
    assert found.aurc == pytest.approx(0.3)


@pytest.mark.parametrize("items", [0, 1, 2])
def test_two_patients_have_no_rank_correlation_and_no_interval(items):
    found = selective(np.arange(items), np.arange(items))
    assert found.n == items and math.isnan(found.spearman)
    ends = selective_intervals(np.arange(items), np.arange(items), np.arange(items))
    assert all(math.isnan(value) for interval in ends.values() for value in interval)


def test_intervals_are_those_of_patients_drawn_one_after_the_other():
    random = np.random.default_rng(4)
    owners = np.repeat(np.arange(6), [1, 5, 2, 4, 3, 6])
    doubt = random.integers(0, 8, owners.size)
    error = doubt + random.integers(0, 6, owners.size)
    draws, seed = 300, 11
    ends = selective_intervals(doubt, error, owners, resamples=draws, seed=seed)
    times = np.random.default_rng(seed).multinomial(6, np.full(6, 1 / 6), size=draws)
    found = {"spearman": [], "aurc": [], "gain": []}
    for row in times:
        taken = np.concatenate([np.flatnonzero(owners == owner) for owner in np.repeat(np.arange(6), row)])
        one = selective(doubt[taken], error[taken])
        for name, values in found.items():
            values.append(getattr(one, name))
    for name, values in found.items():
        assert ends[name] == pytest.approx(tuple(np.nanquantile(values, [0.025, 0.975])), abs=1e-9)


def test_the_entropy_of_a_slice_is_that_of_its_pixels():
    random = np.random.default_rng(0)
    probability = random.random((3, 8, 9)).astype(np.float16)
    probability[1] = 0
    probability[2, :, :4] = 1
    bits = entropy_by_slice(probability)
    pairs = np.stack([probability.astype(np.float64), 1 - probability.astype(np.float64)])
    assert bits == pytest.approx(stats.entropy(pairs, base=2).sum(axis=(1, 2)), rel=1e-5)
    assert bits[1] == 0


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ShapeMismatch, match="doubts"):
        selective([1, 2], [1])


def judged_patient(name, *, sure, right):
    """A patient of two slices, one with a tumour of 16 pixels, of which `right` are marked."""
    reference = np.zeros((2, 12, 12), np.uint8)
    reference[0, 2:6, 2:6] = 1
    mask = np.zeros_like(reference)
    mask[0, 2:6, 2 : 2 + right // 4] = 1
    scan = Scan(name, name, ("flair",), lambda: np.full((*mask.shape, 1), 9, np.uint8), slice_numbers=(1, 2))
    probability = np.where(mask != 0, 1 - sure, sure).astype(np.float16)
    return Segmentation(scan, mask, probability), reference


def test_a_judgement_holds_doubt_against_error_by_patient_and_by_slice():
    cohort = [
        judged_patient(f"p{index}", sure=doubt, right=right)
        for index, (doubt, right) in enumerate([(0.01, 16), (0.1, 12), (0.2, 8), (0.4, 4)])
    ]
    judgement = judge(cohort)
    found = judgement.metrics["uncertainty"]
    assert found["patients"]["spearman"] == pytest.approx(1) and found["patients"]["gain"] == pytest.approx(1)
    assert found["slices"]["n"] == 8 and found["marked_slices"]["n"] == 4
    assert found["patients"]["curve"][-1]["risk"] == pytest.approx(np.mean([1 - p.dice for p in judgement.patients]))
    first = judgement.patients[0]
    p = float(np.float16(0.01))
    entropy = 288 * -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert first.entropy == pytest.approx(entropy / (16 + entropy), rel=1e-3)
    assert judgement.slices[1].entropy == pytest.approx(entropy / 2, rel=1e-3)
    assert "uncertainty" not in judge(cohort, calibrated=False).metrics


def test_a_missed_tumour_of_which_nothing_is_expected_counts_as_sure_and_wrong():
    cohort = [judged_patient(f"p{index}", sure=0.0, right=right) for index, right in enumerate([16, 0, 8])]
    found = judge(cohort)
    assert [patient.entropy for patient in found.patients] == [0, 0, 0]
    assert found.metrics["uncertainty"]["patients"]["n"] == 3
    assert math.isnan(found.metrics["uncertainty"]["patients"]["spearman"])


def test_what_a_segmentation_says_of_its_own_doubt_is_held_against_its_error():
    cohort = []
    for index, (right, disagreement) in enumerate([(16, 0.0), (12, 0.2), (8, 0.1), (4, 0.6), (0, math.nan)]):
        segmentation, reference = judged_patient(f"p{index}", sure=0.1, right=right)
        numbers = {"flip_disagreement": disagreement, "tumour_voxels": float(right)}
        cohort.append((replace(segmentation, measurements=numbers), reference))
    found = judge(cohort).metrics["uncertainty"]
    assert "mean_entropy" not in found
    flips = found["flip_disagreement"]
    assert flips["n"] == 4 and flips["spearman"] == pytest.approx(0.8)
    assert flips["curve"][-1]["risk"] == pytest.approx(flips["aurc_random"])
