"""What a network sees of a scan, and the way back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorseg.grid import Box, head_box, plan_grid
from tumorseg.preprocess import normalise, statistics

sides = st.integers(8, 200)


@settings(deadline=None, max_examples=80)
@given(sides, sides, st.sampled_from([32, 64, 128]), st.data())
def test_a_mark_returns_from_the_grid_to_where_it_was(height: int, width: int, size: int, data: st.DataObject) -> None:
    top = data.draw(st.integers(0, height - 8))
    left = data.draw(st.integers(0, width - 8))
    box = Box(top, data.draw(st.integers(top + 8, height)), left, data.draw(st.integers(left + 8, width)))
    grid = plan_grid(height, width, image_size=size, box=box)
    frame = np.zeros((height, width), np.float32)
    rows = slice(box.top + box.height // 4, box.bottom - box.height // 4)
    columns = slice(box.left + box.width // 4, box.right - box.width // 4)
    frame[rows, columns] = 1
    square = grid.apply(frame)
    assert square.shape == (size, size)
    back = grid.undo(np.asarray(square, np.float32))
    assert back.shape == frame.shape
    if min(box.height, box.width) * 4 > max(box.height, box.width):
        found, wanted = np.argwhere(back > 0.5).mean(0), np.argwhere(frame > 0.5).mean(0)
        tolerance = 1 + max(box.height, box.width) / size
        assert np.abs(found - wanted).max() <= tolerance


def test_a_frame_of_the_grids_own_size_is_not_resampled() -> None:
    frame = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    grid = plan_grid(64, 64, image_size=64)
    assert grid.apply(frame) is frame and grid.undo(frame) is frame


def test_outside_the_box_there_is_no_tumour() -> None:
    grid = plan_grid(64, 64, image_size=32, box=Box(10, 40, 20, 50))
    back = grid.undo(np.ones((32, 32), np.float32))
    assert back[10:40, 20:50].min() == 1 and back.sum() == 30 * 30


@pytest.mark.parametrize("normalization", ["volume-percentile", "slice-percentile"])
def test_percentiles_do_not_see_the_scale_of_a_scan(normalization: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (4, 32, 32, 3)).astype(np.uint8)
    first = normalise(pixels, statistics(pixels, normalization))  # type: ignore[arg-type]
    brighter = (pixels * 2).astype(np.uint8)
    np.testing.assert_allclose(first, normalise(brighter, statistics(brighter, normalization)))  # type: ignore[arg-type]
    assert first.min() == 0 and 1 <= first.max() <= 1.5


@pytest.mark.parametrize("normalization", ["volume-percentile", "slice-percentile", "imagenet"])
def test_a_blank_channel_stays_finite(normalization: str) -> None:
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    assert np.isfinite(normalise(pixels, statistics(pixels, normalization))).all()  # type: ignore[arg-type]


def test_bytes_and_floats_have_the_same_percentiles() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 20, 20, 3)).astype(np.uint8)
    whole, real = (statistics(kind, "volume-percentile") for kind in (pixels, pixels.astype(np.float32)))
    np.testing.assert_array_equal(whole.low, real.low)
    np.testing.assert_array_equal(whole.span, real.span)


def test_imagenet_statistics_are_the_published_ones() -> None:
    pixels = np.full((1, 2, 2, 3), 255, np.uint8)
    values = normalise(pixels, statistics(pixels, "imagenet"))[0, 0, 0]
    np.testing.assert_allclose(values, (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-6)


def test_the_full_range_is_a_division_by_its_largest_value() -> None:
    pixels = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
    assert normalise(pixels, statistics(pixels, "full-range")).ravel().tolist() == pytest.approx([0, 0.2, 1])
    wide = np.array([-100, 0, 4000], np.int16).reshape(1, 1, 3, 1)
    assert normalise(wide, statistics(wide, "full-range")).ravel().tolist() == pytest.approx([-0.025, 0, 1])


def test_the_head_is_found_and_the_background_is_not() -> None:
    pixels = np.random.default_rng(0).integers(0, 6, (3, 128, 128, 3)).astype(np.uint8)
    pixels[:, 30:90, 40:100] += 120
    box = head_box(pixels, margin=4)
    assert box == Box(26, 94, 36, 104)


def test_where_nothing_stands_out_the_head_is_the_frame() -> None:
    assert head_box(np.zeros((2, 40, 50, 3), np.uint8)) == Box(0, 40, 0, 50)


@pytest.mark.parametrize("channels", [(), (1,), (2,), (5,)])
def test_the_way_to_the_grid_and_back_keeps_the_channels(channels: tuple[int, ...]) -> None:
    frame = np.random.default_rng(0).random((40, 56, *channels)).astype(np.float32)
    grid = plan_grid(40, 56, image_size=32)
    assert grid.apply(frame).shape == (32, 32, *channels)
    if channels != (1,):
        assert grid.undo(grid.apply(frame)).shape == frame.shape
