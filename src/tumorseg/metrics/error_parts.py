"""What kind of error each wrong voxel is, by rules that leave none out and count none twice."""

from dataclasses import astuple, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorseg.metrics.lesions import Labels, label_lesions, lesion_overlap
from tumorseg.metrics.overlap import same_volumes
from tumorseg.metrics.surface import borders

BAND = 2
"""Pixels from the reference's border within which an error is one of its outline."""


@dataclass(frozen=True)
class ErrorParts:
    """Wrong voxels by kind; together they are the false negatives and false positives. Sums with `+`.

    Attributes:
        missed: of reference lesions that the prediction does not touch at all.
        elsewhere: of predicted components that touch no reference.
        boundary: of the rest, within two pixels in the plane of the reference's border.
        too_little: of the rest, tumour that is not marked.
        too_much: of the rest, marked and no tumour.
    """

    missed: int = 0
    elsewhere: int = 0
    boundary: int = 0
    too_little: int = 0
    too_much: int = 0

    def __add__(self, other: "ErrorParts") -> "ErrorParts":
        return ErrorParts(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def total(self) -> int:
        """All wrong voxels."""
        return sum(astuple(self))


def error_parts(
    predicted: NDArray[Any],
    reference: NDArray[Any],
    lesions: tuple[tuple[Labels, int], tuple[Labels, int]] | None = None,
) -> ErrorParts:
    """Sort the wrong voxels of a scan by kind.

    Args:
        predicted: (slices, height, width), bool or class index.
        reference: the same shape.
        lesions: what `label_lesions` gives of the two, where that is known.

    Raises:
        ShapeMismatch: the shapes differ, or the arrays are not three-dimensional.
    """
    same_volumes(predicted, reference)
    found, true = predicted != 0, reference != 0
    (found_labels, _), (true_labels, _) = one, other = lesions or (label_lesions(found), label_lesions(true))
    overlap = lesion_overlap(one, other)
    untouched = np.flatnonzero(~overlap[1:, :].any(axis=0) if len(overlap) > 1 else np.ones(overlap.shape[1], bool))
    missed_lesions = untouched[untouched > 0]
    stray = np.flatnonzero(~overlap[:, 1:].any(axis=1) if overlap.shape[1] > 1 else np.ones(len(overlap), bool))
    stray_lesions = stray[stray > 0]
    negative, positive = true & ~found, found & ~true
    missed = int(np.count_nonzero(np.isin(true_labels, missed_lesions) & negative)) if missed_lesions.size else 0
    elsewhere = int(np.count_nonzero(np.isin(found_labels, stray_lesions) & positive)) if stray_lesions.size else 0
    if missed_lesions.size:
        negative &= ~np.isin(true_labels, missed_lesions)
    if stray_lesions.size:
        positive &= ~np.isin(found_labels, stray_lesions)
    near = _band(true, np.flatnonzero((negative | positive).any(axis=(1, 2))))
    boundary = int(np.count_nonzero((negative | positive) & near))
    return ErrorParts(
        missed=missed,
        elsewhere=elsewhere,
        boundary=boundary,
        too_little=int(np.count_nonzero(negative & ~near)),
        too_much=int(np.count_nonzero(positive & ~near)),
    )


def _band(mask: NDArray[np.bool_], slices: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Within reach of the border, in these slices; elsewhere false."""
    rows, columns = np.mgrid[-BAND : BAND + 1, -BAND : BAND + 1]
    disc = (rows**2 + columns**2 <= BAND**2).astype(np.uint8)
    near = np.zeros(mask.shape, bool)
    outline = borders(mask[slices], in_plane=True).astype(np.uint8)
    for index, line in zip(slices, outline, strict=True):
        near[index] = cv2.dilate(line, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0) != 0
    return near
