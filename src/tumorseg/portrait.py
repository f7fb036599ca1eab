"""What a slice looks like in a small square cut to the head, so that scans can be compared. NumPy in and NumPy out."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Of the square, in pixels."""

BRIGHT = 0.12
"""Share of the brightest above which a pixel is part of a head."""

_COARSE = 128
_FRINGE = 3
_GREY = 0.15
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Portrait:
    """One slice.

    Attributes:
        head: (SIDE, SIDE, channels) float32: the square around the largest bright region, brightness as normalised.
        inside: (SIDE, SIDE) bool: the pixels of that region, with what it encloses.
        area: of the region, as a share of the frame.
        aspect: logarithm of its height over its width.
        solid: share of its box that it covers.
        fringe: (channels,) mean brightness along the edge of the frame; where one channel alone has a grey background,
            as a few of the LGG set have, that is taken for black.
        grey: whether it is so.
        noise: (channels,) standard deviation of the noise (Immerkær 1996), in units of normalised brightness.
    """

    head: Float32
    inside: NDArray[np.bool_]
    area: float
    aspect: float
    solid: float
    fringe: Float32
    grey: bool
    noise: Float32


def portrait(frame: Float32) -> Portrait | None:
    """Draw the portrait of one slice; None where nothing stands out from the background.

    Args:
        frame: (height, width, channels) float32, normalised: 0 is black, 1 the 99.5th percentile.
    """
    height, width = frame.shape[:2]
    scale = _COARSE / max(height, width)
    coarse = _resized(frame, max(1, round(width * scale)), max(1, round(height * scale)))
    # One channel alone may have a grey background, or be blank.
    grey = np.median(coarse, axis=-1)
    top = float(np.percentile(grey, 99))
    bright = (grey > BRIGHT * top).astype(np.uint8) if top > 0 else np.zeros(grey.shape, np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    if count < 2:
        return None
    largest = 1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax())
    left, top_row, across, down = (int(value) for value in boxes[largest, :4])
    if min(across, down) < 2:
        return None
    region = _filled(labels == largest)
    dark = _on_black(coarse, region)
    coarse, has_grey = dark, dark is not coarse
    side = max(across, down)
    corner = top_row - (side - down) // 2, left - (side - across) // 2
    area = int(np.count_nonzero(region))
    return Portrait(
        head=_resized(_cut(coarse, corner, side), SIDE, SIDE),
        inside=_resized(_cut(region[..., None].astype(np.float32), corner, side), SIDE, SIDE)[..., 0] > 0.5,
        area=area / region.size,
        aspect=float(np.log(down / across)),
        solid=area / (across * down),
        fringe=_fringe(coarse),
        grey=has_grey,
        noise=_noise(frame),
    )


def _resized(frame: Float32, width: int, height: int) -> Float32:
    shrinks = width < frame.shape[1] or height < frame.shape[0]
    resized = [
        cv2.resize(
            np.ascontiguousarray(frame[..., channel]),
            (width, height),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        for channel in range(frame.shape[-1])
    ]
    return np.stack(resized, axis=-1)


def _cut(frame: Float32, corner: tuple[int, int], side: int) -> Float32:
    """A square of the frame; black where it reaches beyond."""
    square = np.zeros((side, side, frame.shape[-1]), np.float32)
    (top, left), (height, width) = corner, frame.shape[:2]
    rows, columns = slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
    square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = frame[rows, columns]
    return square


def _on_black(coarse: Float32, region: NDArray[np.bool_]) -> Float32:
    """The frame with a grey background of a few channels taken for black, so that they look as they do elsewhere.

    Phase-sensitive T1 has one: fluid is darker than air there. Where most backgrounds are bright, or one is brighter
    than nearly all of the head, that is another thing, and stays.
    """
    fringe = _fringe(coarse)
    black, bright = np.quantile(coarse[region], (0.02, 0.9), axis=0)
    grey = (fringe > _GREY) & (fringe < bright) & (float(np.median(fringe)) < _GREY)
    if not grey.any():
        return coarse
    lifted = np.maximum((coarse - black) / np.maximum(1 - black, 0.1), 0) * region[..., None]
    return np.asarray(np.where(grey, lifted, coarse), np.float32)


def _filled(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    outside = np.pad(region.astype(np.uint8), 1)
    cv2.floodFill(outside, None, (0, 0), (2.0,))
    return np.asarray(outside[1:-1, 1:-1] != 2)


def _fringe(coarse: Float32) -> Float32:
    rim = np.ones(coarse.shape[:2], bool)
    rim[_FRINGE:-_FRINGE, _FRINGE:-_FRINGE] = False
    return np.asarray(coarse[rim].mean(axis=0), np.float32)


def _noise(frame: Float32) -> Float32:
    values = []
    for channel in range(frame.shape[-1]):
        detail = cv2.filter2D(np.ascontiguousarray(frame[..., channel]), cv2.CV_32F, _NOISE)
        values.append(float(np.abs(detail[1:-1, 1:-1]).mean()) * np.sqrt(np.pi / 2) / 6)
    return np.array(values, np.float32)
