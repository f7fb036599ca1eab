"""A scan in grey with its mask outlined in colour, as pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.scan import Mask, Pixels, Scan, Segmentation

COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0))
"""RGB by class, of the set that the colour-blind tell apart (Okabe & Ito 2008); further classes begin again."""

_WHITE = 99.5
_FINE = 512
"""Shorter sides than this are doubled, so that an outline of one pixel hides less."""


def overlay(segmentation: Segmentation) -> NDArray[np.uint8]:
    """FLAIR, or the only sequence there is, with the outline of the mask.

    Returns:
        (slices, height, width, 3) uint8, RGB; frames whose longer side is under 512 pixels are twice as large as the
        scan's.
    """
    window = grey_window(segmentation.scan)
    return np.stack([overlay_slice(segmentation, index, window) for index in range(len(segmentation.mask))])


def overlay_slice(
    segmentation: Segmentation, index: int, window: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """One slice of `overlay`, (height, width, 3) uint8.

    Args:
        window: values that become black and white, as `grey_window` gives for the scan.
    """
    low, high = window or grey_window(segmentation.scan)
    frame = shown_channel(segmentation.scan, segmentation.scan.pixels[index]).astype(np.float32)
    grey = np.clip((frame - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
    mask = segmentation.mask[index]
    if max(mask.shape) < _FINE:
        size = (mask.shape[1] * 2, mask.shape[0] * 2)
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        mask = np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    for value in range(1, int(mask.max(initial=0)) + 1):
        picture[_rim(mask == value)] = COLOURS[(value - 1) % len(COLOURS)]
    return picture


def grey_window(scan: Scan) -> tuple[float, float]:
    """The values of a whole scan that are shown as black and white: its darkest, and its 99.5th percentile."""
    values = shown_channel(scan, scan.pixels)
    step = max(1, values.size // 2_000_000)
    sparse = values.reshape(-1)[::step]
    low, high = float(sparse.min()), float(np.percentile(sparse, _WHITE))
    return low, high if high > low else max(float(sparse.max()), low + 1)


def shown_channel(scan: Scan, pixels: Pixels) -> Pixels:
    """FLAIR where it is there, else the first sequence; without the axis of channels."""
    return pixels[..., scan.channels.index("flair") if "flair" in scan.channels else 0]


def _rim(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of an area that touch what is not it, or the frame's edge."""
    filled: Mask = inside.astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = np.asarray(cv2.erode(filled, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0))
    rim: NDArray[np.bool_] = inside & (inner == 0)
    return rim
