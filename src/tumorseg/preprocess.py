"""From a scan's pixels to what a network sees, and the way back. Pure functions, NumPy in and NumPy out.

The same ones serve training, prediction and export, so that a network meets in use what it met in training.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.recipe import Normalization

LOW_PERCENTILE = 0.5
HIGH_PERCENTILE = 99.5
BRIGHTEST = 1.5
"""Normalised values above this are cut: a few vessels must not set the scale of what the network sees."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Array = NDArray[Any]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Statistics:
    """What normalisation subtracts and divides by, and where it cuts.

    Attributes:
        low: (slices or 1, channels) float32, becomes 0.
        span: the same shape, becomes 1; never 0.
        floor, ceiling: normalised values are cut to this range.
    """

    low: Float32
    span: Float32
    floor: float
    ceiling: float


def statistics(pixels: Array, normalization: Normalization) -> Statistics:
    """Measure what `normalise` needs.

    Args:
        pixels: (slices, height, width, channels), any real dtype: the whole volume, or what is there of it.
        normalization: see `Recipe`.
    """
    if normalization == "imagenet":
        return imagenet_statistics(pixels)
    axes = (0, 1, 2) if normalization == "volume-percentile" else (1, 2)
    if pixels.dtype == np.uint8:
        counts = slice_histograms(pixels)
        if normalization == "volume-percentile":
            counts = counts.sum(axis=0, keepdims=True)
        return percentile_statistics(counts)
    low, high = np.percentile(pixels, (LOW_PERCENTILE, HIGH_PERCENTILE), axis=axes, method="inverted_cdf")
    return _between(np.atleast_2d(low), np.atleast_2d(high))


