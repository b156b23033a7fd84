"""Whether anything has changed in Postgres: asked once a moment for however many watch, told to all of them.

The server's own count of transactions is looked at: it moves with every commit, whoever makes it, costs nothing to
read, and needs neither a trigger nor a notification in the way of those who write. It is a hint: what has changed is
seen by who then asks for the page again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from processor.core.errors import FatalError, TransientError
from processor.store.pool import Pool

#: between two looks: half of what a committed row may take until it is seen
POLL_SECONDS = 0.4
#: a server that does not answer for so long is away
AWAY_SECONDS = 3.0
#: who watches at once, at the most: each is a connection that stays open
MOST = 300
#: without news a line is sent as often: who has gone is noticed, and proxies keep the connection
BEAT_SECONDS = 15.0


class News(NamedTuple):
    """`version` stands for all that is committed; None: Postgres does not answer."""

    version: str | None


class Changes:
    """For one event loop. It asks while somebody watches; nobody waits for a slow watcher, only the latest counts."""

    def __init__(
        self, ask: Callable[[], Awaitable[str]], *, poll_s: float = POLL_SECONDS, beat_s: float = BEAT_SECONDS
    ) -> None:
        self._ask, self._poll_s, self._beat_s = ask, poll_s, beat_s
        self._news: News | None = None
        self._moved = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._closed = False
        self.watching = 0

    def enter(self) -> bool:
        """False where so many watch already; else `leave` has to follow."""
        if self.watching >= MOST:
            return False
        self.watching += 1
        return True

    def leave(self) -> None:
        self.watching -= 1

    async def watch(self) -> AsyncIterator[News | None]:
        """What there is, then whatever is new; None for a beat without news. Ends when this is closed."""
        if not self._closed and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask_on())
        seen: News | None = None
        while not self._closed:
            if self._news is not None and self._news != seen:
                seen = self._news
                yield seen
            elif not await self._wait():
                yield None

    async def _wait(self) -> bool:
        """False where nothing has moved for a beat."""
        moved = self._moved
        try:
            async with asyncio.timeout(self._beat_s):
                await moved.wait()
        except TimeoutError:
            return False
        return True

    async def _ask_on(self) -> None:
        """Until nobody watches: who comes then begins with a look."""
        while self.watching and not self._closed:
            news = await self.look()
            if news != self._news:
                self._news = news
                self._wake()
            await asyncio.sleep(self._poll_s)
        self._news = None

    async def look(self, patience_s: float = AWAY_SECONDS) -> News:
        """Asks now, whoever watches."""
        try:
            async with asyncio.timeout(patience_s):
                return News(await self._ask())
        except (TimeoutError, TransientError, FatalError):
            return News(None)

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def close(self) -> None:
        """All who watch are let go, at once."""
        self._closed = True
        self._wake()
        if self._asking is not None:
            self._asking.cancel()


async def ask_version(pool: Pool) -> str:
    """All commits so far as a short text: it is another one after each."""
    (row,) = await pool.fetch("version")
    return str(row["version"])
