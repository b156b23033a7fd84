"""One question for however many ask it: two hundred browsers on a page cost what one costs."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
#: answers that are kept; a comparison is 10 to 50 kB
MOST = 256


class Shared(Generic[T]):
    """Answers by key, kept for `seconds`; for one event loop.

    Who asks while the same is being found out waits for that; who goes away meanwhile ends it for nobody else. An error
    goes to all who waited, and is not kept.
    """

    def __init__(self, seconds: float, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._held: OrderedDict[Hashable, tuple[T, float]] = OrderedDict()
        self._asked: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """The answer that is held, or what `find` returns."""
        if key in self._held:
            answer, until = self._held[key]
            if self._clock() < until:
                self._held.move_to_end(key)
                return answer
            del self._held[key]
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._find(key, find))
        return await asyncio.shield(self._asked[key])

    async def _find(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await find()
            self._held[key] = (answer, self._clock() + self._seconds)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
            return answer
        finally:
            del self._asked[key]
