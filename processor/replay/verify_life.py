"""The life of runs and progress beside the tables, for `processor verify`.

Compared is what starts and stops have said (`cerebros_run_reports`) and the number of their revisions: the runs' own
rows belong to other programs too, whose changes are no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from processor.core.life import Held, Life
from processor.core.messages import Order, Progress, RunReport
from processor.replay.life import LifeFold, Ran, key_of
from processor.store.life_tables import LifeTables
from processor.store.progress import Key, Last

#: a row from beyond the range is newer than what was read, and not compared
NEWER = "newer"


class Misfit(NamedTuple):
    """As `verify.Difference`; of the kind `NEWER` it is none."""

    kind: str
    run_id: str
    trial_id: str
    order: Order
    detail: str


class LifeVerification:
    """`take` what was reported, then look at the `misfits`."""

    def __init__(self, tables: LifeTables, fold: LifeFold, was_read: Callable[[Order], bool]) -> None:
        """`was_read`: whether a position lies in the range."""
        self._tables, self._fold, self._was_read = tables, fold, was_read
        self.runs = self.rows = 0

    def take(self, report: RunReport | Progress, *, in_order: bool) -> None:
        """`in_order`: it came to its row when its place in the topic says."""
        if type(report) is RunReport:
            self._fold.take_run(report, self._fold.run(report.run_id) or Ran(report.run_id), in_order=in_order)
        elif type(report) is Progress:
            held = self._fold.row(key_of(report))
            self._fold.take_progress(report, held.last if held else None)
            self._fold.take_seen(report)

    def misfits(self, *, whole_history: bool) -> Iterator[Misfit]:
        """What differs; revisions too where `whole_history` was taken."""
        for runs in self._fold.runs():
            held = self._tables.runs([run.run_id for run in runs])
            self.runs += len(runs)
            for run in runs:
                yield from self._of_run(run, held.get(run.run_id), whole_history)
        yield from self._of_rows("start", self._tables.starts)
        yield from self._of_rows("metric", self._tables.metrics)
        yield from self._of_seen()

    def _of_run(self, run: Ran, held: Life | None, whole_history: bool) -> Iterator[Misfit]:
        found = []
        for kind in ("start", "stop"):
            said: Held | None = getattr(run.life, kind)
            if said is not None:
                found.append(self._beside(said.order, said.digest, getattr(held, kind, None)))
                if found[-1]:
                    yield Misfit(found[-1][0], run.run_id, "", said.order, f"{kind}: {found[-1][1]}")
                if found[-1] and found[-1][0] == NEWER:
                    return  # a start from beyond the range has ended the end, too
        if held is None or any(found):
            return
        if whole_history and run.ordered and held.revision != run.life.revision:
            detail = f"the run has revision {held.revision}, the topic makes {run.life.revision}"
            order = max(one.order for one in (run.life.start, run.life.stop) if one is not None)
            yield Misfit("revision", run.run_id, "", order, detail)

    def _of_rows(self, kind: str, look: Callable[[list[Key]], Mapping[Key, Last]]) -> Iterator[Misfit]:
        for page in self._fold.rows(kind):
            held = look([tuple(one.key) for one in page])
            self.rows += len(page)
            for one in page:
                there = held.get(tuple(one.key))
                problem = self._beside(one.last.order, one.last.content, there)
                if problem:
                    run_id, trial_id, *where = one.key
                    name = " at step ".join(str(part) for part in where if part is not None) or "start"
                    yield Misfit(problem[0], str(run_id), str(trial_id), one.last.order, f"{name}: {problem[1]}")

    def _beside(self, order: Order, content: bytes, held: Held | Last | None) -> tuple[str, str] | None:
        if held is None:
            return "missing_row", "it is not there"
        where = f"partition {held.order.partition} offset {held.order.offset}"
        if order < held.order:
            if not self._was_read(held.order):
                return NEWER, ""
            return "position", f"what is held comes from {where}, which holds no such report"
        if content != held[1]:
            return "content", "other content" + (f", from an older report, {where}" if held.order < order else "")
        if held.order != order:
            return "position", f"the same content from an older report, {where}"
        return None

    def _of_seen(self) -> Iterator[Misfit]:
        for page in self._fold.seen():
            held = self._tables.seen([tuple(one.key) for one in page])
            for one in page:
                last = held.get(tuple(one.key))
                if last is None or last < one.timestamp_ms:
                    order = Order(one.timestamp_ms, one.partition, one.offset, 0)
                    kind, (run_id, trial_id) = "missing_row" if last is None else "content", one.key
                    yield Misfit(kind, run_id, trial_id, order, "last_seen")
