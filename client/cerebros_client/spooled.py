"""Reports that are on disk before anybody waits for the network."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cerebros_client.direct import Direct, lost
from cerebros_client.errors import Undelivered, UndeliveredError
from cerebros_client.spool import is_damage, new_file, orphans
from cerebros_client.spool_file import ReenteredError, SpoolFile
from cerebros_client.spool_sender import LOOK_S, Sender
from cerebros_client.transport import Report, Target, Transport

log = logging.getLogger("cerebros_client")

_ASK_S = 0.02
_NAMED = 1_000  # reports that `flush` hands back with their bytes


class Spooled:
    """Accepts what `Direct` accepts, and where the disk fails leaves it to that one."""

    def __init__(
        self,
        target: Target,
        transport: Transport,
        folder: Path,
        max_mib: int,
        *,
        foreign: bool = False,
        again: bool = False,
    ) -> None:
        """`foreign`: also sends what dead processes left for another target, `again`: also what was refused."""
        self._target, self._transport, self._folder, self._max_mib = target, transport, folder, max_mib
        self._wanted, self._again = None if foreign else target.name, again
        self._direct = Direct(transport)
        self._lock = threading.RLock()
        self._own: SpoolFile | None = None
        self._unusable_until, self._told = 0.0, False
        self.sender = Sender(transport, self._direct, lambda: self._own, self._left, self._disk_failed)

    def accept(self, report: Report) -> None:
        """Returns when the report is on disk, or queued in memory where the disk does not take it."""
        try:
            self._file().put(report)
        except (sqlite3.Error, OSError) as error:
            self._disk_failed(error)
            self._direct.accept(report)
        except ReenteredError:  # nothing is wrong with the disk
            self._direct.accept(report)
        else:
            self.sender.wake()

    def _file(self) -> SpoolFile:
        with self._lock:
            if self._own is None or not self._own.is_there():
                if time.monotonic() < self._unusable_until:
                    raise OSError("the spool could not be used a moment ago")
                gone, self._own = self._own, new_file(self._folder, self._target.name, self._max_mib)
                if gone is not None:  # its name is; what is in it can still be read
                    self.sender.files.append(gone)
                self._told = False
            return self._own

    def _disk_failed(self, error: Exception) -> None:
        """Told once for each outage of the disk, and the search goes on."""
        with self._lock:
            aside = ""
            if self._own and is_damage(error):
                aside = f"; the file is kept as {self._own.set_aside()}"
                self._own = None
            elif self._own is None and time.monotonic() >= self._unusable_until:
                self._unusable_until = time.monotonic() + LOOK_S
            if not self._told or aside:
                said = "spool: %s can't be used (%s)%s: reports are kept in memory only, until it can"
                log.error(said, self._folder, error, aside)
            self._told = True

    def _left(self) -> Iterator[SpoolFile]:
        """What dead processes left, and this one is to send."""
        for found in orphans(self._folder, self._wanted, self._max_mib, refused=self._again):
            if self._again:
                found.offer_again()
            yield found

    def wait(self, timeout_s: float, *, adopted: bool = False) -> bool:
        """Until every report of this process is settled, and with `adopted` those of dead ones; whether they are."""
        deadline = time.monotonic() + timeout_s
        while (waiting := self._is_waiting(adopted)) and (left := deadline - time.monotonic()) > 0:
            self.sender.wake()
            time.sleep(min(_ASK_S, left))
        self._direct.wait(max(0.0, deadline - time.monotonic()))
        return not waiting

    def _is_waiting(self, adopted: bool) -> bool:
        if adopted and (not self.sender.has_looked or self.sender.files):
            return True
        try:
            return bool(self._own and self._own.is_there() and self._own.is_waiting())
        except (sqlite3.Error, OSError) as error:
            self._disk_failed(error)
            return False

    def flush(self, timeout_s: float) -> None:
        """Raises `UndeliveredError`, see `TrialReporter.flush`; what it says to be in the spool is safe there."""
        self.wait(timeout_s)
        undelivered = self._unsafe()
        with self._lock:
            if self._own and self._is_waiting(False):
                kept = self._own.first(_NAMED)
                undelivered += [lost(one.report, "no confirmation yet; it is in the spool") for one in kept]
        if undelivered:
            raise UndeliveredError(undelivered)

    def _unsafe(self) -> list[Undelivered]:
        """What was refused since the last call, and what the disk did not take and the network not yet."""
        refused = [self.sender.refused.popleft() for _ in range(len(self.sender.refused))]
        return [*refused, *self._direct.undelivered()]

    def close(self, timeout_s: float) -> None:
        """Sends for as long as that, then leaves the rest in the spool, told by a log line.

        Raises `UndeliveredError` for what was refused, and for what was in memory only.
        """
        try:
            self.wait(timeout_s)
        finally:
            self.sender.stop()
            self._transport.close()
            unsafe = self._unsafe()
            self._leave()
        if unsafe:
            raise UndeliveredError(unsafe)

    def _leave(self) -> None:
        with contextlib.suppress(sqlite3.Error, OSError):
            self.sender.settle_all()
        waiting = 0
        for file in self._files():
            with contextlib.suppress(sqlite3.Error, OSError):
                waiting += file.counts().waiting
            file.close()
        if waiting:
            said = "spool: %d reports stay in %s; the next reporter there sends them, or: cerebros-client spool send"
            log.warning(said, waiting, self._folder)

    def _files(self) -> list[SpoolFile]:
        return [*self.sender.files, *([self._own] if self._own else [])]

    def abandon(self) -> None:
        """In a child after a fork: all of it is the parent's."""
        for file in self._files():
            file.abandon()
        self._transport.abandon()
