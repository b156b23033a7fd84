"""How much spectral normalisation is used, over time."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from processor.core.errors import UsageError
from processor.dashboard.statistics.intervals import Confidence
from processor.dashboard.statistics.rates import wilson
from processor.dashboard.statistics.results import Interval
from processor.store.pool import Pool

MOST_BUCKETS = 2000
#: trials are counted in such spans while they are written (migration 0009)
COUNTED_SECONDS = 1800


class Adoption(msgspec.Struct, frozen=True):
    """One span of time: trials, how many with spectral_norm, the share with its interval.

    `defaulted` of the others did not say it: a default stands there.
    """

    at: datetime
    trials: int
    adopted: int
    defaulted: int
    share: Interval


def first_span(since: datetime, seconds: int) -> datetime:
    """When the first span begins, which is whole: a part of one would be told as all of it."""
    return since - timedelta(seconds=since.timestamp() % seconds)


async def adoption(pool: Pool, since: datetime, until: datetime, seconds: int = 3600) -> list[Adoption]:
    """Spans of so many seconds that hold trials; raises `UsageError` where the window has more than 2,000 of them.

    The first is whole, too, and may begin before `since`. Spans of whole half hours are read from what is counted
    already.
    """
    if seconds < 1 or (until - since).total_seconds() / seconds > MOST_BUCKETS:
        raise UsageError(f"a window has at most {MOST_BUCKETS} spans: choose longer spans or a shorter window")
    name = "adoption" if seconds % COUNTED_SECONDS else "adoption_counted"
    confidence = Confidence()
    return [
        Adoption(share=wilson(row["adopted"], row["trials"], confidence), **row)
        for row in await pool.fetch(name, seconds, first_span(since, seconds))
    ]
