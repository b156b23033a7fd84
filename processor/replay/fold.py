"""Reports -> the newest version of each trial, in a temporary SQLite file: memory stays small, whatever the range.

The same rules as the store's, without the store: a report that is older than what is held changes nothing, one that is
equal in content only moves the position, any other is a new version. Content is compared by a digest; two reports have
the same one exactly when Postgres finds their rows equal (a property test holds the two together).
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from processor.core.messages import Order, TrialReport
from processor.core.parts import in_parts
from processor.core.sameness import DIGEST_BYTES, content_digest
from processor.core.verdict import Verdict, judge

#: what SQLite keeps of its file in memory, in KiB
CACHE_KIB = 32 * 1024

_SCHEMA = """
create table trials (
    id integer primary key, key blob not null unique, timestamp_ms integer not null, partition integer not null,
    offset integer not null, place integer not null, digest blob not null, versions integer not null,
    ordered integer not null, row blob not null);
create table life (id integer primary key, key blob not null unique, kind text not null, state blob not null)
"""
_SELECT = "select timestamp_ms, partition, offset, place, digest, versions, ordered, row from trials where key = ?"
_SAVE = """
insert into trials (key, timestamp_ms, partition, offset, place, digest, versions, ordered, row)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (key) do update set
    timestamp_ms = excluded.timestamp_ms, partition = excluded.partition, offset = excluded.offset,
    place = excluded.place, digest = excluded.digest, versions = excluded.versions, ordered = excluded.ordered,
    row = excluded.row
"""
_SAVE_STATE = """
insert into life (key, kind, state) values (?, ?, ?) on conflict (key) do update set state = excluded.state
"""
_ALL = "select timestamp_ms, partition, offset, place, digest, versions, ordered, row from trials order by id"


class Trial(NamedTuple):
    """What the reports so far come to; `row` is the newest one as `store.rows.row_json` gives it, or empty.

    `ordered` is True where all its reports lie in one partition: only then does the topic alone say in which order
    they came, and so how many `versions` there were.
    """

    order: Order
    digest: bytes
    versions: int = 1
    ordered: bool = True
    row: bytes = b""


def succeed(held: Trial | None, report: TrialReport) -> tuple[Verdict, Trial]:
    """What one more report makes of a trial: the store's verdict and what is then held."""
    order, digest = report.order, content_digest(report)
    if held is None:
        return Verdict.INSERTED, Trial(order, digest)
    ordered = held.ordered and order.partition == held.order.partition
    verdict = judge(order, held.order, digest == held.digest)
    if verdict is Verdict.STALE:
        return verdict, held._replace(ordered=ordered)
    versions = held.versions + (verdict is Verdict.CHANGED)
    return verdict, Trial(order, digest, versions, ordered, b"" if verdict is Verdict.CHANGED else held.row)


class Fold:
    """The trials by run and trial id. The file lies in the system's temporary folder (TMPDIR) and goes with `close`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="processor-fold-")
        self._file = sqlite3.connect(Path(self._folder.name) / "trials", isolation_level=None)
        for pragma in ("journal_mode = off", "synchronous = off", f"cache_size = -{CACHE_KIB}"):
            self._file.execute(f"pragma {pragma}")
        for statement in _SCHEMA.split(";"):
            self._file.execute(statement)
        self._file.execute("begin")  # never committed: nobody reads the file again

    def __enter__(self) -> Fold:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._folder.cleanup()

    def get(self, report: TrialReport) -> Trial | None:
        row = self._file.execute(_SELECT, (_key(report),)).fetchone()
        return _trial(row) if row else None

    def put(self, report: TrialReport, trial: Trial) -> None:
        order, digest, versions, ordered, row = trial
        self._file.execute(_SAVE, (_key(report), *order, digest, versions, ordered, row))

    def pages(self, max_trials: int, max_bytes: int) -> Iterator[list[Trial]]:
        """All trials as they first came, at most so many and so many bytes of rows a page (one always fits)."""
        trials = (_trial(row) for row in self._file.execute(_ALL))
        return in_parts(trials, lambda trial: len(trial.row), max_bytes, max_trials)

    def get_state(self, key: tuple[Any, ...]) -> bytes | None:
        """What was put under a key that is no trial's."""
        found = self._file.execute("select state from life where key = ?", (msgspec.msgpack.encode(key),)).fetchone()
        return found[0] if found else None

    def put_state(self, kind: str, key: tuple[Any, ...], state: bytes) -> None:
        self._file.execute(_SAVE_STATE, (msgspec.msgpack.encode(key), kind, state))

    def states(self, kind: str) -> Iterator[bytes]:
        """All of the kind, as they first came."""
        rows = self._file.execute("select state from life where kind = ? order by id", (kind,))
        return (row[0] for row in rows)


def _trial(row: tuple[Any, ...]) -> Trial:
    return Trial(Order(*row[:4]), row[4], row[5], bool(row[6]), row[7])


def _key(report: TrialReport) -> bytes:
    return blake2b(msgspec.msgpack.encode((report.run_id, report.trial_id)), digest_size=DIGEST_BYTES).digest()
