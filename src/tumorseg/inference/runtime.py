"""What computes a network: ONNX Runtime or torch, behind one call."""

import os
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Device = Literal["auto", "cpu", "cuda"]
Float32 = NDArray[np.float32]


class Runtime(Protocol):
    """A network that is ready to compute.

    Attributes:
        batch_size: slices that it is best given at once.
        lanes: calls that may be under way side by side, each in a thread of its own.
    """

    @property
    def batch_size(self) -> int: ...

    @property
    def lanes(self) -> int: ...

    def __call__(self, batch: Float32) -> Float32:
        """Logits (slices, classes, height, width) of normalised slices (slices, channels, height, width).

        What comes out for a slice does not depend on the slices beside it.
        """
        ...


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
