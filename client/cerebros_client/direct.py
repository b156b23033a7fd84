"""Reports that are only in this process's memory until they are confirmed."""

from __future__ import annotations

import itertools
import math
import threading
import time
from functools import partial

from cerebros_client.errors import Undelivered, UndeliveredError
from cerebros_client.transport import Report, Transport, Trouble

_SERVE_S = 0.1  # how soon Ctrl-C is noticed while waiting for room or for a confirmation


class Direct:
    """Hands reports to the transport and remembers each until it is settled."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.RLock()  # a signal's handler may report, too
        self._sequence = itertools.count()
        self._pending: dict[int, Report] = {}
        self._failed: dict[int, Undelivered] = {}

    def accept(self, report: Report) -> None:
        """Queues it; waits while there is no room. Raises `UndeliveredError` where it can't be queued at all."""
        with self._lock:
            self._pending[sequence := next(self._sequence)] = report
        try:
            while not self._transport.offer(report, partial(self._settle, sequence)):
                self._transport.serve(_SERVE_S)
        except BaseException:  # Ctrl-C while waiting for room: the caller knows that this report is not sent
            with self._lock:
                self._pending.pop(sequence, None)
            raise
        if failed := self._failed.pop(sequence, None):
            raise UndeliveredError([failed])

    def _settle(self, sequence: int, trouble: Trouble | None) -> None:
        with self._lock:
            report = self._pending.pop(sequence, None)
            if report and trouble:
                self._failed[sequence] = lost(report, trouble.reason)

    def flush(self, timeout_s: float) -> None:
        """Waits for all that was accepted so far. Raises `UndeliveredError`, see `TrialReporter.flush`."""
        last = self.last()
        self.wait(timeout_s, last)
        if undelivered := self.undelivered(last):
            raise UndeliveredError(undelivered)

    def last(self) -> int:
        """The number of the latest that waits; other threads go on reporting."""
        with self._lock:
            return max(self._pending, default=-1)

    def wait(self, timeout_s: float, last: int) -> None:
        deadline = time.monotonic() + timeout_s
        while self._first() <= last and (left := deadline - time.monotonic()) > 0:
            self._transport.serve(min(_SERVE_S, left))

    def _first(self) -> float:
        with self._lock:
            return min(self._pending, default=math.inf)

    @property
    def is_waiting(self) -> bool:
        return bool(self._pending)

    def undelivered(self, last: float = math.inf) -> list[Undelivered]:
        """What failed since the last call, and what still waits up to that number."""
        with self._lock:
            failed, self._failed = self._failed, {}
            reason = "no confirmation yet" + (f" ({self._transport.said})" if self._transport.said else "")
            waiting = [lost(report, reason) for number, report in self._pending.items() if number <= last]
        return [*failed.values(), *waiting]

    def confirm(self, timeout_s: float) -> None:
        self.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Flushes, and ends the transport; what waits longer is dropped and named by the `UndeliveredError`."""
        try:
            self.wait(timeout_s, self.last())
            if undelivered := self.undelivered():
                raise UndeliveredError(undelivered)
        finally:
            self._transport.close()

    def abandon(self) -> None:
        self._transport.abandon()


def lost(report: Report, reason: str) -> Undelivered:
    return Undelivered(report.run_id, report.trial_id, reason, report.value)
