"""From a scan's pixels to what a network sees: their brightness here, their size in `grid`. NumPy in, NumPy out.

The same ones serve training, prediction and export, so that a network meets in use what it met in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.filters import apply_filters, eight_bits
from tumorseg.recipe import Filter, Normalization

LOW_PERCENTILE = 0.5
HIGH_PERCENTILE = 99.5
BRIGHTEST = 1.5
"""Normalised values above this are cut: a few vessels must not set the scale of what the network sees."""

BINS = 256
_RANKS = (1 - np.cos(np.pi * np.arange(BINS) / (BINS - 1))) / 2
for _percentile in (LOW_PERCENTILE, HIGH_PERCENTILE):
    _RANKS[np.abs(_RANKS - _percentile / 100).argmin()] = _percentile / 100

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
        black, white: the values that 8 bits would show as 0 and 255, (channels,) float32 for each row of `low`.
    """

    low: Float32
    span: Float32
    floor: float
    ceiling: float
    black: Float32
    white: Float32

    def of_slice(self, index: int) -> "Statistics":
        """Those of one slice, where every slice has its own; else all of it."""
        if len(self.low) == 1:
            return self
        at = slice(index, index + 1)
        return Statistics(self.low[at], self.span[at], self.floor, self.ceiling, self.black[at], self.white[at])

    def of_channels(self, channels: Sequence[int]) -> "Statistics":
        """Those of these channels, in this order."""
        index = list(channels)
        low, span, black, white = (values[:, index] for values in (self.low, self.span, self.black, self.white))
        return Statistics(low, span, self.floor, self.ceiling, black, white)

    def of_eight_bits(self) -> "Statistics":
        """The same normalisation for values that were brought from `black` and `white` to 0 and 255."""
        scale = 255 / np.where(self.white > self.black, self.white - self.black, 1)
        low, span = (self.low - self.black) * scale, self.span * scale
        black = np.zeros_like(self.black)
        return Statistics(low.astype(np.float32), span.astype(np.float32), self.floor, self.ceiling, black, black + 255)


def filtered(frame: Array, measured: Statistics, filters: Sequence[Filter]) -> tuple[Array, Statistics]:
    """Apply a recipe's filters to one frame, and say how the result is normalised.

    Args:
        frame: (height, width, channels), any real dtype; what is not 8-bit is brought there first.
        measured: of the scan, one row.
        filters: none gives frame and statistics as they are.
    """
    if not filters:
        return frame, measured
    if frame.dtype == np.uint8:
        return apply_filters(frame, filters), measured
    return apply_filters(eight_bits(frame, measured.black[0], measured.white[0]), filters), measured.of_eight_bits()


def stacked(index: int, slices: int, neighbours: int) -> list[int]:
    """Which slices a network sees at once, the one that it marks first, then those below and above, nearest first.

    Args:
        index: of the slice that is marked, from 0.
        slices: of the scan.
        neighbours: on each side; the scan's last one stands for those beyond its end.
    """
    steps = [0, *(sign * step for step in range(1, neighbours + 1) for sign in (-1, 1))]
    return [min(max(index + step, 0), slices - 1) for step in steps]


def statistics(pixels: Array, normalization: Normalization) -> Statistics:
    """Measure what `normalise` needs.

    Args:
        pixels: (slices, height, width, channels), any real dtype: the whole volume, or what is there of it.
        normalization: see `Recipe`.
    """
    if normalization in ("imagenet", "full-range"):
        full = 255.0 if pixels.dtype == np.uint8 else float(pixels.max(initial=0))
        return fixed_statistics(normalization, pixels.shape[-1], full=full)
    axes = (0, 1, 2) if normalization == "volume-percentile" else (1, 2)
    if pixels.dtype == np.uint8:
        counts = slice_histograms(pixels)
        if normalization == "volume-percentile":
            counts = counts.sum(axis=0, keepdims=True)
        return percentile_statistics(counts)
    low, high = np.percentile(pixels, (LOW_PERCENTILE, HIGH_PERCENTILE), axis=axes, method="inverted_cdf")
    return _between(np.atleast_2d(low), np.atleast_2d(high))


def value_levels(pixels: Array) -> Float32:
    """Values at 256 ranks of a scan, (channels, 256) float32, rising: bins for what is not 8-bit.

    Ranks are dense towards both tails, (1 - cos(pi k / 255)) / 2, and hold those of the two percentiles exactly.

    Args:
        pixels: (slices, height, width, channels), any real dtype.
    """
    channels = pixels.shape[-1]
    levels = np.empty((channels, BINS), np.float32)
    for channel in range(channels):
        ordered = np.sort(pixels[..., channel], axis=None)
        # NumPy's inverted_cdf; the rounding keeps 0.995 * 1000 at 995.
        places = np.ceil(np.round(_RANKS * ordered.size, 6)).astype(np.int64) - 1
        levels[channel] = ordered[np.clip(places, 0, ordered.size - 1)]
    return levels


