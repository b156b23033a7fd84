"""That something is waited for, in metrics and log: a line when it begins, one a further cause, one at the end.

Who waits says the first and the last line itself: their words are its own.
"""

from __future__ import annotations

import re
import time

import structlog

from processor.core import metrics

log = structlog.get_logger(__name__)

#: causes of one outage that are told, besides the one that it began with
MOST = 5
_DIGITS = re.compile(r"\d+")


class Causes:
    """Of one outage at a time. A cause is told once; numbers in it (ports, attempts) make it no other one."""

    def __init__(self) -> None:
        self._outage = ""
        self._told: set[str] = set()

    def begin(self, outage: str, cause: object) -> None:
        """`outage` is the label of `processor_outage`; whoever says that it begins says this cause with it."""
        self._outage, self._told = outage, {_DIGITS.sub("", str(cause))}

    def go_on(self, cause: object) -> None:
        """`cause_changed` where it is another one than before."""
        words = _DIGITS.sub("", str(cause))
        if words in self._told or len(self._told) > MOST:
            log.debug("still_waiting", cause=str(cause))
            return
        self._told.add(words)
        log.warning("cause_changed", outage=self._outage, cause=str(cause))


class Outage:
    """What one part of a process waits for; `where` is its label in `processor_outage`. For one thread."""

    def __init__(self, where: str) -> None:
        self._where, self._since, self._causes = where, 0.0, Causes()
        self.lasts = False

    def note(self, cause: object) -> bool:
        """True where it begins with this failure, which is then to be told."""
        metrics.LAST_ERROR.set_to_current_time()
        if self.lasts:
            self._causes.go_on(cause)
            return False
        self.lasts, self._since = True, time.monotonic()
        self._causes.begin(self._where, cause)
        metrics.OUTAGES.labels(self._where).inc()
        metrics.OUTAGE.labels(self._where).set(1)
        return True

    def end(self) -> float | None:
        """How many seconds it has lasted, which is then to be told; None where there was none."""
        if not self.lasts:
            return None
        self.lasts = False
        metrics.OUTAGE.labels(self._where).set(0)
        return round(time.monotonic() - self._since, 1)
