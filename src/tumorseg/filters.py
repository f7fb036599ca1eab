"""Filters of the image before it is normalised, as recipes name them. Pure functions, NumPy in and NumPy out.

They work on 8 bits, as the systems that use them do; `eight_bits` brings other scans there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.recipe import Filter

Frame8 = NDArray[np.uint8]
"""(height, width, channels) uint8."""

CLAHE_CLIP = 3.0
CLAHE_TILES = (8, 8)


def median(frame: Frame8) -> Frame8:
    """Median of 3 × 3 pixels, each channel by itself."""
    return np.asarray(_each_channel(frame, lambda channel: cv2.medianBlur(channel, 3)), np.uint8)


def clahe(frame: Frame8) -> Frame8:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994), clip 3.0, 8 × 8 tiles.

    Of three channels only the lightness L of CIELAB is equalised; of any other number each channel.
    """
    equaliser = cv2.createCLAHE(CLAHE_CLIP, CLAHE_TILES)
    if frame.shape[-1] != 3:
        return np.asarray(_each_channel(frame, equaliser.apply), np.uint8)
    lab = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2LAB)
    lab[..., 0] = equaliser.apply(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def laplacian(frame: Frame8) -> Frame8:
    """Edges added: the image minus its Laplacian of 3 × 3 pixels, cut to 0 to 255."""
    edges = _each_channel(frame.astype(np.float32), lambda channel: cv2.Laplacian(channel, cv2.CV_32F, ksize=3))
    return np.asarray(np.clip(frame - edges, 0, 255), np.uint8)


def unsharp(frame: Frame8) -> Frame8:
    """Edges added: 1.5 times the image minus half of its Gaussian blur (σ = 2 pixels), cut to 0 to 255."""
    blurred = _each_channel(frame.astype(np.float32), lambda channel: cv2.GaussianBlur(channel, (0, 0), 2.0))
    return np.clip(1.5 * frame.astype(np.float32) - 0.5 * blurred, 0, 255).astype(np.uint8)


def sobel(frame: Frame8) -> Frame8:
    """Edges instead of the image: magnitude of the Sobel gradient of 3 × 3 pixels, a quarter of it, cut to 255."""

    def magnitude(channel: NDArray[Any]) -> NDArray[Any]:
        across, down = cv2.Sobel(channel, cv2.CV_32F, 1, 0), cv2.Sobel(channel, cv2.CV_32F, 0, 1)
        return np.asarray(cv2.magnitude(across, down))

    return np.clip(_each_channel(frame.astype(np.float32), magnitude) / 4, 0, 255).astype(np.uint8)


FILTERS: dict[Filter, Callable[[Frame8], Frame8]] = {
    "median": median,
    "clahe": clahe,
    "laplacian": laplacian,
    "unsharp": unsharp,
    "sobel": sobel,
}


def apply_filters(frame: Frame8, filters: Sequence[Filter]) -> Frame8:
    """Apply filters one after the other to (height, width, channels) uint8; none gives the frame itself."""
    for name in filters:
        frame = FILTERS[name](frame)
    return frame


def eight_bits(frame: NDArray[Any], low: NDArray[np.float32], high: NDArray[np.float32]) -> Frame8:
    """Bring (height, width, channels) of any real dtype to uint8: `low` becomes 0, `high` 255, each (channels,)."""
    span = np.where(high > low, high - low, 1)
    scaled = (frame.astype(np.float32) - low) * (255 / span)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _each_channel(frame: NDArray[Any], change: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """OpenCV takes planes of its own memory layout, and some filters one channel alone."""
    channels = [change(np.ascontiguousarray(frame[..., index])) for index in range(frame.shape[-1])]
    return np.stack(channels, axis=-1)
