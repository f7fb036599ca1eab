"""Where voxels lie: turned to be seen, and turned back, a voxel keeps its place in the patient."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorseg.errors import FormatError, ShapeMismatch
from tumorseg.formats.orientation import orientation_of
from tumorseg.formats.volume import Volume, join_sequences, same_place
from tumorseg.scan import Geometry, Scan

TURNS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]
SHAPE = (4, 5, 6)


def affine_of(
    axes: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> np.ndarray:
    """Stored axis i runs along the world axis `axes[i]`."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign, length) in enumerate(zip(axes, signs, spacing, strict=True)):
        affine[world, axis] = sign * length
    affine[:3, 3] = 7, -11, 13
    return affine


def tilted(affine: np.ndarray, angle: float) -> np.ndarray:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    other = np.eye(4)
    other[1:3, 1:3] = turn[:2, :2]
    return other @ turn @ affine


@pytest.mark.parametrize(("axes", "signs"), TURNS)
def test_of_cubes_slices_run_from_foot_to_head_with_the_front_up_and_the_right_side_left(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    affine = affine_of(axes, signs)
    turned = orientation_of(affine).affine(affine, SHAPE)
    assert turned[:3, 0].tolist() == [0, 0, 1]
    assert turned[:3, 1].tolist() == [0, -1, 0]
    assert turned[:3, 2].tolist() == [-1, 0, 0]


@pytest.mark.parametrize("thick", [0, 1, 2])
@pytest.mark.parametrize(("axes", "signs"), TURNS[::5])
def test_thick_slices_are_seen_as_they_were_acquired(axes: tuple[int, ...], signs: tuple[int, ...], thick: int) -> None:
    spacing = [1.0, 1.0, 1.0]
    spacing[thick] = 5.0
    affine = affine_of(axes, signs, tuple(spacing))
    orientation = orientation_of(affine)
    assert orientation.axes[0] == thick
    assert Geometry(orientation.affine(affine, SHAPE)).spacing == (5, 1, 1)


@given(
    st.sampled_from(TURNS),
    st.tuples(*[st.floats(0.3, 7)] * 3),
    st.floats(-0.6, 0.6),
    st.tuples(*[st.integers(0, length - 1) for length in SHAPE]),
    st.sampled_from([None, 0, 1, 2]),
)
def test_a_marker_keeps_its_place_in_the_patient_and_comes_back_to_its_voxel(
    turn: tuple[tuple[int, ...], tuple[int, ...]],
    spacing: tuple[float, ...],
    angle: float,
    voxel: tuple[int, int, int],
    slice_axis: int | None,
) -> None:
    affine = tilted(affine_of(*turn, spacing), angle)
    stored = np.zeros(SHAPE, np.uint8)
    stored[voxel] = 1
    orientation = orientation_of(affine, slice_axis=slice_axis)
    seen = orientation.canonical(stored)
    assert seen.shape == orientation.shape(SHAPE)
    world = orientation.affine(affine, SHAPE) @ [*np.argwhere(seen)[0], 1]
    assert np.allclose(world, affine @ [*voxel, 1])
    assert np.array_equal(orientation.stored(seen), stored)
    assert np.isclose(Geometry(orientation.affine(affine, SHAPE)).voxel_volume, np.prod(spacing))


def test_a_scan_takes_its_spacing_from_its_geometry() -> None:
    scan = Scan("a", "a", ("flair",), lambda: np.zeros((1, 2, 2, 1)), geometry=Geometry(np.diag([5.0, 0.5, 0.25, 1])))
    assert scan.spacing == (5, 0.5, 0.25)
    assert scan.geometry is not None and scan.geometry.voxel_volume == 0.625


def volume_at(shift: float, shape: tuple[int, ...] = (2, 3, 4, 1), dtype: str = "int16") -> Volume:
    affine = np.eye(4)
    affine[0, 3] = shift
    return Volume(np.ones(shape, dtype), Geometry(affine))


def test_sequences_on_one_grid_become_channels() -> None:
    joined = join_sequences({"flair": volume_at(0), "post": volume_at(0.01, dtype="float32")})
    assert joined.channel_names == ("flair", "post")
    assert joined.pixels.shape == (2, 3, 4, 2) and joined.pixels.dtype == np.float32


def test_sequences_on_different_grids_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match="different places"):
        join_sequences({"flair": volume_at(0), "post": volume_at(0.5)})
    with pytest.raises(ShapeMismatch, match="2 x 3 x 4 voxels"):
        join_sequences({"flair": volume_at(0), "post": volume_at(0, (2, 3, 5, 1))})
    with pytest.raises(FormatError, match="2 channels"):
        join_sequences({"flair": volume_at(0), "post": volume_at(0, (2, 3, 4, 2))})


def test_a_twist_that_only_far_corners_show_is_another_place() -> None:
    twisted = np.eye(4)
    twisted[0, 2] = 0.01
    assert same_place(Geometry(np.eye(4)), Geometry(twisted), (2, 2, 2))
    assert not same_place(Geometry(np.eye(4)), Geometry(twisted), (2, 2, 200))
