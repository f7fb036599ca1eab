"""Memory of large arrays that stays with the process while a network trains."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of malloc.h of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER, _NONE = -1, 0
_USUAL_MAPPED = 65536
_LARGEST_MAPPED = 32 * 2**20
"""Up to which size glibc itself learns to keep arrays; who sets any of these values ends its learning."""


@contextmanager
def large_arrays_kept() -> Iterator[None]:
    """Let the C library keep what large arrays leave, and give it to the next ones.

    glibc maps each array of more than 32 MiB anew and unmaps it at its end, so that the kernel clears every page of a
    batch again for each change to it. What a step needs the next one needs, too. Where the C library is another one,
    nothing is changed.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt, trim = getattr(libc, "mallopt", None), getattr(libc, "malloc_trim", None)
    if mallopt is None or trim is None:
        yield
        return
    mallopt(_MMAP_MAX, _NONE)
    mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, _USUAL_MAPPED)
        mallopt(_MMAP_THRESHOLD, _LARGEST_MAPPED)
        mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_MAPPED)
        trim(0)
