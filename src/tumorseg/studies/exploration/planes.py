"""Which plane a slice of a head lies in, told from the picture, for sets that do not record it.

A linear rule over histograms of oriented gradients (Dalal and Triggs 2005), fitted by `benchmarks/planes.py` to 150
figshare slices that were sorted by eye; cross-validated by patient it is right for 149 of them. The rule's numbers are
in `planes.npz`.
"""

from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.preprocess import Array

PLANES = ("axial", "coronal", "sagittal")
TOLD = "right for 149 of 150 slices that were sorted by eye, cross-validated by patient"

_OUTLINE, _SIDE, _CELL, _DIRECTIONS = 128, 64, 8, 8
_DARK = 0.12
"""Of the way from the darkest value to the 99th percentile: what is brighter is head."""

_SMOOTH = 1.5


def plane_of(frame: Array) -> str:
    """One of `PLANES`.

    Args:
        frame: (height, width), one slice of a head, of any scale.
    """
    weights, bias = _rule()
    return PLANES[int(np.argmax(gradients(frame) @ weights + bias))]


def gradients(frame: Array) -> NDArray[np.float64]:
    """Histograms of oriented gradients of the head, (512,): 8 x 8 cells of 8 directions, square root of L1 norm.

    Args:
        frame: (height, width); the largest bright region is cut out, brought to 64 x 64 and smoothed first.
    """
    small = cv2.resize(np.asarray(frame, np.float32), (_OUTLINE, _OUTLINE), interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(np.percentile(small, 99))
    bright = (small > low + _DARK * (high - low)).astype(np.uint8)
    bright = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)).astype(np.uint8)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(bright)
    left, top, width, height, _ = boxes[1 + int(boxes[1:, 4].argmax())] if count > 1 else (0, 0, _OUTLINE, _OUTLINE, 0)
    head = cv2.resize(small[top : top + height, left : left + width], (_SIDE, _SIDE))
    head = np.clip(np.asarray(head, np.float64) / max(high, 1e-6), 0, 1.2)
    smooth = np.asarray(cv2.GaussianBlur(head, (0, 0), _SMOOTH), np.float64)
    down, across = np.gradient(smooth)
    direction = np.minimum((np.arctan2(down, across) % np.pi / np.pi * _DIRECTIONS).astype(int), _DIRECTIONS - 1)
    row, column = np.indices(smooth.shape) // _CELL
    cell = (row * (_SIDE // _CELL) + column) * _DIRECTIONS + direction
    counted = np.bincount(cell.ravel(), np.hypot(across, down).ravel(), minlength=(_SIDE // _CELL) ** 2 * _DIRECTIONS)
    shares: NDArray[np.float64] = np.sqrt(counted / (counted.sum() + 1e-9))
    return shares


@cache
def _rule() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with (files(__package__) / "planes.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return stored["weights"].astype(np.float64), stored["bias"].astype(np.float64)
