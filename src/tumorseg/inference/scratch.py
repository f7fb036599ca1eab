"""Arrays that lie in memory while they are small and in an unnamed file on the disk when they are not."""

import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tumorseg.errors import OutputError

BUDGET_BYTES = 256 * 2**20


def allocate(shape: Sequence[int], dtype: DTypeLike, *, budget: int = BUDGET_BYTES) -> NDArray[Any]:
    """An array of zeros; above `budget` bytes it is mapped to a temporary file that vanishes with it.

    Raises:
        OutputError: the disk of the temporary folder is full.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= budget:
        return np.zeros(tuple(shape), dtype)
    with tempfile.TemporaryFile(prefix="tumorseg-") as file:
        try:
            # Space is taken now: a mapped page that finds the disk full would end the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()} has no room for {size / 2**30:.1f} GiB of intermediate results",
                next_step="free some space, or name another folder in the environment variable TMPDIR",
            ) from error
        return np.memmap(file, dtype, "r+", shape=tuple(shape))
