"""Which lesions are found: connected components of two masks, matched one to one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorseg.metrics.overlap import same_volumes

HIT_IOU = 0.1
"""IoU from which a predicted component counts as the reference's."""

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class LesionCounts:
    """Lesions that are marked, that are there, and that are both; sums over scans with `+`.

    Attributes:
        hits: reference lesions with a predicted one of their own.
        predicted, reference: components of either mask.
    """

    hits: int = 0
    predicted: int = 0
    reference: int = 0

    def __add__(self, other: "LesionCounts") -> "LesionCounts":
        return LesionCounts(self.hits + other.hits, self.predicted + other.predicted, self.reference + other.reference)

    @property
    def f1(self) -> float:
        """2·hits / (predicted + reference); NaN where there are none of either."""
        return _share(2 * self.hits, self.predicted + self.reference)

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that are one; NaN where there are none."""
        return _share(self.hits, self.predicted)

    @property
    def recall(self) -> float:
        """Share of the reference's lesions that are found; NaN where there are none."""
        return _share(self.hits, self.reference)


def label_lesions(mask: NDArray[Any]) -> tuple[Labels, int]:
    """Number the 26-connected components of a mask.

    Args:
        mask: (slices, height, width), bool or class index; whatever is not 0 is tumour.

    Returns:
        (slices, height, width) int32, 0 background and 1…N; and N.
    """
    from scipy import ndimage

    labels = np.zeros(mask.shape, np.int32)
    count = int(ndimage.label(mask != 0, structure=np.ones((3, 3, 3), bool), output=labels))
    return labels, count


def match_lesions(predicted: NDArray[Any], reference: NDArray[Any], *, iou: float = HIT_IOU) -> LesionCounts:
    """Match the components of two masks one to one, greedily by falling IoU.

    Args:
        predicted: (slices, height, width), bool or class index; components are 26-connected, of a lone slice
            8-connected.
        reference: the same shape.
        iou: from which two components match.

    Raises:
        ShapeMismatch: the shapes differ, or the arrays are not three-dimensional.
    """
    same_volumes(predicted, reference)
    return match_labels(label_lesions(predicted), label_lesions(reference), iou=iou)


def match_labels(predicted: tuple[Labels, int], reference: tuple[Labels, int], *, iou: float = HIT_IOU) -> LesionCounts:
    """The same of components that `label_lesions` has numbered; of equal IoU the lower numbers match first."""
    (found, predicted_count), (true, reference_count) = predicted, reference
    overlap = lesion_overlap(predicted, reference)
    size_found = np.bincount(found.ravel(), minlength=predicted_count + 1)
    size_true = np.bincount(true.ravel(), minlength=reference_count + 1)
    pairs = []
    for one, other in np.argwhere(overlap[1:, 1:]) + 1:
        shared = int(overlap[one, other])
        pairs.append((-shared / (int(size_found[one]) + int(size_true[other]) - shared), int(one), int(other)))
    taken: set[int] = set()
    matched: set[int] = set()
    for negative, one, other in sorted(pairs):
        if -negative >= iou and one not in taken and other not in matched:
            taken.add(one)
            matched.add(other)
    return LesionCounts(len(matched), predicted_count, reference_count)


def lesion_overlap(predicted: tuple[Labels, int], reference: tuple[Labels, int]) -> NDArray[np.int64]:
    """Voxels that each two components share, (predicted + 1, reference + 1); row and column 0 are the background."""
    (found, predicted_count), (true, reference_count) = predicted, reference
    codes = found.ravel().astype(np.int64) * (reference_count + 1) + true.ravel()
    counts = np.bincount(codes, minlength=(predicted_count + 1) * (reference_count + 1))
    return counts.astype(np.int64).reshape(predicted_count + 1, reference_count + 1)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
