"""Run reports and progress -> what they come to, in the fold's file, by the same rules as the store's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from processor.core.life import Life, held_of, lead
from processor.core.messages import Progress, RunReport
from processor.core.parts import in_parts
from processor.core.verdict import Verdict
from processor.replay.fold import Fold
from processor.store.progress import Key, Last, follow, last_of

#: rows that are compared at once
PAGE_ROWS = 2000


class Ran(NamedTuple):
    """A run; `ordered` where all its reports lie in one partition, so that its revisions can be counted.

    `changes` is how many revisions what came so far has made.
    """

    run_id: str
    life: Life = Life()
    ordered: bool = True
    changes: int = 0


class Row(NamedTuple):
    """A trial's start (run, trial) or a metric at a step (run, trial, metric, step).

    `changed`: what came so far has changed it.
    """

    key: list[str | int | None]
    last: Last
    changed: bool


class Seen(NamedTuple):
    """When a trial (run, trial) was last heard of."""

    key: list[str]
    timestamp_ms: int
    partition: int
    offset: int


_encode = msgspec.msgpack.Encoder().encode
_ran = msgspec.msgpack.Decoder(Ran).decode
_row = msgspec.msgpack.Decoder(Row).decode
_seen = msgspec.msgpack.Decoder(Seen).decode


def key_of(report: Progress) -> Key:
    """Which row it is of."""
    ids = (report.run_id, report.trial_id)
    return ids if report.starts else (*ids, report.content["metric_name"], report.content["step"])


class LifeFold:
    """What came so far; memory stays small whatever came."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def run(self, run_id: str) -> Ran | None:
        found = self._fold.get_state(("run", run_id))
        return _ran(found) if found else None

    def take_run(self, report: RunReport, held: Ran, *, in_order: bool = True) -> Verdict:
        """One more report of a run of which `held` is known. `in_order`: it came where it stands."""
        life, here = held.life, report.order.partition
        stands = [one.order.partition for one in (life.start, life.stop) if one is not None]
        ordered = in_order and held.ordered and all(one == here for one in stands)
        verdict, after = lead(life, held_of(report), starts=report.starts)
        changes = held.changes + after.revision - life.revision
        self._fold.put_state("run", ("run", report.run_id), _encode(Ran(report.run_id, after, ordered, changes)))
        return verdict

    def row(self, key: Key) -> Row | None:
        found = self._fold.get_state(("row", *key))
        return _row(found) if found else None

    def take_progress(self, report: Progress, held: Last | None, *, changed: bool = False) -> Verdict:
        """One more report of a row of which `held` is known, which others before it have `changed`."""
        key = key_of(report)
        verdict, last = follow(held, last_of(report))
        kind, changed = "start" if report.starts else "metric", changed or verdict <= Verdict.CHANGED
        self._fold.put_state(kind, ("row", *key), _encode(Row(list(key), last, changed)))
        return verdict

    def take_seen(self, report: Progress) -> None:
        key, record = ("seen", report.run_id, report.trial_id), report.record
        found = self._fold.get_state(key)
        if found is None or _seen(found).timestamp_ms < record.timestamp_ms:
            seen = Seen([report.run_id, report.trial_id], record.timestamp_ms, record.partition, record.offset)
            self._fold.put_state("seen", key, _encode(seen))

    def runs(self) -> Iterator[list[Ran]]:
        return _pages(_ran(one) for one in self._fold.states("run"))

    def rows(self, kind: str) -> Iterator[list[Row]]:
        """Of the kind `start` or `metric`."""
        return _pages(_row(one) for one in self._fold.states(kind))

    def seen(self) -> Iterator[list[Seen]]:
        return _pages(_seen(one) for one in self._fold.states("seen"))


def _pages(items: Iterator[Any]) -> Iterator[list[Any]]:
    return in_parts(items, lambda _: 1, PAGE_ROWS)
