"""Which connections are open, how many at the most, and how long each may take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import structlog

from processor.web.meters import Meters
from processor.web.unread import Unread

if TYPE_CHECKING:
    from processor.web.connections import BoundedProtocol

log = structlog.get_logger(__name__)

#: one that has sent nothing of its body for longer makes room for a new one; were it shorter, who comes would break off
#: others that send
SILENT_SECONDS = 2.0
#: for the rest of an answer to leave once a connection is being closed
CLOSING_SECONDS = 5.0


class Times(NamedTuple):
    """Seconds: for a head, between requests, and for a request as a whole."""

    head: float
    idle: float
    whole: float


class Connections:
    """All that are open, in one event loop."""

    def __init__(self, most: int, times: Times, meters: Meters, unread: Unread[BoundedProtocol] | None = None) -> None:
        """`unread`: how much of answers may wait to be read."""
        self._most, self._times = most, times
        self._unread = unread or Unread()
        self.meters = meters
        #: those without a request that is worked on, the one that has been so for longest first: those that never had
        #: one, and those between two
        self._new: dict[BoundedProtocol, float] = {}
        self._idle: dict[BoundedProtocol, float] = {}
        self._busy: dict[BoundedProtocol, float] = {}
        self._closing: dict[BoundedProtocol, float] = {}
        self._all = (self._new, self._idle, self._busy, self._closing)
        #: of the busy, those whose body is not all there; who has been silent for longest first
        self._sending: dict[BoundedProtocol, float] = {}
        self._told = False

    def __len__(self) -> int:
        return sum(map(len, self._all))

    def admit(self, one: BoundedProtocol) -> bool:
        """False where there is no room, and nobody idle or silent who would make some."""
        if len(self) >= self._most:
            if not self._told:
                self._told = True
                log.warning("connections_full", connections=self._most)
            oldest = next(iter(self._new or self._idle), None) or self._silent()
            if oldest is None:
                return False
            self.gone(oldest)
            self.meters.closed.labels("full").inc()
            oldest.transport.abort()
        self._move(one, self._new)
        return True

    def _silent(self) -> BoundedProtocol | None:
        """Who lets everybody wait for a body, and has nothing before it that is worked on."""
        before = time.monotonic() - SILENT_SECONDS
        for one, heard in self._sending.items():
            if heard > before:
                return None
            if not one.pipeline and not one.flow.read_paused:
                return one
        return None

    def heard(self, one: BoundedProtocol) -> None:
        """More of its body is there, or the head before it; not all of it."""
        self._sending.pop(one, None)
        self._sending[one] = time.monotonic()

    def complete(self, one: BoundedProtocol) -> None:
        """All of its body is there."""
        self._sending.pop(one, None)

    def rest(self, one: BoundedProtocol) -> None:
        """Its requests are answered."""
        self.complete(one)
        self._move(one, self._idle)

    def work(self, one: BoundedProtocol) -> None:
        if one not in self._busy:
            self._move(one, self._busy)

    def go_on(self, one: BoundedProtocol) -> None:
        """One request is answered, the next has come already."""
        self._move(one, self._busy)

    def _move(self, one: BoundedProtocol, to: dict[BoundedProtocol, float]) -> None:
        self._take_out(one)
        to[one] = time.monotonic()
        self.meters.connections.set(len(self))

    def gone(self, one: BoundedProtocol) -> None:
        self.complete(one)
        self._take_out(one)
        self.meters.connections.set(len(self))

    def _take_out(self, one: BoundedProtocol) -> None:
        for holders in self._all:
            holders.pop(one, None)

    def sweep(self) -> None:
        """About once a second: ends what takes too long, whatever it still sends."""
        now = time.monotonic()
        self._told = self._told and len(self) >= self._most
        for one in [one for one in (*self._new, *self._idle, *self._busy) if one.transport.is_closing()]:
            self._move(one, self._closing)
        for one, since in [*self._new.items(), *self._idle.items()]:
            begun = one.head_since
            if begun is not None and now - begun > self._times.head:
                self._end(one, "head_timeout", 408)
            elif now - since > self._times.idle:
                self._end(one, "idle", 0)
        for one in [one for one, since in self._busy.items() if now - since > self._times.whole]:
            self.meters.closed.labels("timeout").inc()
            one.transport.abort()
        for one in [one for one, since in self._closing.items() if now - since > CLOSING_SECONDS]:
            self._give_up(one)
        for one in self._unread.look([one for holders in self._all for one in holders], self._busy.keys(), now):
            self._give_up(one)

    def _give_up(self, one: BoundedProtocol) -> None:
        self.meters.closed.labels("unread").inc()
        one.transport.abort()

    def _end(self, one: BoundedProtocol, cause: str, status: int) -> None:
        self.meters.closed.labels(cause).inc()
        if status and one.head_bytes:
            one.refuse(status, "timeout", "the head of the request was not there in time")
        else:
            one.transport.close()
        self._move(one, self._closing)
