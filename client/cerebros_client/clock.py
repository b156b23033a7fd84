"""The timestamps of reports: what orders the reports of one trial."""

from __future__ import annotations

import threading
import time


class Clock:
    """This machine's clock, in milliseconds, kept from running backwards.

    No two reports of one trial have the same: sent again after a kill, the first would else come behind the second.
    """

    def __init__(self, before: Clock | None = None) -> None:
        """`before`: whose place it takes in a child after a fork; its lock may be held by a thread that is gone."""
        self._lock = threading.RLock()
        self._latest_ms: int = before._latest_ms if before else 0
        self._used: set[object] = set(before._used) if before else set()

    def next(self, of: object) -> int:
        with self._lock:
            now = time.time_ns() // 1_000_000
            if now <= self._latest_ms and of in self._used:
                now = self._latest_ms + 1
            if now > self._latest_ms:
                self._latest_ms = now
                self._used.clear()
            self._used.add(of)
            return self._latest_ms
