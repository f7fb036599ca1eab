"""Reading while the network computes, and writing too, in a bounded number of threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4
"""Items for each thread that may wait, read, for whoever takes them."""

BUDGET_BYTES = 256 * 2**20
"""So many bytes may wait, when all are as large as the largest so far; what is larger is read alone."""


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end with the block; what has not begun by then is dropped, what has is finished."""
    pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="tumorseg")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ahead(
    items: Iterable[T], work: Callable[[T], R], pool: ThreadPoolExecutor, *, count: int, size: Callable[[R], int]
) -> Iterator[tuple[T, R]]:
    """Items with what `work` makes of them, in their order, made in threads before they are asked for.

    Args:
        items: taken as they are needed.
        work: what raises in it is raised here.
        count: of threads in the pool.
        size: bytes of a result.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    source = iter(items)
    largest = 0
    for item in source:
        waiting.append((item, pool.submit(work, item)))
        largest = max([largest, *(size(done.result()) for _, done in waiting if done.done() and not done.exception())])
        # Before the first is there nobody knows how large they are.
        most = min(count * AHEAD, BUDGET_BYTES // largest) if largest else count
        while len(waiting) > most:
            first, future = waiting.popleft()
            result = future.result()
            largest = max(largest, size(result))
            yield first, result
    for item, future in waiting:
        yield item, future.result()
