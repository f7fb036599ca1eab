"""How far a long piece of work is: the library counts, whoever called it decides how to show that."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Something that watches items go by."""

    def track(self, items: Iterable[T], *, what: str, total: int | None = None) -> Iterator[T]:
        """Yield the items unchanged and in order.

        Args:
            items: what is worked on, one at a time.
            what: what is being done, such as "Reading scans".
            total: how many there are; None takes `len(items)` where there is one.
        """
        ...


class _Silent:
    """Shows nothing."""

    def track(self, items: Iterable[T], *, what: str, total: int | None = None) -> Iterator[T]:
        yield from items


silent: Progress = _Silent()
"""The default of every library function: nothing is shown."""


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 20 s, 1 h 05 min."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
