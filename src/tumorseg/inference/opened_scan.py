"""A scan on its way through the Predictor: its slices as the network sees them, and what has come back of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from tumorseg.errors import DataError
from tumorseg.grid import Grid, head_box, plan_grid
from tumorseg.inference.model import ModelSpec
from tumorseg.inference.runtime import Float32
from tumorseg.inference.scratch import allocate
from tumorseg.inference.sequences import choose_channels
from tumorseg.preprocess import Statistics, filtered, normalise, stacked, statistics
from tumorseg.recipe import Filter
from tumorseg.scan import Caution, Pixels, Scan

_RESAMPLED = tuple(map(np.dtype, (np.uint8, np.uint16, np.int16, np.float32, np.float64)))

_RECENT = 32
"""Slices of a scan that are kept as a network with neighbours sees them."""


@dataclass(eq=False)
class OpenedScan:
    """One scan whose slices go through a network.

    Attributes:
        scan: as it was given.
        pixels: the scan's, (slices, height, width, channels), with the network's channels in the network's order.
        measured: what its slices are normalised by.
        grid: the way from its frame to the network's grid and back.
        filters: what each slice goes through before it is normalised.
        warnings: of the choice of its channels.
        classes: how many the network tells apart.
        neighbours: slices on either side that it sees with each.
        probability: filled slice by slice; see `Segmentation.probability`.
        overlaps: of each slice; see `slice_probability.Overlaps`.
        left: slices that have not come back from the network.
    """

    scan: Scan
    pixels: Pixels
    measured: Statistics
    grid: Grid
    filters: tuple[Filter, ...]
    warnings: tuple[Caution, ...]
    classes: int
    neighbours: int
    probability: NDArray[np.float16] = field(init=False)
    overlaps: NDArray[np.int64] = field(init=False)
    left: int = field(init=False)
    _alone: Callable[[int], Float32] = field(init=False)

    def __post_init__(self) -> None:
        axes = () if self.classes == 1 else (self.classes,)
        self.probability = allocate((*self.pixels.shape[:3], *axes), np.float16)
        self.overlaps = np.zeros((len(self.pixels), 2), np.int64)
        self.left = len(self.pixels)
        # Not a method: a cache of one would hold the scan that holds it, and memory would wait for the collector.
        alone = partial(_alone, self.pixels, self.measured, self.grid, self.filters)
        # Neighbours meet a slice again and again while its own turn is near.
        self._alone = lru_cache(_RECENT)(alone) if self.neighbours else alone

    def frame(self, index: int) -> Float32:
        """One slice and its neighbours as the network sees them, (stack * channels, size, size)."""
        if not self.neighbours:
            return self._alone(index)
        return np.concatenate([self._alone(each) for each in stacked(index, len(self.pixels), self.neighbours)])

    def fill(self, index: int, square: Float32, overlap: NDArray[np.int64]) -> None:
        """Put the probability of one slice, on the network's grid, where it belongs on the scan's own."""
        self.probability[index] = self.grid.undo(square)
        self.overlaps[index] = overlap


def open_scan(scan: Scan, spec: ModelSpec) -> OpenedScan:
    """Read a scan and measure what its slices have in common.

    Raises:
        DataError: its pixels or channels are not what the model takes.
    """
    pixels = scan.pixels
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise DataError(f"scan {scan.id} has no pixels", next_step="leave it out")
    if pixels.shape[-1] != len(scan.channels):
        raise DataError(f"scan {scan.id} has {pixels.shape[-1]} channels but {len(scan.channels)} names")
    channels, warnings = choose_channels(scan.channels, spec.channels, where=f"scan {scan.id}")
    pixels = _resampled_kind(_arranged(pixels, channels))
    box = head_box(pixels) if spec.crop == "head" else None
    grid = plan_grid(*pixels.shape[1:3], image_size=spec.image_size, box=box)
    measured = statistics(pixels, spec.normalization)
    return OpenedScan(scan, pixels, measured, grid, spec.filters, warnings, len(spec.classes), spec.neighbours)


def _alone(pixels: Pixels, measured: Statistics, grid: Grid, filters: Sequence[Filter], index: int) -> Float32:
    """One slice as the network sees it, (channels, size, size)."""
    frame, measured = filtered(pixels[index], measured.of_slice(index), filters)
    # Resampled before it is normalised, as in training.
    square = grid.apply(frame)
    return np.ascontiguousarray(np.moveaxis(normalise(square[None], measured)[0], -1, 0))


def _arranged(pixels: Pixels, channels: list[int]) -> Pixels:
    """The channels in the network's order; not copied where they are so already."""
    if channels == list(range(pixels.shape[-1])):
        return pixels
    arranged = allocate((*pixels.shape[:3], len(channels)), pixels.dtype)
    for target, frame in zip(arranged, pixels, strict=True):
        target[:] = frame[..., channels]
    return arranged


def _resampled_kind(pixels: Pixels) -> Pixels:
    """Pixels of a type that OpenCV resamples; whole numbers of 32 and 64 bits and half floats become float32."""
    if pixels.dtype in _RESAMPLED:
        return pixels
    wide = allocate(pixels.shape, np.float32)
    for target, frame in zip(wide, pixels, strict=True):
        target[:] = frame
    return wide
