"""From probabilities to a mask. Pure functions, NumPy in and NumPy out; SciPy is loaded when it is needed."""

import numpy as np
from numpy.typing import NDArray

from tumorseg.scan import Mask, Probabilities


def postprocess(
    probability: Probabilities,
    *,
    threshold: float,
    min_component_voxels: int = 0,
    fill_holes: bool = False,
) -> Mask:
    """Threshold, then fill holes, then drop small components.

    Args:
        probability: (slices, height, width), 0 to 1.
        threshold: a voxel is tumour where its probability is above this.
        min_component_voxels: see `drop_small_components`; 0 keeps all.
        fill_holes: see `fill_slice_holes`.

    Returns:
        (slices, height, width) uint8, 0 and 1.
    """
    mask = apply_threshold(probability, threshold)
    if fill_holes:
        mask = fill_slice_holes(mask)
    return drop_small_components(mask, min_component_voxels)


def apply_threshold(probability: Probabilities, threshold: float) -> Mask:
    """1 where the probability is above `threshold`, else 0; (slices, height, width) uint8."""
    mask = np.empty(probability.shape, np.uint8)
    for target, values in zip(mask, probability, strict=True):
        # Compared in float32: in float16 the threshold itself would be rounded.
        np.greater(values.astype(np.float32), np.float32(threshold), out=target.view(np.bool_))
    return mask


def drop_small_components(mask: Mask, min_voxels: int) -> Mask:
    """Remove 3D components (26-connected) of fewer than `min_voxels` voxels; 0 and 1 keep all.

    Args:
        mask: (slices, height, width) uint8, 0 and 1.
    """
    box = tumour_box(mask)
    if min_voxels <= 1 or box is None:
        return mask
    labels, sizes = _label(mask[box])
    kept = sizes >= min_voxels
    kept[0] = False
    cleaned = np.zeros_like(mask)
    cleaned[box] = kept[labels]
    return cleaned


def fill_slice_holes(mask: Mask) -> Mask:
    """Fill holes that tumour closes within a slice (background 4-connected).

    Args:
        mask: (slices, height, width) uint8, 0 and 1.
    """
    box = tumour_box(mask)
    if box is None:
        return mask
    from scipy import ndimage

    filled = mask.copy()
    for target in filled[box]:
        target[ndimage.binary_fill_holes(target)] = 1
    return filled


def component_sizes(mask: Mask) -> NDArray[np.int64]:
    """Voxels of each 3D component (26-connected), the largest first."""
    box = tumour_box(mask)
    if box is None:
        return np.zeros(0, np.int64)
    return np.sort(_label(mask[box])[1][1:])[::-1]


def tumour_box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds all tumour; None where there is none."""
    deep = np.flatnonzero(mask.any(axis=(1, 2)))
    if deep.size == 0:
        return None
    flat = np.asarray(mask.any(axis=0))
    down, across = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    return (
        slice(int(deep[0]), int(deep[-1]) + 1),
        slice(int(down[0]), int(down[-1]) + 1),
        slice(int(across[0]), int(across[-1]) + 1),
    )


def _label(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Component of each voxel, 0 outside, and the size of each component, the background's first."""
    from scipy import ndimage

    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, structure=np.ones((3, 3, 3)), output=labels)
    return labels, np.bincount(labels.ravel()).astype(np.int64)
