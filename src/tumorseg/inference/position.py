"""Where in the scan, and where in the patient, a tumour lies."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tumorseg.postprocess import tumour_box
from tumorseg.scan import Geometry, Mask, Pixels

MIDLINE_MM = 5.0
"""A centroid within this distance of the middle of the head is on neither side."""

_HEAD_WIDTHS_MM = (100.0, 230.0)
"""What is narrower is a part of a head, what is wider is more than one; neither tells where the middle is."""

_BRIGHT = 0.12
_MOST_VOXELS = 500_000


def position(mask: Mask, *, geometry: Geometry | None = None, pixels: Pixels | None = None) -> dict[str, float]:
    """Where the middle of a tumour lies.

    Args:
        mask: (slices, height, width) uint8, not empty.
        geometry: of its voxels.
        pixels: of the scan, (slices, height, width, channels).

    Returns:
        centroid_slice, centroid_row and centroid_column, from 0. With a geometry centroid_x_mm, centroid_y_mm and
        centroid_z_mm, towards the patient's right, front and top; with pixels as well, where these show a whole
        head's width, left_of_middle_mm: how far to the patient's left of the middle of the head, negative to its
        right.
    """
    box = tumour_box(mask)
    assert box is not None  # the mask is not empty
    centre = np.mean(np.argwhere(mask[box]), axis=0) + [part.start for part in box]
    numbers = dict(zip(("centroid_slice", "centroid_row", "centroid_column"), map(float, centre), strict=True))
    if geometry is None:
        return numbers
    world = (geometry.affine @ [*centre, 1.0])[:3]
    numbers |= dict(zip(("centroid_x_mm", "centroid_y_mm", "centroid_z_mm"), map(float, world), strict=True))
    middle = None if pixels is None else _middle_of_head(pixels, geometry.affine)
    if middle is not None:
        numbers["left_of_middle_mm"] = middle - float(world[0])
    return numbers


def side(numbers: Mapping[str, float]) -> str:
    """Give "left" or "right" of the patient, "middle", or "" where it is unknown; from what `position` gives."""
    offset = numbers.get("left_of_middle_mm")
    if offset is None:
        return ""
    return "middle" if abs(offset) <= MIDLINE_MM else "left" if offset > 0 else "right"


def _middle_of_head(pixels: Pixels, affine: NDArray[np.float64]) -> float | None:
    """World x halfway between the ends of what is bright; None where that is not as wide as a head."""
    channel = pixels[..., min(1, pixels.shape[-1] - 1)]
    step = max(1, round((channel.size / _MOST_VOXELS) ** (1 / 3)))
    sparse = channel[::step, ::step, ::step].astype(np.float32)
    dark = float(sparse.min())
    places = np.argwhere(sparse > dark + _BRIGHT * (float(np.percentile(sparse, 99)) - dark)) * step
    if not len(places):
        return None
    ends = np.percentile(places @ affine[0, :3] + affine[0, 3], (0.5, 99.5))
    low, high = map(float, ends)
    return (low + high) / 2 if _HEAD_WIDTHS_MM[0] <= high - low <= _HEAD_WIDTHS_MM[1] else None
