"""Lesions and kinds of error against SimpleITK and slow computations of their own."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tumorseg.metrics.error_parts import BAND, ErrorParts, error_parts
from tumorseg.metrics.lesions import LesionCounts, label_lesions, match_lesions
from tumorseg.metrics.surface import borders

unhurried = settings(deadline=None, max_examples=60)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))


@st.composite
def mask_pairs(draw):
    shape = draw(SHAPES)
    return tuple(draw(arrays.arrays(np.bool_, shape)) & draw(arrays.arrays(np.bool_, shape)) for _ in range(2))


def components(mask):
    """Sets of voxels that touch, at corners too, by walking from each."""
    left, found = {tuple(place) for place in np.argwhere(mask)}, []
    while left:
        edge, whole = {left.pop()}, set()
        while edge:
            whole |= edge
            edge = {place for place in left if any(max(map(abs, np.subtract(place, one))) <= 1 for one in edge)}
            left -= edge
        found.append(frozenset(whole))
    return found


@unhurried
@given(arrays.arrays(np.bool_, SHAPES))
def test_lesions_agree_with_simpleitk(mask):
    sitk = pytest.importorskip("SimpleITK")
    theirs = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    ours, count = label_lesions(mask)
    assert count == theirs.max(initial=0)
    assert len({(int(a), int(b)) for a, b in zip(ours[mask], theirs[mask], strict=True)}) == count


@unhurried
@given(mask_pairs(), st.sampled_from([0.01, 0.1, 0.5]))
def test_matching_agrees_with_taking_the_best_pair_again_and_again(pair, iou):
    found, true = (components(mask) for mask in pair)
    shares = {(p, r): len(p & r) / len(p | r) for p in found for r in true if p & r}
    counts = match_lesions(*pair, iou=iou)
    assert (counts.predicted, counts.reference) == (len(found), len(true))
    if len(set(shares.values())) < len(shares):
        return  # of equal pairs either may be taken first
    hits = 0
    while shares and max(shares.values()) >= iou:
        one, other = max(shares, key=shares.__getitem__)
        shares = {pair: share for pair, share in shares.items() if pair[0] != one and pair[1] != other}
        hits += 1
    assert counts.hits == hits


@unhurried
@given(mask_pairs())
def test_lesion_scores_are_symmetric_and_bounded(pair):
    one, other = match_lesions(*pair), match_lesions(*pair[::-1])
    assert one.hits == other.hits and one.f1 == pytest.approx(other.f1, nan_ok=True)
    assert one.hits <= min(one.predicted, one.reference)
    if pair[0].any():
        assert match_lesions(pair[0], pair[0]).f1 == 1


def test_two_predicted_parts_of_one_lesion_are_one_hit():
    reference = np.ones((1, 3, 9), bool)
    predicted = reference.copy()
    predicted[:, :, 4] = False
    assert match_lesions(predicted, reference) == LesionCounts(hits=1, predicted=2, reference=1)
    assert match_lesions(predicted, reference).f1 == pytest.approx(2 / 3)


def test_a_touch_below_a_tenth_is_no_hit():
    reference, predicted = np.zeros((1, 1, 20), bool), np.zeros((1, 1, 20), bool)
    reference[..., :10] = True
    predicted[..., 9:] = True
    assert match_lesions(predicted, reference).hits == 0
    predicted[..., 8:] = True
    assert match_lesions(predicted, reference).hits == 1


def slow_parts(predicted, reference):
    """Each wrong voxel by the rules, one after the other."""
    sums = dict.fromkeys(("missed", "elsewhere", "boundary", "too_little", "too_much"), 0)
    border = np.argwhere(borders(reference, in_plane=True))
    for mask, other, alone, rest in (
        (reference, predicted, "missed", "too_little"),
        (predicted, reference, "elsewhere", "too_much"),
    ):
        for part in components(mask):
            touched = any(other[place] for place in part)
            for place in part:
                if other[place]:
                    continue
                near = any(b[0] == place[0] and np.hypot(*(b[1:] - np.array(place[1:]))) <= BAND for b in border)
                sums[alone if not touched else "boundary" if near else rest] += 1
    return ErrorParts(**sums)


@unhurried
@given(mask_pairs())
def test_every_wrong_voxel_is_of_the_kind_that_the_rules_give_it(pair):
    parts = error_parts(*pair)
    assert parts == slow_parts(*pair)
    assert parts.total == int((pair[0] ^ pair[1]).sum()) == sum(astuple(parts))


def test_each_kind_of_error_has_its_example():
    reference = np.zeros((3, 40, 40), bool)
    reference[0, 2:14, 2:14] = True
    reference[2, 30:34, 30:34] = True
    predicted = np.zeros_like(reference)
    predicted[0, 3:15, 2:14] = True
    parts = error_parts(predicted, reference)
    assert parts == ErrorParts(missed=16, boundary=24)
    predicted[0, 30:32, 2:4] = True
    predicted[0, 20:, 6] = predicted[0, 14:20, 6] = True
    assert error_parts(predicted, reference) == ErrorParts(missed=16, elsewhere=4, boundary=25, too_much=24)
