"""What is measured of one scan beyond counts of voxels: borders, lesions, kinds of error, volume, calibration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.metrics.calibration import Reliability, expected_dice, reliability
from tumorseg.metrics.error_parts import ErrorParts, error_parts
from tumorseg.metrics.lesions import LesionCounts, label_lesions, match_labels
from tumorseg.metrics.surface import SurfaceDistances, surface_distances

MM3_PER_ML = 1000.0


@dataclass(frozen=True, eq=False)
class Measures:
    """Of one scan, or joined of all scans of a patient; of the tumour or of one class.

    Attributes:
        in_pixels: border distances in the plane of each slice.
        in_millimetres: border distances where every scan's spacing is known, else None.
        lesions: found, marked and there.
        errors: wrong voxels by kind.
        millilitres: predicted and reference volume where every scan's spacing is known, else None.
        one_sided_slices: slices in which exactly one of the two masks is empty.
        reliability: None where there are no probabilities.
        expected: numerator and denominator of the Dice that the model expects of itself; None likewise.
    """

    in_pixels: SurfaceDistances
    in_millimetres: SurfaceDistances | None
    lesions: LesionCounts
    errors: ErrorParts
    millilitres: tuple[float, float] | None
    one_sided_slices: int
    reliability: Reliability | None = None
    expected: tuple[float, float] | None = None

    @property
    def expected_dice(self) -> float:
        """The Dice that the model expects of its own mask; NaN without probabilities."""
        if self.expected is None or not self.expected[1]:
            return math.nan
        return self.expected[0] / self.expected[1]

    @classmethod
    def joined(cls, parts: "Sequence[Measures]") -> "Measures":
        """Those of several scans of one patient together."""
        if len(parts) == 1:
            return parts[0]
        spaces = [part.in_millimetres for part in parts if part.in_millimetres is not None]
        volumes = [part.millilitres for part in parts if part.millilitres is not None]
        reliabilities = [part.reliability for part in parts if part.reliability is not None]
        sums = [part.expected for part in parts if part.expected is not None]
        return cls(
            in_pixels=SurfaceDistances.joined([part.in_pixels for part in parts]),
            in_millimetres=SurfaceDistances.joined(spaces) if len(spaces) == len(parts) else None,
            lesions=sum((part.lesions for part in parts), LesionCounts()),
            errors=sum((part.errors for part in parts), ErrorParts()),
            millilitres=_summed(volumes) if len(volumes) == len(parts) else None,
            one_sided_slices=sum(part.one_sided_slices for part in parts),
            reliability=Reliability.joined(reliabilities) if len(reliabilities) == len(parts) else None,
            expected=_summed(sums) if len(sums) == len(parts) else None,
        )


def measure_scan(
    predicted: NDArray[Any],
    reference: NDArray[Any],
    spacing: tuple[float, float, float] | None = None,
    *,
    probability: NDArray[Any] | None = None,
    inside: NDArray[np.bool_] | None = None,
) -> Measures:
    """Measure one scan.

    Args:
        predicted: (slices, height, width), bool or class index; whatever is not 0 is tumour.
        reference: the same shape.
        spacing: millimetres between slices, rows and columns; None where unknown.
        probability: of tumour, the same shape; None where there are none.
        inside: the same shape, bool: the voxels that calibration counts; needed with `probability`.

    Raises:
        ShapeMismatch: the shapes differ.
    """
    found, true = predicted != 0, reference != 0
    in_pixels = surface_distances(found, true)
    lesions = label_lesions(found), label_lesions(true)
    voxel = None if spacing is None else float(np.prod(spacing)) / MM3_PER_ML
    return Measures(
        in_pixels=in_pixels,
        in_millimetres=None if spacing is None else surface_distances(found, true, spacing),
        lesions=match_labels(*lesions),
        errors=error_parts(found, true, lesions),
        millilitres=None if voxel is None else (float(found.sum()) * voxel, float(true.sum()) * voxel),
        one_sided_slices=int(np.count_nonzero(found.any(axis=(1, 2)) != true.any(axis=(1, 2)))),
        reliability=None if probability is None or inside is None else reliability(probability, true, inside),
        expected=None if probability is None else expected_dice(probability, found),
    )


def _summed(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
