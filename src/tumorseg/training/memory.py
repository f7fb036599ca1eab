"""Memory of large arrays that stays with the process while a network trains."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of malloc.h of glibc, with the values that it starts with.
_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD = -1, 128 * 1024
_MMAP_MAX, _USUAL_MMAP_MAX = -4, 65536
_NEVER, _NONE = -1, 0


@contextmanager
def large_arrays_kept() -> Iterator[None]:
    """Let the C library keep what large arrays leave, and give it to the next ones.

    glibc maps each array of some megabytes anew and unmaps it at its end, so that the kernel clears every page of every
    intermediate result of every step: a fifth of a step's time on a CPU. What a step needs the next one needs, too.
    Where the C library is another one, nothing is changed.
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
        mallopt(_MMAP_MAX, _USUAL_MMAP_MAX)
        mallopt(_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD)
        trim(0)
