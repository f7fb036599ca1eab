"""Where the head is: calibration is measured there, since nobody doubts that the air around it is no tumour."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def head_mask(grey: NDArray[Any]) -> NDArray[np.bool_]:
    """The largest component above the scan's Otsu threshold, with what it encloses in each slice filled.

    Args:
        grey: (slices, height, width), any real dtype; what is not 8-bit is brought there between its smallest and
            its largest value.

    Returns:
        The same shape, bool; all of it where no value stands out.
    """
    from scipy import ndimage

    bytes_ = _eight_bits(grey)
    if bytes_.size == 0 or bytes_.min() == bytes_.max():
        return np.ones(grey.shape, bool)
    threshold, _ = cv2.threshold(bytes_.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    labels = np.zeros(grey.shape, np.int32)
    ndimage.label(bytes_ > threshold, output=labels)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = labels == int(sizes.argmax())
    return np.stack([_filled(frame) for frame in largest])


def _filled(frame: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All that cannot be reached from outside the picture in steps along rows and columns."""
    outside = np.pad(frame.astype(np.uint8), 1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return np.asarray(outside[1:-1, 1:-1] != 2)


def _eight_bits(grey: NDArray[Any]) -> NDArray[np.uint8]:
    if grey.dtype == np.uint8:
        return np.ascontiguousarray(grey)
    values = grey.astype(np.float64)
    low, high = (float(end(values)) for end in (np.min, np.max))
    return np.asarray(np.round((values - low) * (255 / ((high - low) or 1.0))), np.uint8)
