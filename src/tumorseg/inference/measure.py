"""Numbers about a mask, for the person who reads it."""

import numpy as np
from numpy.typing import NDArray

from tumorseg.postprocess import component_sizes, tumour_probability
from tumorseg.scan import Mask, Probabilities

MM3_PER_ML = 1000.0


def measure(
    mask: Mask,
    *,
    probability: Probabilities | None = None,
    spacing: tuple[float, float, float] | None = None,
) -> dict[str, float]:
    """Measure a mask.

    Args:
        mask: (slices, height, width) uint8; all classes count as tumour.
        probability: the same shape, with an axis of classes behind where there are several; 0 to 1.
        spacing: millimetres between slices, rows and columns; without it nothing is given in millilitres.

    Returns:
        tumour_voxels, tumour_slices, largest_slice_pixels, components (3D, 26-connected) and
        largest_component_voxels; mean_probability inside the mask (NaN where it is empty) where `probability` is
        given; tumour_ml where `spacing` is.
    """
    areas = slice_areas(mask)
    sizes = component_sizes(mask)
    voxels = int(areas.sum())
    numbers: dict[str, float] = {
        "tumour_voxels": voxels,
        "tumour_slices": int(np.count_nonzero(areas)),
        "largest_slice_pixels": int(areas.max(initial=0)),
        "components": len(sizes),
        "largest_component_voxels": int(sizes.max(initial=0)),
    }
    if probability is not None:
        total = sum(
            float(tumour_probability(values)[frame != 0].sum(dtype=np.float64))
            for values, frame in zip(probability, mask, strict=True)
        )
        numbers["mean_probability"] = total / voxels if voxels else float("nan")
    if spacing is not None:
        numbers["tumour_ml"] = voxels * float(np.prod(spacing)) / MM3_PER_ML
    return numbers


def slice_areas(mask: Mask) -> NDArray[np.int64]:
    """Tumour pixels of each slice."""
    return np.array([np.count_nonzero(frame) for frame in mask], np.int64)
