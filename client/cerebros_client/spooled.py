"""Reports that are on disk before anybody waits for the network."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from cerebros_client.direct import Direct, lost
from cerebros_client.errors import Undelivered, UndeliveredError
from cerebros_client.spool import is_damage, new_file, orphans
from cerebros_client.spool_file import LAST, ReenteredError, SpoolFile
from cerebros_client.spool_sender import LOOK_S, Sender
from cerebros_client.transport import Report, Target, Transport

log = logging.getLogger("cerebros_client")

_ASK_S = 0.02
_NAMED = 1_000  # reports that `flush` hands back with their bytes


#: a file, and the number of its last report that is waited for
_Mark = tuple[SpoolFile, int]


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
        self._gone: list[SpoolFile] = []  # somebody took them away; the sender still reads them
        self._damaged: deque[Undelivered] = deque()  # until somebody is told
        self._unusable_until, self._told = 0.0, False
        self.in_part: set[Path] = set()  # of dead processes: not all of them can be sent
        self._failing: weakref.WeakSet[SpoolFile] = weakref.WeakSet()  # told
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
                    self._gone = [*(file for file in self._gone if file.is_open), gone]
                self._told = False
            return self._own

    def _disk_failed(self, error: Exception, file: SpoolFile | None = None) -> None:
        """Told once for each outage of the disk, and the search goes on. `file`: None where it is this process's."""
        if file is not None and file is not self._own:
            self._other_failed(error, file)
            return
        with self._lock:
            aside = ""
            if self._own and is_damage(error):
                unsettled = self._own.unsettled
                aside = f"; the file is kept as {(path := self._own.set_aside())}"
                self._own = None
                if unsettled:
                    self._damaged.append(_unreadable(path, f"damaged; not confirmed of what is in it: {unsettled}"))
            elif self._own is None and time.monotonic() >= self._unusable_until:
                self._unusable_until = time.monotonic() + LOOK_S
            if not self._told or aside:
                said = "spool: %s can't be used (%s)%s: reports are kept in memory only, until it can"
                log.error(said, self._folder, error, aside)
            self._told = True

    def _other_failed(self, error: Exception, file: SpoolFile) -> None:
        """A file of a dead process, or one that was taken away from this one."""
        self.in_part.add(file.path)
        aside = ""
        if is_damage(error):
            aside = f"; it is kept as {(path := file.set_aside())}"
            if file.unsettled > 0:
                self._damaged.append(_unreadable(path, f"damaged; not confirmed of what is in it: {file.unsettled}"))
        if aside or file not in self._failing:
            self._failing.add(file)
            log.error("spool: %s can't be used (%s)%s", file.path, error, aside)

    def _left(self) -> Iterator[SpoolFile]:
        """What dead processes left, and this one is to send."""
        found = orphans(self._folder, self._wanted, self._max_mib, refused=self._again, in_part=self.in_part.add)
        for file in found:
            try:
                if self._again:
                    file.offer_again()
            except (sqlite3.Error, OSError) as error:
                self._other_failed(error, file)
            if file.is_open:
                yield file

    def wait(self, timeout_s: float, *, adopted: bool = False) -> bool:
        """Until every report of this process so far is settled, and with `adopted` those of dead ones; whether so."""
        return self._wait(timeout_s, self._marks(), self._direct.last(), adopted)

    def _wait(self, timeout_s: float, marks: list[_Mark], last: int, adopted: bool = False) -> bool:
        deadline = time.monotonic() + timeout_s
        while (waiting := self._is_waiting(marks, adopted)) and (left := deadline - time.monotonic()) > 0:
            if self._is_interrupted:
                break
            self.sender.wake()
            time.sleep(min(_ASK_S, left))
        self._direct.wait(max(0.0, deadline - time.monotonic()), last)
        return not waiting

    @property
    def _is_interrupted(self) -> bool:
        """Whether a signal's handler asks, in the middle of writing: until it returns the sender waits for it."""
        return self._own is not None and self._own.is_interrupted

    def _marks(self) -> list[_Mark]:
        """What is in the files of this process, also in those that were taken away; other threads go on reporting."""
        with self._lock:
            mine = [file for file in (*self._gone, self._own) if file is not None and file.is_open]
        marks = []
        for file in mine:
            try:
                marks.append((file, file.last()))
            except (sqlite3.Error, OSError):
                marks.append((file, LAST))
        return marks

    def _is_waiting(self, marks: list[_Mark], adopted: bool) -> bool:
        if adopted and (not self.sender.has_looked or self.sender.files):
            return True
        return any(self._has_waiting(*mark) for mark in marks)

    def _has_waiting(self, file: SpoolFile, last: int) -> bool:
        """A file that can't be asked may hold some, unless the sender has closed it meanwhile, or it was set aside."""
        try:
            return file.is_open and file.is_waiting(last, self.sender.unforgotten(file))
        except (sqlite3.Error, OSError) as error:
            if file.is_open:
                self._disk_failed(error, file)
            return file.is_open

    def flush(self, timeout_s: float) -> None:
        """Raises `UndeliveredError`, see `TrialReporter.flush`; what it says to be in the spool is safe there."""
        marks, last = self._marks(), self._direct.last()
        self._wait(timeout_s, marks, last)
        waiting = [one for file, until in marks for one in self._unconfirmed(file, until)]
        if undelivered := [*self._unsafe(last), *waiting]:
            raise UndeliveredError(undelivered)

    def _unconfirmed(self, file: SpoolFile, last: int = LAST) -> list[Undelivered]:
        if not self._has_waiting(file, last):
            return []
        place = "it is in the spool" if file.is_there() else "its file in the spool was taken away"
        done = self.sender.unforgotten(file)
        try:
            kept = [one for one in file.first(_NAMED + len(done), last) if one.seq not in done]
            return [lost(one.report, f"no confirmation yet; {place}") for one in kept]
        except (sqlite3.Error, OSError) as error:
            return [_unreadable(file.path, str(error))] if file.is_open else []

    def _unsafe(self, last: float = math.inf) -> list[Undelivered]:
        """What was refused since the last call, what a damaged file held, what only memory has and is not sent."""
        refused = [self.sender.refused.popleft() for _ in range(len(self.sender.refused))]
        damaged = [self._damaged.popleft() for _ in range(len(self._damaged))]
        return [*refused, *damaged, *self._direct.undelivered(last)]

    def close(self, timeout_s: float) -> None:
        """Sends for as long as that, then leaves the rest in the spool, told by a log line.

        Raises `UndeliveredError` for what was refused, and for what is in no file that the next one finds.
        """
        try:
            self.wait(timeout_s)
        finally:
            self.sender.stop(wait=not self._is_interrupted)
            self._transport.close()
            if not self._is_interrupted:  # or what was interrupted would be in the middle of another transaction
                with contextlib.suppress(sqlite3.Error, OSError):
                    self.sender.settle_all()
            unsafe = self._all_unsafe()
            self._leave()
        if unsafe:
            raise UndeliveredError(unsafe)

    def confirm(self, timeout_s: float) -> None:
        self.wait(timeout_s)
        if unsafe := self._all_unsafe():
            raise UndeliveredError(unsafe)

    def _all_unsafe(self) -> list[Undelivered]:
        """Also what is in no file that the next one finds."""
        gone = [file for file, _ in self._marks() if not file.is_there()]
        return [*(one for file in gone for one in self._unconfirmed(file)), *self._unsafe()]

    def _leave(self) -> None:
        waiting = 0
        for file in self._files():
            with contextlib.suppress(sqlite3.Error, OSError):
                waiting += file.counts().waiting if file.is_there() else 0
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


def _unreadable(path: Path, why: str) -> Undelivered:
    """Stands for the reports of a file that does not say which they are."""
    return Undelivered("spool", path.name, why, b"")
