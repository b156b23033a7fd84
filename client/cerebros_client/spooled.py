"""Reports that are on disk before anybody waits for the network: a thread sends them and forgets what is confirmed."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path

from cerebros_client.checkpoints import reach
from cerebros_client.direct import Direct, lost
from cerebros_client.errors import Undelivered, UndeliveredError
from cerebros_client.spool import is_damage, new_file, orphans
from cerebros_client.spool_file import Kept, SpoolFile
from cerebros_client.transport import Report, Target, Transport, Trouble

log = logging.getLogger("cerebros_client")

#: enough to fill batches of the transport, little enough to be sent again after a kill
_IN_FLIGHT = 2_000
_IN_FLIGHT_BYTES = 16 * 1024 * 1024
_BATCH = 500
#: how often files of processes that died meanwhile are looked for, and a disk that failed is tried again
_LOOK_S = 10.0
#: between attempts where the broker says no to what it may accept later: a topic that is missing, rights
_PAUSE_S = 2.0
#: a report that comes while others are in flight waits this long at the most
_SERVE_S = 0.2
_ASK_S = 0.02
#: the sender's turn is short, but a disk may hang
_JOIN_S = 10.0
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
        self._again = again
        self._wanted = None if foreign else target.name
        self._target, self._transport, self._folder, self._max_mib = target, transport, folder, max_mib
        self._direct = Direct(transport)
        self._lock, self._wake = threading.RLock(), threading.Event()
        self._own: SpoolFile | None = None
        self._adopted: list[SpoolFile] = []
        self._in_flight: dict[tuple[SpoolFile, int], int] = {}
        self._settled: deque[tuple[SpoolFile, int, Trouble | None]] = deque()
        self._bytes = 0  # of what is in flight
        self._confirmed: dict[SpoolFile, list[int]] = {}
        self._told_refused: list[Undelivered] = []
        self.sent = self.refused = 0
        self._unusable_until = self._paused_until = self._look_at = 0.0
        self._told, self._stopping = False, False
        self._sender = threading.Thread(target=self._send_all, name="cerebros-spool", daemon=True)
        self._sender.start()

    def accept(self, report: Report) -> None:
        """Returns when the report is on disk, or queued in memory where the disk does not take it."""
        try:
            self._file().put(report)
        except (sqlite3.Error, OSError) as error:
            self._disk_failed(error)
            self._direct.accept(report)
        else:
            self._wake.set()

    def _file(self) -> SpoolFile:
        with self._lock:
            if self._own is None or not self._own.is_there():
                if time.monotonic() < self._unusable_until:
                    raise OSError("the spool could not be used a moment ago")
                gone, self._own = self._own, new_file(self._folder, self._target.name, self._max_mib)
                if gone is not None:  # its name is; what is in it can still be read
                    self._adopted.append(gone)
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
                self._unusable_until = time.monotonic() + _LOOK_S
            if not self._told or aside:
                log.error(
                    "spool: %s can't be used (%s)%s: reports are kept in memory only, until it can",
                    self._folder,
                    error,
                    aside,
                )
            self._told = True

    def _send_all(self) -> None:
        while not self._stopping:
            try:
                self._look_for_orphans()
                self._settle_all()
                handed = self._hand_over()
                if self._in_flight or self._direct.is_waiting:
                    self._transport.serve(_SERVE_S)
                elif not handed:
                    self._wake.wait(_PAUSE_S if time.monotonic() < self._paused_until else _LOOK_S)
                    self._wake.clear()
            except (sqlite3.Error, OSError) as error:
                self._disk_failed(error)
                self._wake.wait(1.0)
            except Exception:
                log.exception("spool: sending goes on in a second")
                time.sleep(1.0)

    def _look_for_orphans(self) -> None:
        if time.monotonic() < self._look_at:
            return
        for found in orphans(self._folder, self._wanted, self._max_mib, refused=self._again):
            reach("adopted")
            log.info("spool: sends %d reports that another process left in %s", found.counts().waiting, found.path)
            if self._again:
                found.offer_again()
            self._adopted.append(found)
        self._look_at = time.monotonic() + _LOOK_S

    def _settle_all(self) -> None:
        """Forgets what is confirmed, marks what was refused, and takes back what may be accepted later."""
        while self._settled:
            file, seq, trouble = self._settled.popleft()
            self._bytes -= self._in_flight.pop((file, seq), 0)
            if trouble is None:
                self.sent += 1
                self._confirmed.setdefault(file, []).append(seq)
            elif trouble.final:
                self._refuse(file, seq, trouble)
            else:
                self._take_back(file, seq, trouble)
        for file in list(self._confirmed):
            if file.is_there():  # else it was damaged or taken away, which was told
                file.forget(self._confirmed[file])
            del self._confirmed[file]
        for file in [one for one in self._adopted if not self._is_busy(one)]:
            self._adopted.remove(file)
            file.close()

    def _is_busy(self, file: SpoolFile) -> bool:
        return any(place[0] is file for place in self._in_flight) or file.is_waiting()

    def _refuse(self, file: SpoolFile, seq: int, trouble: Trouble) -> None:
        report = file.refuse(seq, trouble.reason)
        self.refused += 1
        log.error(
            "spool: %s/%s was refused, and stays in %s: %s",
            report.run_id,
            report.trial_id,
            file.path,
            trouble.reason,
        )
        with self._lock:
            self._told_refused.append(lost(report, trouble.reason))

    def _take_back(self, file: SpoolFile, seq: int, trouble: Trouble) -> None:
        if time.monotonic() >= self._paused_until:
            log.warning("spool: not accepted now, tried again: %s", trouble.reason)
        self._paused_until = time.monotonic() + _PAUSE_S
        file.cursor = min(file.cursor, seq - 1)

    def _hand_over(self) -> int:
        """Offers what is next, as far as there is room; how many were taken."""
        handed = 0
        if time.monotonic() < self._paused_until:
            return 0
        for file in [*self._adopted, *([self._own] if self._own else [])]:
            for kept in file.following(min(_BATCH, _IN_FLIGHT - len(self._in_flight))):
                if self._bytes > _IN_FLIGHT_BYTES or not self._offer(file, kept):
                    return handed
                handed += 1
                file.cursor = kept.seq
        return handed

    def _offer(self, file: SpoolFile, kept: Kept) -> bool:
        place = (file, kept.seq)
        if place in self._in_flight:
            return True
        self._in_flight[place] = len(kept.report.value)
        self._bytes += len(kept.report.value)
        taken = self._transport.offer(kept.report, partial(self._settle, file, kept.seq))
        if not taken:
            self._bytes -= self._in_flight.pop(place)
        reach("handed")
        return taken

    def _settle(self, file: SpoolFile, seq: int, trouble: Trouble | None) -> None:
        self._settled.append((file, seq, trouble))

    def wait(self, timeout_s: float, *, adopted: bool = False) -> bool:
        """Until every report of this process is settled, and with `adopted` those of dead ones; whether they are."""
        deadline = time.monotonic() + timeout_s
        while (waiting := self._is_waiting(adopted)) and (left := deadline - time.monotonic()) > 0:
            self._wake.set()
            time.sleep(min(_ASK_S, left))
        self._direct.wait(max(0.0, deadline - time.monotonic()))
        return not waiting

    def _is_waiting(self, adopted: bool) -> bool:
        if adopted and (self._look_at == 0 or self._adopted):
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
        with self._lock:
            refused, self._told_refused = self._told_refused, []
        return [*refused, *self._direct.undelivered()]

    def close(self, timeout_s: float) -> None:
        """Sends for as long as that, then leaves the rest in the spool, told by a log line.

        Raises `UndeliveredError` for what was refused, and for what was in memory only.
        """
        try:
            self.wait(timeout_s)
        finally:
            self._stopping = True
            self._wake.set()
            self._sender.join(_JOIN_S)
            self._transport.close()
            unsafe = self._unsafe()
            self._leave()
        if unsafe:
            raise UndeliveredError(unsafe)

    def _leave(self) -> None:
        with contextlib.suppress(sqlite3.Error, OSError):
            self._settle_all()
        waiting = 0
        for file in [*self._adopted, *([self._own] if self._own else [])]:
            with contextlib.suppress(sqlite3.Error, OSError):
                waiting += file.counts().waiting
            file.close()
        if waiting:
            log.warning(
                "spool: %d reports stay in %s; the next reporter there sends them, or: cerebros-client spool send",
                waiting,
                self._folder,
            )

    def abandon(self) -> None:
        """In a child after a fork: all of it is the parent's."""
        for file in [*self._adopted, *([self._own] if self._own else [])]:
            file.abandon()
        self._transport.abandon()