def slice_histograms(pixels: Array, levels: Float32 | None = None) -> NDArray[np.int64]:
    """How often values occur in each slice, (slices, channels, 256).

    Args:
        pixels: (slices, height, width, channels); uint8, or with `levels` any real dtype.
        levels: None counts the values 0 to 255; else (channels, 256) as `value_levels` gives, of which bin k counts
            what lies at or below level k and above the one before.
    """
    slices, _, _, channels = pixels.shape
    counts = np.empty((slices, channels, BINS), np.int64)
    for index in range(slices):
        for channel in range(channels):
            if levels is None:
                counts[index, channel] = cv2.calcHist([pixels[index]], [channel], None, [BINS], [0, BINS]).ravel()
            else:
                ordered = np.sort(pixels[index, ..., channel], axis=None)
                running = np.searchsorted(ordered, levels[channel].astype(ordered.dtype), side="right")
                counts[index, channel] = np.diff(running, prepend=0)
    return counts


def percentile_statistics(counts: NDArray[np.integer[Any]], levels: Float32 | None = None) -> Statistics:
    """The same statistics from histograms, (slices or 1, channels, 256); exact for uint8.

    A percentile is the smallest value whose share of pixels at or below it reaches it (NumPy's inverted_cdf). With
    `levels`, of the whole scan it is exact too; of some of its slices it is the next level above.

    Args:
        counts: see `slice_histograms`.
        levels: what they were counted with.
    """
    running = np.cumsum(counts, axis=-1)
    total = running[..., -1:]
    low = (running < LOW_PERCENTILE / 100 * total).sum(axis=-1)
    high = (running < HIGH_PERCENTILE / 100 * total).sum(axis=-1)
    if levels is None:
        return _between(low, high)
    channel = np.arange(len(levels))
    return _between(levels[channel, low], levels[channel, high])


def fixed_statistics(normalization: Normalization, channels: int, *, full: float = 255.0) -> Statistics:
    """What does not depend on how bright a scan is: full-range or imagenet, uncut.

    Args:
        normalization: full-range is pixels / full; imagenet is (pixels / full - mean) / deviation with the mean and
            deviation of ImageNet's photographs.
        channels: those beyond three take ImageNet's values of the first three again.
        full: what stands for white: 255 in 8 bits, else the largest value of the scan.
    """
    full = full if full > 0 else 1.0
    mean, deviation = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    if normalization == "imagenet":
        mean = np.resize(np.array(IMAGENET_MEAN, np.float32), channels)
        deviation = np.resize(np.array(IMAGENET_STD, np.float32), channels)
    black = np.zeros((1, channels), np.float32)
    return Statistics((mean * full)[None], (deviation * full)[None], -np.inf, np.inf, black, black + np.float32(full))


def normalise(pixels: Array, measured: Statistics) -> Float32:
    """Bring (slices, height, width, channels) to the network's range, float32 of the same shape."""
    if pixels.dtype == np.uint8:
        return _looked_up(pixels, measured)
    low, span = measured.low[:, None, None, :], measured.span[:, None, None, :]
    values = (pixels.astype(np.float32) - low) / span
    return np.clip(values, measured.floor, measured.ceiling, out=values)


def _looked_up(pixels: Array, measured: Statistics) -> Float32:
    """The same of uint8, whose 256 values are normalised once; bit by bit what the formula gives."""
    every = np.arange(BINS, dtype=np.float32)[None, :, None]
    tables = (every - measured.low[:, None]) / measured.span[:, None]
    tables = np.clip(tables, measured.floor, measured.ceiling).astype(np.float32)
    values = np.empty(pixels.shape, np.float32)
    for index, frame in enumerate(pixels):
        cv2.LUT(np.ascontiguousarray(frame), tables[index % len(tables)][None], dst=values[index])
    return values


def _between(low: Array, high: Array) -> Statistics:
    """Percentiles become 0 and 1; a blank channel becomes all 0 and not a division by nothing."""
    span = np.where(high > low, high - low, 1)
    low, span = low.astype(np.float32), span.astype(np.float32)
    return Statistics(low, span, 0.0, BRIGHTEST, low, low + span)
