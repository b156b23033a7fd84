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
#: what took no longer is found out anew
CHEAP_SECONDS = 0.25
#: an answer is kept `TIMES` as long as it took, so that it costs a tenth of the time at the most, but no longer than
#: this; `live.js` asks once more when that has passed
TIMES, LONGEST_SECONDS = 10.0, 10.0


class Shared(Generic[T]):
    """Answers by key, kept for `seconds`, or where that is None for as long as they cost; for one event loop.

    Who asks while the same is being found out waits for that; who goes away meanwhile ends it for nobody else. An error
    goes to all who waited, and is not kept.
    """

    def __init__(
        self, seconds: float | None = None, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
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
        began = self._clock()
        try:
            answer = await find()
            self._let_go()
            self._held[key] = (answer, self._clock() + self._kept(self._clock() - began))
            while len(self._held) > self._most:
                self._held.popitem(last=False)
            return answer
        finally:
            del self._asked[key]

    def _let_go(self) -> None:
        """What nobody will be given any more is no memory for anybody: a chart's sample is some megabytes."""
        now = self._clock()
        for key in [key for key, (_, until) in self._held.items() if until <= now]:
            del self._held[key]

    def _kept(self, took: float) -> float:
        if self._seconds is not None:
            return self._seconds
        return min(TIMES * took, LONGEST_SECONDS) if took > CHEAP_SECONDS else 0.0
