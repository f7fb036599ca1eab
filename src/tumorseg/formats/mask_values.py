"""What the values of a stored mask may be, whatever its format."""

from pathlib import Path

import numpy as np

from tumorseg.errors import FormatError
from tumorseg.scan import Mask, Pixels


def single_channel(path: Path, stored: Pixels) -> Mask:
    """A mask's values as stored, (slices, height, width) uint8.

    Args:
        path: of the file, for errors.
        stored: (slices, height, width, channels); one channel, or three or four of which the first three are equal.

    Raises:
        FormatError: channels that differ, or values that are no whole numbers from 0 to 255.
    """
    channels = stored.shape[-1]
    equal = channels in (3, 4) and all(np.array_equal(stored[..., 0], stored[..., other]) for other in (1, 2))
    if channels != 1 and not equal:
        raise FormatError(
            f"{path} has {channels} channels, not 1", next_step="store a mask as one channel of class numbers"
        )
    values = stored[..., 0]
    labels: Mask = values.astype(np.uint8)
    if not np.array_equal(labels, values):
        raise FormatError(f"{path} holds values that are no class numbers", next_step="store 0 and 255, or 0, 1, 2, …")
    return labels


def binary(path: Path, labels: Mask) -> Mask:
    """A mask of one class as 0 and 1.

    Raises:
        FormatError: it holds grey values.
    """
    top = labels.max(initial=0)
    if np.any((labels != 0) & (labels != top)):
        raise FormatError(f"{path} holds grey values, not 0 and 255", next_step="threshold the mask at 128")
    mask: Mask = (labels != 0).astype(np.uint8)
    return mask
