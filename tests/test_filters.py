"""Filters that recipes name: what they do to a picture, and that training and prediction apply the same."""

from typing import get_args

import numpy as np
import pytest

from tiny_model import write_model
from tumorseg.filters import FILTERS, apply_filters, clahe, eight_bits, laplacian, median, sobel
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.preprocess import filtered, normalise, statistics
from tumorseg.recipe import Filter
from tumorseg.scan import Scan


def picture(seed: int = 0, channels: int = 3) -> np.ndarray:
    """A smooth gradient with a bright square."""
    down, across = np.mgrid[:64, :64]
    frame = np.stack([down + across + 10 * index for index in range(channels)], -1).astype(np.uint8)
    frame[20:40, 20:40] += 60
    return frame


def test_every_filter_that_a_recipe_may_name_is_there() -> None:
    assert set(FILTERS) == set(get_args(Filter))


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_filter_keeps_shape_and_type_and_leaves_its_input_alone(name: Filter, channels: int) -> None:
    frame = picture(channels=channels)
    before = frame.copy()
    after = apply_filters(frame, [name])
    assert after.shape == frame.shape and after.dtype == np.uint8
    assert np.array_equal(frame, before)
    assert not np.array_equal(after, frame)


def test_the_median_removes_single_bright_pixels() -> None:
    frame = np.full((9, 9, 1), 50, np.uint8)
    frame[4, 4] = 255
    assert (median(frame) == 50).all()


def test_clahe_raises_the_contrast_of_a_flat_region_and_keeps_grey_grey() -> None:
    grey = np.repeat(100 + picture(channels=1) // 16, 3, axis=-1)
    assert clahe(grey).std() > 1.3 * grey.std()
    assert np.ptp(clahe(grey).astype(int), axis=-1).max() <= 1  # the way through Lab rounds


def test_edges_are_where_the_square_ends() -> None:
    frame = np.zeros((32, 32, 1), np.uint8)
    frame[8:24, 8:24] = 200
    assert sobel(frame)[12, 8] > 100 and sobel(frame)[16, 16] == 0 and sobel(frame)[2, 2] == 0
    assert laplacian(np.full((8, 8, 1), 70, np.uint8)).tolist() == np.full((8, 8, 1), 70).tolist()


def test_other_types_are_brought_to_eight_bits_by_the_scans_own_range() -> None:
    frame = np.array([[[-5], [0], [500], [1000], [4000]]], np.int16)
    assert eight_bits(frame, np.float32([0]), np.float32([1000])).ravel().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("normalization", ["volume-percentile", "imagenet"])
def test_sixteen_bits_of_the_same_picture_are_seen_alike_through_a_filter(normalization: str) -> None:
    """A scan stored as 8 or as 16 bits gives the network the same, up to what 8 bits round."""
    narrow = picture()[None]
    narrow[..., 0, 0, :] = 255  # so that both have the same full range
    wide = narrow.astype(np.int16) * 8
    seen = []
    for pixels in (narrow, wide):
        frame, measured = filtered(pixels[0], statistics(pixels, normalization), ("median",))  # type: ignore[arg-type]
        seen.append(normalise(frame[None], measured))
    # What is brighter than the 99.5th percentile is cut when 16 bits are brought to 8.
    brightest = 1.0 if normalization == "volume-percentile" else np.inf
    assert np.abs(np.minimum(seen[0], brightest) - np.minimum(seen[1], brightest)).max() < 0.02


def test_without_filters_the_frame_passes_untouched() -> None:
    pixels = picture()[None]
    measured = statistics(pixels, "volume-percentile")
    frame, same = filtered(pixels[0], measured, ())
    assert frame is not None and np.shares_memory(frame, pixels) and same is measured


def test_prediction_filters_before_it_normalises(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """One bright pixel is tumour to the tiny model; to the same model with a median it is not there."""
    pixels = np.full((1, 64, 64, 3), 10, np.uint8)
    pixels[0, :32] = 60
    pixels[0, :4, :4, 1] = 200
    pixels[0, 50, 50, 1] = 200
    scan = Scan("s", "p", ("pre", "flair", "post"), lambda: pixels)
    plain = Predictor(read_model(write_model(tmp_path / "plain"))).segment(scan).mask
    smooth = Predictor(read_model(write_model(tmp_path / "smooth", filters=("median",)))).segment(scan).mask
    assert plain[0, 50, 50] == 1 and smooth[0, 50, 50] == 0
