"""The timestamps of reports: what orders the reports of one trial."""

from __future__ import annotations

import threading
import time

#: trials whose last times are remembered: far more than are at work at once, some MB
_REMEMBERED = 10_000


class Clock:
    """This machine's clock, in milliseconds, for each trial kept from running backwards.

    No two reports of one trial have the same: sent again after a kill, the first would else come behind the second.
    A clock that was ahead for a moment holds up only the trials that were reported then.
    """

    def __init__(self, before: Clock | None = None) -> None:
        """`before`: whose place it takes in a child after a fork; its lock may be held by a thread that is gone."""
        self._lock = threading.RLock()
        self._latest_ms: dict[object, int] = dict(before._latest_ms) if before else {}

    def next(self, of: object) -> int:
        with self._lock:
            now = max(time.time_ns() // 1_000_000, self._latest_ms.pop(of, -1) + 1)
            self._latest_ms[of] = now  # behind all others: the first is the one that was reported longest ago
            if len(self._latest_ms) > _REMEMBERED:
                del self._latest_ms[next(iter(self._latest_ms))]
            return now