def slice_histograms(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each value occurs, (slices, channels, 256), of uint8 (slices, height, width, channels)."""
    slices, _, _, channels = pixels.shape
    counts = np.empty((slices, channels, 256), np.int64)
    for index in range(slices):
        for channel in range(channels):
            counts[index, channel] = cv2.calcHist([pixels[index]], [channel], None, [256], [0, 256]).ravel()
    return counts


def percentile_statistics(counts: NDArray[np.integer[Any]]) -> Statistics:
    """The same statistics from histograms, (slices or 1, channels, 256); exact for uint8.

    A percentile is the smallest value whose share of pixels at or below it reaches it (NumPy's inverted_cdf).
    """
    running = np.cumsum(counts, axis=-1)
    total = running[..., -1:]
    low = (running < LOW_PERCENTILE / 100 * total).sum(axis=-1)
    high = (running < HIGH_PERCENTILE / 100 * total).sum(axis=-1)
    return _between(low, high)


def imagenet_statistics(pixels: Array) -> Statistics:
    """The mean and deviation of ImageNet's photographs, as (pixels / 255 - mean) / deviation, uncut.

    Channels beyond three take the values of the first three again.
    """
    channels = pixels.shape[-1]
    full = 255.0 if pixels.dtype == np.uint8 else float(max(pixels.max(initial=1), 1))
    mean = np.resize(np.array(IMAGENET_MEAN, np.float32), channels)
    deviation = np.resize(np.array(IMAGENET_STD, np.float32), channels)
    return Statistics((mean * full)[None], (deviation * full)[None], -np.inf, np.inf)


def normalise(pixels: Array, measured: Statistics) -> Float32:
    """Bring (slices, height, width, channels) to the network's range, float32 of the same shape."""
    low, span = measured.low[:, None, None, :], measured.span[:, None, None, :]
    values = (pixels.astype(np.float32) - low) / span
    return np.clip(values, measured.floor, measured.ceiling, out=values)


@dataclass(frozen=True)
class Box:
    """A rectangle of a frame, in pixels, half-open: rows top to bottom, columns left to right."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows inside."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns inside."""
        return self.right - self.left


@dataclass(frozen=True)
class Grid:
    """The way between a scan's frame and the square grid of a network: cut to `box`, resize, pad to the square.

    Attributes:
        height, width: of the frame, in pixels.
        box: what is cut out of it.
        size: side of the square, in pixels.
    """

    height: int
    width: int
    box: Box
    size: int

    @property
    def is_identity(self) -> bool:
        """Whether the grid is the frame itself, so that nothing is resampled."""
        whole = self.box == Box(0, self.height, 0, self.width)
        return whole and self.height == self.width == self.size

    @property
    def inner(self) -> Box:
        """Where the resized box lies in the square; around it is padding."""
        longer = max(self.box.height, self.box.width)
        height = max(1, round(self.box.height * self.size / longer))
        width = max(1, round(self.box.width * self.size / longer))
        top, left = (self.size - height) // 2, (self.size - width) // 2
        return Box(top, top + height, left, left + width)

    def apply(self, frame: Array, *, nearest: bool = False, fill: float = 0.0) -> Array:
        """Bring (height, width) or (height, width, channels) to the square, dtype kept.

        Args:
            nearest: take the nearest pixel, as masks need, instead of interpolating.
            fill: value of the padding.
        """
        if self.is_identity:
            return frame
        cut = np.ascontiguousarray(frame[self.box.top : self.box.bottom, self.box.left : self.box.right])
        inner = self.inner
        square = np.full((self.size, self.size, *frame.shape[2:]), fill, frame.dtype)
        square[inner.top : inner.bottom, inner.left : inner.right] = _resize(cut, inner, nearest=nearest)
        return square

    def undo(self, square: Float32) -> Float32:
        """Bring values on the square, (size, size) float32, back to (height, width); 0 outside the box."""
        if self.is_identity:
            return square
        inner = self.inner
        cut = np.ascontiguousarray(square[inner.top : inner.bottom, inner.left : inner.right])
        frame = np.zeros((self.height, self.width), np.float32)
        frame[self.box.top : self.box.bottom, self.box.left : self.box.right] = _resize(cut, self.box, nearest=False)
        return frame


def plan_grid(height: int, width: int, *, image_size: int, box: Box | None = None) -> Grid:
    """The grid of side `image_size` for frames of (height, width), cut to `box` where one is given."""
    return Grid(height, width, box or Box(0, height, 0, width), image_size)


def head_box(pixels: Array, *, margin: int = 6) -> Box:
    """The box of the head: the largest bright region of the brightest view along the slices.

    Args:
        pixels: (slices, height, width, channels).
        margin: pixels added on each side, within the frame.

    Returns:
        The box; the whole frame where nothing stands out from the background.
    """
    _, height, width, channels = pixels.shape
    middle = pixels[..., min(1, channels - 1)]  # FLAIR of (pre, FLAIR, post): its background is black everywhere
    brightest = middle.max(axis=0).astype(np.float32)
    spread = float(np.percentile(brightest, 99)) - float(brightest.min())
    if spread <= 0:
        return Box(0, height, 0, width)
    bright = (brightest > brightest.min() + 0.12 * spread).astype(np.uint8)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    if count < 2:
        return Box(0, height, 0, width)
    left, top, across, down, _ = (int(value) for value in max(boxes[1:], key=lambda row: int(row[cv2.CC_STAT_AREA])))
    return Box(
        max(0, top - margin),
        min(height, top + down + margin),
        max(0, left - margin),
        min(width, left + across + margin),
    )


def _between(low: Array, high: Array) -> Statistics:
    """Percentiles become 0 and 1; a blank channel becomes all 0 and not a division by nothing."""
    span = np.where(high > low, high - low, 1)
    return Statistics(low.astype(np.float32), span.astype(np.float32), 0.0, BRIGHTEST)


def _resize(cut: Array, to: Box, *, nearest: bool) -> Array:
    if cut.shape[:2] == (to.height, to.width):
        return cut
    shrinks = to.height < cut.shape[0]
    method = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (to.width, to.height), interpolation=method))
