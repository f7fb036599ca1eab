"""The part of a slice that a network need look at: the head, without the dark around it."""

import numpy as np

from tumorseg.grid import Box
from tumorseg.inference.runtime import Float32

DARK = 0.12
"""Of the FLAIR's bright end: what is marked is brighter than that, the air around a head is not."""

LEAST_PIXELS = 3
"""A row or column with fewer brighter pixels than these holds noise."""

MARGIN = 2
"""Pixels that are left around it."""

STEP = 32
"""Sides are multiples of this, as networks need that halve the image five times."""

PHASE = 16
"""Boxes begin at multiples of this: a network that halves the image is not the same at every shift, and marks more like
the whole frame where its coarse cells lie as they do there."""

LEAST_SIDE = 128
"""Of a box, in pixels: in less, as around the top of a head, networks see things that they do not see in the frame."""


def lit_box(flair: Float32) -> Box | None:
    """The box around all that is not dark in a slice.

    Args:
        flair: (height, width), normalised so that dark is 0 and bright is 1; sides are multiples of `STEP`.

    Returns:
        Within the slice, its sides multiples of `STEP` and where the slice is as large at least `LEAST_SIDE`; None
        where all is dark.
    """
    lit = flair > DARK
    rows = np.flatnonzero(np.count_nonzero(lit, axis=1) >= LEAST_PIXELS)
    columns = np.flatnonzero(np.count_nonzero(lit, axis=0) >= LEAST_PIXELS)
    if not len(rows) or not len(columns):
        return None
    height, width = flair.shape
    return Box(*_widened(rows, height), *_widened(columns, width))


def _widened(places: np.ndarray[tuple[int], np.dtype[np.intp]], length: int) -> tuple[int, int]:
    """First and one past the last, with the margin, as a multiple of `STEP`, within 0 to `length`."""
    first, last = max(0, int(places[0]) - MARGIN), min(length, int(places[-1]) + 1 + MARGIN)
    begin = first // PHASE * PHASE
    size = min(length, max(LEAST_SIDE, -(-(last - begin) // STEP) * STEP))
    spare = size - (last - begin)
    begin = min(max(0, begin - spare // 2 // PHASE * PHASE), length - size)
    return begin, begin + size
