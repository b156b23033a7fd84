"""Why an outage goes on: who reads the log at night needs the cause that holds now, and no line for each attempt."""

from __future__ import annotations

import re

import structlog

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
