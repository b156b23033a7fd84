"""From files to the transport: a thread that hands reports over, and forgets what is confirmed."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from cerebros_client.checkpoints import reach
from cerebros_client.direct import Direct, lost
from cerebros_client.errors import Undelivered
from cerebros_client.spool_file import Kept, SpoolFile
from cerebros_client.transport import Transport, Trouble

log = logging.getLogger("cerebros_client")

#: enough to fill batches of the transport, little enough to be sent again after a kill
_IN_FLIGHT = 2_000
_IN_FLIGHT_BYTES = 16 * 1024 * 1024
_BATCH = 500
#: how often files of processes that died meanwhile are looked for, and a disk that failed is tried again
LOOK_S = 10.0
#: between attempts where the broker says no to what it may accept later: a topic that is missing, rights
_PAUSE_S = 2.0
#: a report that comes while others are in flight waits this long at the most
_SERVE_S = 0.2
#: between turns of the sender: reports go in batches, and each batch is forgotten in one transaction
_NAP_S = 0.02
#: the sender's turn is short, but a disk may hang
_JOIN_S = 10.0


class Sender:
    """`files` are those of dead processes, `own` answers with this process's."""

    def __init__(
        self,
        transport: Transport,
        direct: Direct,
        own: Callable[[], SpoolFile | None],
        find: Callable[[], Iterable[SpoolFile]],
        failed: Callable[[Exception, SpoolFile | None], None],
    ) -> None:
        """`find` finds what dead processes left, `failed` is told what a disk does not do, and for which file.

        Reports of `direct` are confirmed in this thread too.
        """
        self._transport, self._direct, self._own, self._find, self._failed = transport, direct, own, find, failed
        self.files: list[SpoolFile] = []
        self.refused: deque[Undelivered] = deque()  # until somebody is told
        self.sent = self.refusals = 0
        self.has_looked = False
        self._blind = False  # told
        self._in_flight: dict[tuple[SpoolFile, int], int] = {}
        self._bytes = 0  # of what is in flight
        self._settled: deque[tuple[SpoolFile, int, Trouble | None]] = deque()
        self._confirmed: dict[SpoolFile, list[int]] = {}
        self._paused_until = self._look_at = 0.0
        self._stopping, self._wake = False, threading.Event()
        self._thread = threading.Thread(target=self._run, name="cerebros-spool", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    def stop(self, *, wait: bool) -> None:
        """What is in flight then is not waited for; the thread is, for a while, where it can get on."""
        self._stopping = True
        self._wake.set()
        self._thread.join(_JOIN_S if wait else 0)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except (sqlite3.Error, OSError) as error:
                self._failed(error, None)
                self._wake.wait(1.0)
            except Exception:
                if not self._stopping:  # else what it needs is closed already
                    log.exception("spool: sending goes on in a second")
                    time.sleep(1.0)

    def _turn(self) -> None:
        self._look_for_orphans()
        self.settle_all()
        handed = self._hand_over()
        if handed or self._settled:
            time.sleep(_NAP_S)
        if self._in_flight or self._direct.is_waiting:
            self._transport.serve(_SERVE_S)
        elif not handed:
            self._wake.wait(_PAUSE_S if time.monotonic() < self._paused_until else LOOK_S)
            self._wake.clear()

    def _look_for_orphans(self) -> None:
        """A folder that can't be looked into now is looked into again later; this process's file may be fine."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_S
        try:
            for found in self._find():
                reach("adopted")
                self.files.append(found)
                self._asked(found, _tell)
        except (sqlite3.Error, OSError) as error:
            if not self._blind:
                log.error("spool: what other processes left can't be looked for now, it is tried again: %s", error)
            self._blind = True
        else:
            self.has_looked, self._blind = True, False

    def settle_all(self) -> None:
        """Forgets what is confirmed, marks what was refused, and takes back what may be accepted later."""
        for _ in range(len(self._settled)):
            file, seq, trouble = self._settled.popleft()
            if trouble is not None and trouble.final and not self._asked(file, partial(self._refuse, seq, trouble)):
                self._settled.append((file, seq, trouble))  # until its disk takes the mark
                continue
            self._bytes -= self._in_flight.pop((file, seq), 0)
            if trouble is None:
                self.sent += 1
                self._confirmed.setdefault(file, []).append(seq)
            elif not trouble.final:
                self._take_back(file, seq, trouble)
        for file in list(self._confirmed):
            if self._asked(file, self._forget):
                self._confirmed.pop(file, None)
        for file in [one for one in self.files if not self._is_busy(one)]:
            self.files.remove(file)
            if file.is_open:
                file.close()

    def _asked(self, file: SpoolFile, ask: Callable[[SpoolFile], object]) -> bool:
        """Whether its disk has done it. One that does not stops no other file: it is told, and asked again."""
        try:
            if file.is_open:
                ask(file)
        except (sqlite3.Error, OSError) as error:
            if file.is_open:  # else it was closed meanwhile
                self._failed(error, file)
            return not file.is_open
        return True

    def _forget(self, file: SpoolFile) -> None:
        file.forget(self._confirmed.get(file, ()))

    def unforgotten(self, file: SpoolFile) -> frozenset[int]:
        """What is confirmed, and still in the file."""
        return frozenset(self._confirmed.get(file, ()))

    def _is_busy(self, file: SpoolFile) -> bool:
        if not file.is_open:
            return False
        try:
            return any(place[0] is file for place in self._in_flight) or file.is_waiting()
        except (sqlite3.Error, OSError) as error:
            self._failed(error, file)
            return file.is_open

    def _refuse(self, seq: int, trouble: Trouble, file: SpoolFile) -> None:
        report = file.refuse(seq, trouble.reason)
        self.refusals += 1
        self.refused.append(lost(report, trouble.reason))
        who = f"{report.run_id}/{report.trial_id}"
        log.error("spool: %s was refused, and stays in %s: %s", who, file.path, trouble.reason)

    def _take_back(self, file: SpoolFile, seq: int, trouble: Trouble) -> None:
        if time.monotonic() >= self._paused_until and not self._stopping:
            log.warning("spool: not accepted now, tried again: %s", trouble.reason)
        self._paused_until = time.monotonic() + _PAUSE_S
        file.cursor = min(file.cursor, seq - 1)

    def _hand_over(self) -> int:
        """Offers what is next, as far as there is room; how many were taken."""
        handed = 0
        if time.monotonic() < self._paused_until:
            return 0
        own = self._own()
        for file in [*self.files, *([own] if own else [])]:
            for kept in self._following(file):
                if self._bytes > _IN_FLIGHT_BYTES or not self._offer(file, kept):
                    return handed
                handed += 1
                file.cursor = kept.seq
        return handed

    def _following(self, file: SpoolFile) -> list[Kept]:
        found: list[Kept] = []
        most = min(_BATCH, _IN_FLIGHT - len(self._in_flight))
        self._asked(file, lambda one: found.extend(one.following(most)))
        return found

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


def _tell(file: SpoolFile) -> None:
    log.info("spool: sends %d reports that another process left in %s", file.counts().waiting, file.path)
