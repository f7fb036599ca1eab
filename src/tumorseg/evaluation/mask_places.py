"""Two masks of one scan on one grid: a DICOM-SEG holds only the slices in which something is marked."""

import numpy as np

from tumorseg.formats.volume import SAME_PLACE, same_place
from tumorseg.scan import Geometry, Mask


def on_common_grid(
    labels: Mask, own: Geometry | None, reference: Mask, grid: Geometry | None, *, partial: bool
) -> tuple[Mask, Mask]:
    """Lay a mask into its reference's grid, empty in the slices that its file leaves out; as it is where that fails.

    Args:
        labels: the mask, (slices, height, width).
        own: where its voxels lie.
        reference: (slices, height, width).
        grid: where its voxels lie.
        partial: whether the reference's file leaves out slices too; it is then filled up as well.

    Returns:
        The mask and the reference.
    """
    start = _first_slice(labels, own, reference, grid)
    if start is None:
        return labels, reference
    low, high = min(0, start), max(len(reference), start + len(labels))
    if high - low > len(reference) and not partial:
        return labels, reference
    shape = (high - low, *reference.shape[1:])
    placed, filled = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    placed[start - low : start - low + len(labels)] = labels
    filled[-low : -low + len(reference)] = reference
    return placed, filled


def _first_slice(labels: Mask, own: Geometry | None, reference: Mask, grid: Geometry | None) -> int | None:
    """The reference's slice on which the mask's first lies; None where the two are not of one lattice."""
    if own is None or grid is None or labels.shape[1:] != reference.shape[1:] or not (len(labels) and len(reference)):
        return None
    first = float((np.linalg.inv(grid.affine) @ own.affine[:, 3])[0])
    start = round(first)
    if abs(first - start) > SAME_PLACE:
        return None
    begins = grid.affine.copy()
    begins[:, 3] = grid.affine @ np.array([start, 0, 0, 1])
    return start if same_place(own, Geometry(begins), labels.shape) else None
