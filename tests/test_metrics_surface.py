"""Border distances against MONAI, SimpleITK and a slow computation of their own."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tumorseg.errors import ShapeMismatch
from tumorseg.metrics.surface import SurfaceDistances, borders, surface_distances

unhurried = settings(deadline=None, max_examples=60)
SPACINGS = st.tuples(*(st.sampled_from([0.4, 1.0, 1.5, 3.3]) for _ in range(3)))


@st.composite
def mask_pairs(draw, most=5):
    """Two masks of one shape, some of them or of their slices empty."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, most), st.integers(1, most)))
    predicted, reference = (draw(arrays.arrays(np.bool_, shape)) for _ in range(2))
    for mask in (predicted, reference):
        mask[draw(arrays.arrays(np.bool_, shape[0]))] = False
    return predicted, reference


def slow_distances(predicted, reference, spacing, *, in_plane):
    """Each border voxel by looking at its neighbours, each distance by looking at all voxels."""
    steps = [
        step for step in np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)]) if not (in_plane and step[0])
    ]

    def border(mask):
        def marked(place):
            inside = all(0 <= at < size for at, size in zip(place, mask.shape, strict=True))
            return inside and mask[tuple(place)]

        return [place for place in np.argwhere(mask) if not all(marked(place + step) for step in steps)]

    def lengths(one, other):
        for place in one:
            near = [math.dist(place * spacing, to * spacing) for to in other if not in_plane or to[0] == place[0]]
            yield min(near, default=math.inf)

    one, other = border(predicted), border(reference)
    return sorted(lengths(one, other)), sorted(lengths(other, one))


@unhurried
@given(mask_pairs(), st.none() | SPACINGS)
def test_distances_agree_with_looking_at_every_pair_of_voxels(pair, spacing):
    found = surface_distances(*pair, spacing)
    scale = np.ones(3) if spacing is None else np.array(spacing)
    there, back = slow_distances(*pair, scale, in_plane=spacing is None or len(pair[0]) == 1)
    assert sorted(found.to_reference) == pytest.approx(there)
    assert sorted(found.to_predicted) == pytest.approx(back)


def monai_scores(predicted, reference, spacing, tolerance):
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    one, other = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (predicted, reference))
    hausdorff = metrics.compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=spacing)
    surface = metrics.compute_surface_dice(one, other, [tolerance], include_background=True, spacing=spacing)
    return float(hausdorff), float(surface)


@pytest.mark.filterwarnings("ignore")
@unhurried
@given(mask_pairs(6), SPACINGS, st.sampled_from([1.0, 2.0, 3.3]))
def test_scores_in_space_agree_with_monai(pair, spacing, tolerance):
    predicted, reference = pair
    if len(predicted) == 1:  # of a lone slice every voxel would be border in space; it is judged in its plane
        predicted, reference = (np.concatenate([mask, mask]) for mask in pair)
    found = surface_distances(predicted, reference, spacing)
    hausdorff, surface = monai_scores(predicted, reference, spacing, tolerance)
    assert found.surface_dice(tolerance) == pytest.approx(surface, abs=1e-6, nan_ok=True)
    if predicted.any() and reference.any():
        assert found.hausdorff() == pytest.approx(hausdorff, rel=1e-6, abs=1e-6)
    else:
        assert math.isnan(found.hausdorff()) and not math.isfinite(hausdorff)


@pytest.mark.filterwarnings("ignore")
@unhurried
@given(mask_pairs(8))
def test_scores_of_one_slice_agree_with_monai(pair):
    for predicted, reference in zip(*pair, strict=True):
        found = surface_distances(predicted[None], reference[None])
        hausdorff, surface = monai_scores(predicted, reference, None, 2.0)
        assert found.surface_dice() == pytest.approx(surface, abs=1e-6, nan_ok=True)
        if predicted.any() and reference.any():
            assert found.hausdorff() == pytest.approx(hausdorff, rel=1e-6, abs=1e-6)


def test_borders_agree_with_simpleitk_but_at_the_edge_of_the_image():
    sitk = pytest.importorskip("SimpleITK")
    mask = np.random.default_rng(1).random((6, 12, 12)) < 0.7
    contour = sitk.GetArrayFromImage(sitk.LabelContour(sitk.GetImageFromArray(mask.astype(np.uint8)))) > 0
    ours = borders(mask, in_plane=False)
    assert np.array_equal(ours[1:-1, 1:-1, 1:-1], contour[1:-1, 1:-1, 1:-1])
    assert np.array_equal(ours[0], mask[0]) and not np.array_equal(contour[0], mask[0])


@unhurried
@given(mask_pairs())
def test_in_the_plane_a_patient_is_the_pool_of_the_slices(pair):
    whole = surface_distances(*pair)
    slices = [surface_distances(pair[0][i : i + 1], pair[1][i : i + 1]) for i in range(len(pair[0]))]
    pooled = SurfaceDistances.joined(slices)
    assert whole.surface_dice() == pytest.approx(pooled.surface_dice(), nan_ok=True)
    assert whole.hausdorff() == pytest.approx(pooled.hausdorff(), nan_ok=True)
    hausdorff, surface = whole.by_slice(len(slices))
    assert hausdorff == pytest.approx([one.hausdorff() for one in slices], nan_ok=True)
    assert surface == pytest.approx([one.surface_dice() for one in slices], nan_ok=True)


@unhurried
@given(mask_pairs(), st.none() | SPACINGS)
def test_scores_are_symmetric_and_bounded(pair, spacing):
    one, other = surface_distances(*pair, spacing), surface_distances(*pair[::-1], spacing)
    assert one.hausdorff() == pytest.approx(other.hausdorff(), nan_ok=True)
    assert one.surface_dice() == pytest.approx(other.surface_dice(), nan_ok=True)
    if pair[0].any() or pair[1].any():
        assert 0 <= one.surface_dice() <= 1
        same = surface_distances(pair[0] | pair[1], pair[0] | pair[1], spacing)
        assert same.hausdorff() == 0 and same.surface_dice() == 1


def test_one_empty_mask_has_no_distance_and_no_surface_in_common():
    mask = np.zeros((2, 5, 5), bool)
    mask[0, 1:4, 1:4] = True
    for spacing in (None, (3.0, 1.0, 1.0)):
        lost = surface_distances(np.zeros_like(mask), mask, spacing)
        assert math.isnan(lost.hausdorff()) and lost.surface_dice() == 0
        nothing = surface_distances(np.zeros_like(mask), np.zeros_like(mask), spacing)
        assert math.isnan(nothing.hausdorff()) and math.isnan(nothing.surface_dice())


def test_in_the_plane_a_slice_that_one_mask_lacks_counts_against_the_surface_and_not_for_the_distance():
    reference = np.zeros((2, 5, 5), bool)
    reference[:, 1:4, 1:4] = True
    predicted = reference.copy()
    predicted[1] = False
    found = surface_distances(predicted, reference)
    assert found.hausdorff() == 0 and found.surface_dice() == pytest.approx(16 / 24)


def test_a_tolerance_of_five_steps_of_two_fifths_of_a_millimetre_is_two_millimetres():
    one, other = np.zeros((2, 2, 9), bool), np.zeros((2, 2, 9), bool)
    one[0, 0, 0] = other[0, 0, 5] = True
    assert surface_distances(one, other, (1.0, 1.0, 0.4)).surface_dice(2.0) == 1


def test_masks_of_different_shape_have_no_distance():
    with pytest.raises(ShapeMismatch, match="same grid"):
        surface_distances(np.zeros((1, 2, 2)), np.zeros((2, 2, 2)))
