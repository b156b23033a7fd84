"""Whether Postgres answers the dashboard: asked every few seconds, whether anybody looks at a page or not.

Over a connection of its own: that all others are busy is no outage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from processor.core import metrics
from processor.core.causes import Causes
from processor.core.errors import FatalError, TransientError
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
        self._causes = Causes()
        self._since: float | None = None

    @property
    def away(self) -> bool:
        return self._since is not None

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
            if self._since is not None:
                log.info("database_back", after_s=round(time.monotonic() - self._since, 1))
                metrics.OUTAGE.labels("database").set(0)
                self._since = None
            return
        metrics.LAST_ERROR.set_to_current_time()
        if self._since is not None:
            self._causes.go_on(cause)
            return
        self._since = time.monotonic()
        self._causes.begin("database", cause)
        metrics.OUTAGES.labels("database").inc()
        metrics.OUTAGE.labels("database").set(1)
        log.warning("waiting_for_database", cause=cause)
