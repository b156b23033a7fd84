"""One file of a spool: SQLite, written by the one process that holds its lock.

Each process has a file of its own, so that none waits for another's disk, and one that is damaged harms no other. The
lock is the system's (`flock` of a file beside it): it goes with its process, however that ends, and then the next one
that looks takes the file over.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from cerebros_client.checkpoints import reach
from cerebros_client.kafka import leak
from cerebros_client.spool_paths import put_aside, remove, sync_folder, take_lock
from cerebros_client.spool_room import Reserve, is_full
from cerebros_client.spool_schema import set_up
from cerebros_client.transport import Report

#: a commit has reached the disk, so that a power cut loses nothing either; normal would survive a kill only
SYNCHRONOUS = "full"
#: beyond every number of a report
LAST = 2**63 - 1
_INSERT = "insert into reports (run_id, trial_id, value, timestamp_ms, single) values (?, ?, ?, ?, ?)"
_READ = "select seq, run_id, trial_id, value, timestamp_ms, single from reports where "
_FOLLOWING = _READ + "seq > ? and refused is null order by seq limit ?"
_T = TypeVar("_T")
#: all SQLite of this process, so that a fork finds it at rest: a lock inside it that another thread holds at that
#: moment would never be given back in the child
_lock = threading.RLock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Kept(NamedTuple):
    """A report in a file, by the number that orders it."""

    seq: int
    report: Report


class Counts(NamedTuple):
    waiting: int
    refused: int


class _Asked:
    """A report that is to be written, and what became of it."""

    def __init__(self, report: Report) -> None:
        self.report, self.done = report, False
        self.error: Exception | None = None


class ReenteredError(Exception):
    """A signal's handler reports while its thread is in the middle of a transaction, which can't be told from it."""


class SpoolFile:
    """Threads of its process share it. Every call raises `sqlite3.Error` or `OSError` where the disk does not do it."""

    def __init__(self, path: Path, lock: int, target: str, max_bytes: int) -> None:
        self.path, self._lock_file = path, lock
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._inode = os.stat(path).st_ino
        self._reserve, self._was_full = Reserve(path), False
        with _lock:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=16)
            try:
                self.target = self._with_room(lambda: set_up(self._database, target, max_bytes))
                self._database.execute(f"pragma synchronous = {SYNCHRONOUS}")
            except BaseException:
                self._database.close()
                raise
        self._asked: deque[_Asked] = deque()
        self._writer: int | None = None  # the thread that is in a transaction
        self.is_open = True
        self.unsettled = 0  # written here, and neither confirmed nor refused
        self.cursor = 0  # of the sender: what is beyond it has not been handed over

    @classmethod
    def create(cls, path: Path, target: str, max_bytes: int) -> Self:
        """A new file in a folder that is made where there is none."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(path)
        if lock is None:
            raise FileExistsError(f"{path} is another process's")
        try:
            made = cls(path, lock, target, max_bytes)
            made._reserve.hold()
            sync_folder(path.parent)
        except BaseException:
            remove(path)
            os.close(lock)
            raise
        return made

    def put(self, report: Report) -> None:
        """On disk when it returns.

        1. The row is written, and the commit waits for the disk: one wait for all threads that came meanwhile.
        2. `report` returns; whatever happens now, the report will be sent.
        """
        reach("report.begun")
        if self.is_interrupted:
            raise ReenteredError("a report of this thread is just being written")
        self._asked.append(asked := _Asked(report))
        with _lock:
            if not asked.done:
                self._write()
        if asked.error:
            raise asked.error
        reach("report.kept")

    def _write(self) -> None:
        """All that was asked for, in its order.

        Ctrl-C may come between any two steps: what others asked for stays in the queue until it is written, so that
        its owner, who finds it not done, writes it. What was written and not marked is written twice, and is the same.
        """
        asked = [one for one in self._asked.copy() if not one.done]
        error: Exception | None = None
        try:
            if not self.is_there():
                raise FileNotFoundError(f"{self.path} was taken away")
            self._hold_reserve()
            self._execute_all(_INSERT, [one.report for one in asked])
            self.unsettled += len(asked)
        except (sqlite3.Error, OSError) as failed:
            error = failed
        for one in asked:
            one.error, one.done = error, True
        while self._asked and self._asked[0].done:
            self._asked.popleft()

    def _execute_all(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """In one transaction."""
        self._writer = threading.get_ident()
        try:
            if self._database.in_transaction:  # Ctrl-C came before the last one was rolled back
                self._database.execute("rollback")
            self._database.execute("begin")
            self._database.executemany(sql, rows)
            self._database.execute("commit")
        finally:
            try:
                if self.is_open and self._database.in_transaction:  # a signal's handler may have closed it
                    self._database.execute("rollback")
            finally:
                self._writer = None

    @property
    def is_interrupted(self) -> bool:
        """Whether this is a signal's handler, and its thread in the middle of a transaction: nobody else gets on."""
        return self._writer == threading.get_ident()

    def is_there(self) -> bool:
        """SQLite would go on writing into a file that somebody has removed, or that nobody else can reach any more."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except OSError:
            return False

    def following(self, most: int) -> list[Kept]:
        """The reports behind the cursor, in the order they came in; those refused are left out."""
        return self._read(_FOLLOWING, self.cursor, most)

    def first(self, most: int, last: int = LAST) -> list[Kept]:
        """The oldest reports that are not confirmed and not refused, up to that number."""
        return [kept for kept in self._read(_FOLLOWING, 0, most) if kept.seq <= last]

    def last(self) -> int:
        """The number of the latest report."""
        with _lock:
            [found] = self._database.execute("select max(seq) from reports").fetchone()
        return found or 0

    def is_waiting(self, last: int = LAST, besides: Collection[int] = ()) -> bool:
        """`besides`: those that are confirmed, and that the disk can't forget now."""
        if not besides:
            return bool(self.first(1, last))
        with _lock:
            rows = self._database.execute("select seq from reports where seq <= ? and refused is null", (last,))
            return any(seq not in besides for [seq] in rows.fetchall())

    def _read(self, sql: str, number: int, most: int) -> list[Kept]:
        with _lock:
            rows = self._database.execute(sql, (number, most)).fetchall()
        return [Kept(row[0], Report(row[1], row[2], row[3], row[4], bool(row[5]))) for row in rows]

    def forget(self, seqs: Iterable[int]) -> None:
        """They are confirmed. This need not reach the disk: what a power cut brings back is sent once more."""
        reach("confirmed")
        rows = [(seq,) for seq in seqs]
        with _lock:
            self._database.execute("pragma synchronous = normal")
            try:
                self._with_room(lambda: self._execute_all("delete from reports where seq = ?", rows))
                self.unsettled -= len(rows)
                self._shrink()
            finally:
                self._database.execute(f"pragma synchronous = {SYNCHRONOUS}")
        reach("forgotten")

    def _with_room(self, call: Callable[[], _T]) -> _T:
        """On a full disk once more, in the room that was kept for that."""
        try:
            return call()
        except sqlite3.Error as error:
            if not is_full(error):
                raise
        self._was_full = True
        self._reserve.release()
        self.checkpoint()
        return call()

    def checkpoint(self) -> None:
        """Moves the log into the database, and gives its room back."""
        with _lock:
            self._database.execute("pragma wal_checkpoint(truncate)").fetchone()

    def _hold_reserve(self) -> None:
        """The log of what was forgotten may have taken of its room."""
        try:
            self._reserve.hold()
        except OSError:
            self.checkpoint()
            self._reserve.hold()

    def _shrink(self) -> None:
        """A file that has filled its disk gives the room back once nothing in it waits."""
        if self._was_full and not self.is_waiting():
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("vacuum")
                self.checkpoint()
                self._was_full = False

    def refuse(self, seq: int, reason: str) -> Report:
        """It will never be taken as it is; it stays, for a person to look at."""
        with _lock:
            update = "update reports set refused = ? where seq = ?"
            self._with_room(lambda: self._database.execute(update, (reason, seq)))
            self.unsettled -= 1
            return self._read(_READ + "seq = ? limit ?", seq, 1)[0].report

    def offer_again(self) -> None:
        """What was refused is to be sent once more."""
        with _lock:
            self._with_room(lambda: self._database.execute("update reports set refused = null"))
        self.cursor = 0

    def counts(self) -> Counts:
        with _lock:
            row = self._database.execute("select count(*), count(refused) from reports").fetchone()
        return Counts(row[0] - row[1], row[1])

    def close(self) -> None:
        """Lets go of the file, and removes it where nothing is in it."""
        self.is_open = False
        with _lock:
            with contextlib.suppress(sqlite3.Error, OSError):
                empty = self.is_there() and sum(self.counts()) == 0
                self._database.close()
                if empty:
                    remove(self.path)
            os.close(self._lock_file)

    def set_aside(self) -> Path:
        """It is damaged: under another name nobody takes it for a spool, and nothing of it is lost."""
        self.is_open = False
        with _lock:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            aside = put_aside(self.path)
            os.close(self._lock_file)
        return aside

    def abandon(self) -> None:
        """In a child after a fork: the parent goes on with it. The lock is not given back, only this copy of it."""
        leak(self._database)
        os.close(self._lock_file)
