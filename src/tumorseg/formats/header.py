"""What a file says of itself before it is unpacked, whatever its format."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Header:
    """Shape and type of the pixels in one file.

    Attributes:
        slices, height, width, channels: the shape.
        dtype: of the stored values.
    """

    slices: int
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(slices, height, width, channels)."""
        return self.slices, self.height, self.width, self.channels

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice, unpacked."""
        return self.height * self.width * self.channels * self.dtype.itemsize
