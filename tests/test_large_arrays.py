"""Memory of large arrays: it stays while a network trains, and only then."""

import ctypes
import resource

import pytest
import torch

from tumorseg.training.memory import large_arrays_kept

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")


def faults() -> int:
    """Pages that the kernel hands out for three large arrays, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_large_array_takes_the_place_of_the_last_one_while_a_network_trains() -> None:
    with large_arrays_kept():
        for _ in range(5):  # until there is room for all at once
            kept = faults()
    assert kept < faults() / 10
