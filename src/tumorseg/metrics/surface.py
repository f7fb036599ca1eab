"""How far the borders of two masks lie apart: distances from each border to the other, and the scores they give.

A border voxel is a voxel of the mask with a face neighbour outside it, where beyond the image is outside: the mask
without its erosion by the cross, as in MONAI's `get_mask_edges`. Both scores agree with MONAI's
`compute_hausdorff_distance(percentile=95)` and `compute_surface_dice(use_subvoxels=False)` where one pair of masks
is judged. MONAI computes in 32-bit floats. SimpleITK's `LabelContourImageFilter` draws the same borders except at
the edge of the image, beyond which it sees no outside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.metrics.overlap import same_volumes

PERCENTILE = 95.0
TOLERANCE = 2.0
"""Of the surface Dice: millimetres, or pixels where the spacing is unknown."""

_SLACK = 1e-6
"""What a distance may exceed the tolerance by: 5 steps of 0.4 mm are 2 mm, whatever the last bit says."""

Distances = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """From every border voxel of one mask to the nearest border voxel of the other; infinite where there is none.

    Attributes:
        to_reference: (border voxels of the prediction,), millimetres or pixels.
        to_predicted: (border voxels of the reference,), the same unit.
        predicted_slice, reference_slice: the slice of each of them, from 0.
    """

    to_reference: Distances
    to_predicted: Distances
    predicted_slice: NDArray[np.intp]
    reference_slice: NDArray[np.intp]

    def hausdorff(self, percentile: float = PERCENTILE) -> float:
        """The larger of the two directed percentiles of the finite distances (Huttenlocher 1993).

        Distances between two ranks are interpolated. NaN where no distance is finite: one of the masks is empty, or
        in the plane, the two share no slice.
        """
        return _hausdorff(self.to_reference, self.to_predicted, percentile)

    def surface_dice(self, tolerance: float = TOLERANCE) -> float:
        """Share of all border voxels of both masks that lie within the tolerance of the other (Nikolov 2018).

        0 where one of the masks is empty, NaN where both are.
        """
        return _surface_dice(self.to_reference, self.to_predicted, tolerance)

    def by_slice(self, slices: int, tolerance: float = TOLERANCE) -> tuple[Distances, Distances]:
        """Hausdorff distance and surface Dice of each slice, (slices,) both; for distances in the plane."""
        hausdorff, shares = np.full(slices, np.nan), np.full(slices, np.nan)
        predicted, reference = (_bounds(one, slices) for one in (self.predicted_slice, self.reference_slice))
        for index in range(slices):
            there = self.to_reference[predicted[index] : predicted[index + 1]]
            back = self.to_predicted[reference[index] : reference[index + 1]]
            if there.size or back.size:
                hausdorff[index] = _hausdorff(there, back, PERCENTILE)
                shares[index] = _surface_dice(there, back, tolerance)
        return hausdorff, shares

    @classmethod
    def joined(cls, parts: "Sequence[SurfaceDistances]") -> "SurfaceDistances":
        """Those of several scans of one patient, for scores over all of them; slices keep their numbers."""
        return cls(
            np.concatenate([part.to_reference for part in parts]),
            np.concatenate([part.to_predicted for part in parts]),
            np.concatenate([part.predicted_slice for part in parts]),
            np.concatenate([part.reference_slice for part in parts]),
        )


def surface_distances(
    predicted: NDArray[Any], reference: NDArray[Any], spacing: tuple[float, float, float] | None = None
) -> SurfaceDistances:
    """Distances between the borders of two masks.

    With a spacing, and of more than one slice, borders and distances are in space, in millimetres. Else both are in
    the plane of each slice by itself: in pixels without a spacing, in millimetres for a lone slice with one.

    Args:
        predicted: (slices, height, width), bool or class index; whatever is not 0 is tumour.
        reference: the same shape.
        spacing: millimetres between slices, rows and columns.

    Raises:
        ShapeMismatch: the shapes differ, or the arrays are not three-dimensional.
    """
    same_volumes(predicted, reference)
    in_plane = spacing is None or len(predicted) == 1
    found, true = predicted != 0, reference != 0
    corner, (found, true) = _cropped(found, true)
    points = tuple(np.argwhere(borders(mask, in_plane=in_plane)) for mask in (found, true))
    scale = np.array((1.0, 1.0, 1.0) if spacing is None else spacing)
    if in_plane:
        # Slices further apart than any two points of one slice: the nearest point is of the same slice.
        scale[0] = 2 * math.hypot(*(size * step for size, step in zip(found.shape[1:], scale[1:], strict=True))) + 1
    lengths = []
    for one, other in (points, points[::-1]):
        distance = np.full(len(one), np.inf)
        reached = np.isin(one[:, 0], other[:, 0]) if in_plane else np.full(len(one), len(other) > 0)
        if reached.any():
            distance[reached] = _nearest(one[reached] * scale, other * scale)
        lengths.append(distance)
    return SurfaceDistances(lengths[0], lengths[1], points[0][:, 0] + corner, points[1][:, 0] + corner)


def borders(mask: NDArray[np.bool_], *, in_plane: bool) -> NDArray[np.bool_]:
    """Voxels of a mask with a face neighbour outside it; beyond the image is outside.

    Args:
        mask: (slices, height, width) bool.
        in_plane: look at the four neighbours in the slice alone.
    """
    inner = mask.copy()
    for axis in (1, 2) if in_plane else (0, 1, 2):
        kept, whole = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        kept[1:] &= whole[:-1]
        kept[:-1] &= whole[1:]
        kept[:1] = False
        kept[-1:] = False
    return mask & ~inner


def _cropped(*masks: NDArray[np.bool_]) -> tuple[int, tuple[NDArray[np.bool_], ...]]:
    """The box that holds all of the masks, and the slice it begins with; outside it nothing is marked."""
    union = np.logical_or.reduce(masks)
    if not union.any():
        return 0, tuple(mask[:0] for mask in masks)
    box = []
    for axis in range(3):
        held = np.flatnonzero(union.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return box[0].start, tuple(mask[tuple(box)] for mask in masks)


def _nearest(points: Distances, others: Distances) -> Distances:
    from scipy.spatial import KDTree

    distance, _ = KDTree(others).query(points)
    return np.asarray(distance, np.float64)


def _bounds(slice_of: NDArray[np.intp], slices: int) -> list[int]:
    """Where each slice begins in a rising list of slices, and where the last one ends."""
    return [int(place) for place in np.searchsorted(slice_of, np.arange(slices + 1))]


def _hausdorff(there: Distances, back: Distances, percentile: float) -> float:
    finite = [distance[np.isfinite(distance)] for distance in (there, back)]
    if not all(distance.size for distance in finite):
        return math.nan
    return max(float(np.percentile(distance, percentile)) for distance in finite)


def _surface_dice(there: Distances, back: Distances, tolerance: float) -> float:
    total = there.size + back.size
    within = sum(int(np.count_nonzero(distance <= tolerance + _SLACK)) for distance in (there, back))
    return within / total if total else math.nan
