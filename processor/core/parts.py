"""Sequences in bounded parts, and in halves down to the one that is to blame; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


def in_parts(
    items: Iterable[T], size_of: Callable[[T], int], most: int, most_items: int | None = None
) -> Iterator[list[T]]:
    """The items in their order, in parts of at most that size and number (one item always fits)."""
    part: list[T] = []
    size = 0
    for item in items:
        more = size_of(item)
        if part and (size + more > most or len(part) == most_items):
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield part


class Halves(Generic[T]):
    """Hands out all items as one part; a part that is refused comes again in halves, in the items' order.

    So whatever cannot be taken is found in few attempts, and everything else is taken in its order::

        halves = Halves(items)
        for part in halves:
            if not take(part) and not halves.split():
                ...  # `part` holds the one item that is to blame

    Synchronous or not, who tries the parts does it as it likes.
    """

    def __init__(self, items: Sequence[T]) -> None:
        self._waiting = [items] if items else []
        self._last: Sequence[T] = ()

    def __iter__(self) -> Iterator[Sequence[T]]:
        while self._waiting:
            self._last = self._waiting.pop()
            yield self._last

    def split(self) -> bool:
        """The part handed out last was refused: its halves come next. False where it is a single item."""
        middle = len(self._last) // 2
        if not middle:
            return False
        self._waiting += [self._last[middle:], self._last[:middle]]
        return True
