"""The way from a scan's frame to the square that a network sees, and back. Pure functions, NumPy in and NumPy out."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_OPENCV_CHANNELS = 4
"""That all of its ways to resample take at once."""

Array = NDArray[Any]
Float32 = NDArray[np.float32]


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
        """Bring values on the square back to the frame; 0 outside the box.

        Args:
            square: (size, size) or (size, size, K) float32.

        Returns:
            (height, width) or (height, width, K) float32.
        """
        if self.is_identity:
            return square
        inner = self.inner
        cut = np.ascontiguousarray(square[inner.top : inner.bottom, inner.left : inner.right])
        frame = np.zeros((self.height, self.width, *square.shape[2:]), np.float32)
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


def _resize(cut: Array, to: Box, *, nearest: bool) -> Array:
    if cut.shape[:2] == (to.height, to.width):
        return cut
    shrinks = to.height < cut.shape[0]
    method = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if cut.ndim == 3 and cut.shape[-1] > _OPENCV_CHANNELS:
        parts = np.array_split(cut, -(-cut.shape[-1] // _OPENCV_CHANNELS), axis=-1)
        return np.concatenate([_resize(np.ascontiguousarray(part), to, nearest=nearest) for part in parts], axis=-1)
    resized = cv2.resize(cut, (to.width, to.height), interpolation=method)
    return np.asarray(resized).reshape(to.height, to.width, *cut.shape[2:])  # OpenCV drops the axis of one channel
