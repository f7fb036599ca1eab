"""Numbers about a mask, for the person who reads it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.inference.position import position
from tumorseg.postprocess import component_sizes, tumour_probability
from tumorseg.scan import Geometry, Mask, Pixels, Probabilities

MM3_PER_ML = 1000.0

SURROUNDINGS = 5
"""Pixels around the mask, within each slice, over which the uncertainty is averaged together with the mask."""

ENTROPY_FORMULA = (
    "mean over the mask and the pixels within 5 of it in its slice of -p log2(p) - (1-p) log2(1-p), p the probability "
    "of tumour; 0 is certain, 1 is undecided"
)

EXPECTED_FORMULA = (
    "the Dice that the model expects of its mask: 2 S(mask) / (voxels of the mask + S(all)), S the sum of the "
    "probabilities of tumour above 0.05; without calibrated probabilities it is too high"
)
FLIP_FORMULA = (
    "1 minus the Dice of the masks (before cleaning) of the plain image and of its mirror image, of several the mean; "
    "0 is agreement"
)
FAINT = 0.05
"""Probabilities at or below count as none: a whole head of them would outweigh a small tumour."""

_SPHERE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * SURROUNDINGS + 1, 2 * SURROUNDINGS + 1))
_EDGES = np.array([[[0.5, 0]], [[-0.5, 0]], [[0, 0.5]], [[0, -0.5]]], np.float32)


@dataclass(frozen=True)
class SliceMeasures:
    """Numbers of each slice, as tuples as long as the scan has slices.

    Attributes:
        pixels: tumour pixels.
        areas: mm²; empty where the spacing is unknown.
        diameters: see `largest_diameter`; mm, or pixels where the spacing is unknown.
    """

    pixels: tuple[int, ...]
    areas: tuple[float, ...]
    diameters: tuple[float, ...]


def measure(
    mask: Mask,
    *,
    probability: Probabilities | None = None,
    spacing: tuple[float, float, float] | None = None,
    geometry: Geometry | None = None,
    pixels: Pixels | None = None,
) -> dict[str, float]:
    """Measure a mask.

    Args:
        mask: (slices, height, width) uint8; all classes count as tumour.
        probability: the same shape, with an axis of classes behind where there are several; 0 to 1.
        spacing: millimetres between slices, rows and columns; without it nothing is given in millimetres; None takes
            that of the geometry.
        geometry: where the voxels lie in the patient.
        pixels: of the scan, (slices, height, width, channels), by which the middle of the head is found.

    Returns:
        tumour_voxels, tumour_slices, largest_slice_pixels, components (3D, 26-connected), largest_component_voxels
        and largest_diameter_pixels (within a slice); where there is tumour its centroid_slice, centroid_row and
        centroid_column, from 0. With `probability`: mean_probability inside the mask and mean_entropy (see
        `ENTROPY_FORMULA`) and expected_dice (see `EXPECTED_FORMULA`), NaN where it is empty, and max_probability
        anywhere. With a spacing: tumour_ml,
        largest_slice_mm2 and largest_diameter_mm. With a geometry: see `position`.
    """
    if spacing is None and geometry is not None:
        spacing = geometry.spacing
    areas = slice_areas(mask)
    sizes = _component_sizes(mask)
    voxels = int(areas.sum())
    numbers: dict[str, float] = {
        "tumour_voxels": voxels,
        "tumour_slices": int(np.count_nonzero(areas)),
        "largest_slice_pixels": int(areas.max(initial=0)),
        "components": len(sizes),
        "largest_component_voxels": int(sizes.max(initial=0)),
        "largest_diameter_pixels": max((largest_diameter(frame) for frame in mask), default=0.0),
    }
    if probability is not None:
        numbers |= _certainty(mask, probability, voxels)
    if spacing is not None:
        slices, rows, columns = spacing
        numbers["tumour_ml"] = voxels * slices * rows * columns / MM3_PER_ML
        numbers["largest_slice_mm2"] = numbers["largest_slice_pixels"] * rows * columns
        numbers["largest_diameter_mm"] = max((largest_diameter(frame, (rows, columns)) for frame in mask), default=0.0)
    if voxels:
        numbers |= position(mask, geometry=geometry, pixels=pixels)
    return numbers


def measure_slices(mask: Mask, *, spacing: tuple[float, float, float] | None = None) -> SliceMeasures:
    """The numbers of each slice; see `measure`."""
    pixels = tuple(map(int, slice_areas(mask)))
    plane = (1.0, 1.0) if spacing is None else spacing[1:]
    areas = () if spacing is None else tuple(count * plane[0] * plane[1] for count in pixels)
    return SliceMeasures(pixels, areas, tuple(largest_diameter(frame, plane) for frame in mask))


def slice_areas(mask: Mask) -> NDArray[np.int64]:
    """Tumour pixels of each slice."""
    return np.array([np.count_nonzero(frame) for frame in mask], np.int64)


def largest_diameter(frame: NDArray[np.uint8], spacing: Sequence[float] = (1.0, 1.0)) -> float:
    """The greatest caliper width (maximum Feret diameter) of any one area in a slice, from pixel edge to pixel edge.

    Args:
        frame: (height, width) uint8, 0 is background; areas hang together by corners.
        spacing: between rows and columns; the result has its unit.

    Returns:
        0 where the slice is empty, 1 for a lone pixel.
    """
    if not frame.any():
        return 0.0
    contours, _ = cv2.findContours((frame != 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    scale = np.array([spacing[1], spacing[0]], np.float32)
    widest = 0.0
    for contour in contours:
        ends = (contour.reshape(1, -1, 2).astype(np.float32) + _EDGES).reshape(-1, 2) * scale
        hull = np.asarray(cv2.convexHull(ends)).reshape(-1, 2).astype(np.float64)
        apart = hull[:, None] - hull[None]
        widest = max(widest, float(np.sqrt((apart**2).sum(axis=-1).max())))
    return widest


def _component_sizes(mask: Mask) -> NDArray[np.int64]:
    """As `component_sizes`; a lone slice needs no SciPy, whose import takes longer than the slice."""
    if len(mask) != 1:
        return component_sizes(mask)
    _, _, found, _ = cv2.connectedComponentsWithStats((mask[0] != 0).astype(np.uint8), connectivity=8)
    sizes: NDArray[np.int64] = np.sort(found[1:, cv2.CC_STAT_AREA].astype(np.int64))[::-1]
    return sizes


def _certainty(mask: Mask, probability: Probabilities, voxels: int) -> dict[str, float]:
    inside = entropy = highest = everywhere = 0.0
    around = 0
    for values, frame in zip(probability, mask, strict=True):
        tumour = tumour_probability(values)
        highest = max(highest, float(tumour.max(initial=0)))
        everywhere += float(tumour[tumour > FAINT].sum(dtype=np.float64))
        if not frame.any():
            continue
        marked = (frame != 0).astype(np.uint8)
        inside += float(tumour[marked != 0].sum(dtype=np.float64))
        near = tumour[np.asarray(cv2.dilate(marked, _SPHERE)) != 0]
        entropy += float(_entropy(near).sum(dtype=np.float64))
        around += near.size
    return {
        "mean_probability": inside / voxels if voxels else float("nan"),
        "max_probability": min(highest, 1.0),
        "mean_entropy": entropy / around if around else float("nan"),
        "expected_dice": min(2 * inside / (voxels + everywhere), 1.0) if voxels else float("nan"),
    }


def _entropy(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    """Binary entropy in bits; 0 at 0 and 1."""
    tiny = 1e-12
    sure = np.clip(probability.astype(np.float64), tiny, 1 - tiny)
    return np.asarray(-sure * np.log2(sure) - (1 - sure) * np.log2(1 - sure), np.float64)
