"""Whether Postgres answers the dashboard: asked every few seconds, whether anybody looks at a page or not.

Over a connection of its own: that all others are busy is no outage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from processor.core.errors import FatalError, TransientError
from processor.core.outages import Outage
from processor.dashboard.changes import AWAY_SECONDS

log = structlog.get_logger(__name__)

#: between two looks
LOOK_SECONDS = 2.0


class Reach:
    """For one event loop. What is found is in the log, in `processor_outage` and in `away`."""

    def __init__(
        self, ask: Callable[[], Awaitable[object]], begun: Callable[[], bool], *, every_s: float = LOOK_SECONDS
    ) -> None:
        """Until `begun`, start checks tell what they wait for."""
        self._ask, self._begun, self._every_s = ask, begun, every_s
        self._outage = Outage("database")

    @property
    def away(self) -> bool:
        return self._outage.lasts

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            if self._begun():
                self._note(await self._look())
            await asyncio.sleep(self._every_s)

    async def _look(self) -> str | None:
        try:
            async with asyncio.timeout(AWAY_SECONDS):
                await self._ask()
        except TimeoutError:
            return f"Postgres did not answer within {AWAY_SECONDS:g} s"
        except (TransientError, FatalError) as error:
            return str(error)
        return None

    def _note(self, cause: str | None) -> None:
        if cause is None:
            if (after_s := self._outage.end()) is not None:
                log.info("database_back", after_s=after_s)
        elif self._outage.note(cause):
            log.warning("waiting_for_database", cause=cause)
