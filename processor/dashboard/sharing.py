"""One question for however many ask it: two hundred browsers on a page cost what one costs."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
#: answers that are kept; a comparison is 10 to 50 kB
MOST = 256
#: what took no longer is found out anew
CHEAP_SECONDS = 0.25
#: an answer is kept `TIMES` as long as it took, so that it costs a tenth of the time at the most, but no longer than
#: this; `live.js` asks once more when that has passed
TIMES, LONGEST_SECONDS = 10.0, 10.0


#: where nothing was committed since it was asked, an answer is what would be found out again: it is kept for so long.
#: Not for ever: a database that was set back may come to the same count of commits with other rows
UNCHANGED_SECONDS = 600.0


class _Held(NamedTuple, Generic[T]):
    """An answer, when it was asked for, the version of the database just before, and until when it is good as it is."""

    answer: T
    asked: float
    version: str | None
    until: float


class Shared(Generic[T]):
    """Answers by key, kept for `seconds`, or where that is None for as long as they cost; for one event loop.

    With a `version` of what they are made from (None: it is not known now) they are kept beyond that while it is the
    same. Who asks while the same is being found out waits for that; who goes away meanwhile ends it for nobody else. An
    error goes to all who waited, and is not kept.
    """

    def __init__(
        self,
        seconds: float | None = None,
        most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
        version: Callable[[], Awaitable[str | None]] | None = None,
    ) -> None:
        self._seconds, self._most, self._clock, self._version = seconds, most, clock, version
        self._held: OrderedDict[Hashable, _Held[T]] = OrderedDict()
        self._asked: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """The answer that is held, or what `find` returns."""
        held = self._held.get(key)
        if held is not None and await self._is_good(held):
            if key in self._held:
                self._held.move_to_end(key)
            return held.answer
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._find(key, find))
        return await asyncio.shield(self._asked[key])

    async def _is_good(self, held: _Held[T]) -> bool:
        now = self._clock()
        if now < held.until:
            return True
        if held.version is None or self._version is None or now >= held.asked + UNCHANGED_SECONDS:
            return False
        return await self._version() == held.version

    async def _find(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        try:
            # before it is found out: what is committed meanwhile makes another one
            version = None if self._version is None else await self._version()
            asked = self._clock()
            answer = await find()
            self._let_go()
            self._held[key] = _Held(answer, asked, version, self._clock() + self._kept(self._clock() - asked))
            self._held.move_to_end(key)
            while len(self._held) > self._most:
                self._held.popitem(last=False)
            return answer
        finally:
            del self._asked[key]

    def _let_go(self) -> None:
        """What nobody will be given any more is no memory for anybody: a chart's sample is some megabytes."""
        now = self._clock()
        for key in [key for key, held in self._held.items() if self._end(held) <= now]:
            del self._held[key]

    def _end(self, held: _Held[T]) -> float:
        return held.until if held.version is None else max(held.until, held.asked + UNCHANGED_SECONDS)

    def _kept(self, took: float) -> float:
        if self._seconds is not None:
            return self._seconds
        return min(TIMES * took, LONGEST_SECONDS) if took > CHEAP_SECONDS else 0.0
