"""Answers that wait to be read: memory of this process, by the choice of whoever does not read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

#: of all connections together; an honest caller's answer is in the kernel's buffers within moments
MAX_UNREAD_BYTES = 64 * 1024 * 1024
#: an answer that is complete, and of which nothing was read for so long, is given up
UNREAD_SECONDS = 20.0


class _Transport(Protocol):
    def get_write_buffer_size(self) -> int: ...


class _Connection(Protocol):
    @property
    def transport(self) -> _Transport: ...


C = TypeVar("C", bound=_Connection)


class _Waiting(NamedTuple):
    """Bytes, and since when none of them was taken."""

    size: int
    since: float


class Unread(Generic[C]):
    """What waited at the last look, by connection."""

    def __init__(self, most: int = MAX_UNREAD_BYTES, seconds: float = UNREAD_SECONDS) -> None:
        self._most, self._seconds = most, seconds
        self._waiting: dict[C, _Waiting] = {}

    def look(self, connections: Iterable[C], busy: Collection[C], now: float) -> list[C]:
        """Those to be given up: who has read nothing for longest goes first, until the rest is few enough bytes.

        Whoever is `busy` has an answer under way, which is given up by what writes it.
        """
        self._waiting = {one: self._next(one, size, now) for one in connections if (size := _size(one))}
        left = sum(waiting.size for waiting in self._waiting.values())
        found = []
        for one, waiting in sorted(self._waiting.items(), key=lambda item: (item[1].since, -item[1].size)):
            late = now - waiting.since > self._seconds and one not in busy
            if late or left > self._most:
                found.append(one)
                left -= waiting.size
        return found

    def _next(self, one: C, size: int, now: float) -> _Waiting:
        before = self._waiting.get(one)
        return _Waiting(size, before.since if before is not None and size >= before.size else now)


def _size(one: _Connection) -> int:
    return one.transport.get_write_buffer_size()
