"""`processor verify`: do the tables hold what the raw topic says? Folds a range of it and compares; writes nothing.

One pass: every record is decoded as ingest does it, each rejection is looked up among the dead letters, each report
goes into a `Fold`; at the end Postgres itself compares what the fold holds with its rows, page by page.

What it can't see:

- the life of runs and progress are compared by `verify_life`, which says what of them it sees
- rows that no report of the range stands for are not looked for, nor is any event
- a report whose dead letter is not resolved counts as kept there, not as a version of its row
- revisions are counted only where the range is the whole history (all partitions, from offset 0) and all reports of a
  trial lie in one partition; a compacted topic no longer holds the whole history, and offsets that were moved ahead of
  what was read, then back, rightly leave a row with fewer revisions than the topic could have made, and a row that was
  changed by hand and mended by a replay has more
- a row that existed before this processor and was never changed by it has revision 0, and is not counted
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from processor.core.messages import Order, Outcome, RawRecord, Rejection, TrialReport
from processor.decode.decoder import Decode
from processor.kafka.ranges import Range
from processor.replay.fold import Fold, Trial, succeed
from processor.replay.letters import letters_of
from processor.replay.life import LifeFold
from processor.replay.verify_life import NEWER, LifeVerification
from processor.store.compare import Compared, Comparison, Position
from processor.store.life_tables import LifeTables
from processor.store.rows import row_json

#: differences that are told one by one; the others are only counted
MAX_SHOWN = 100
PAGE_TRIALS, PAGE_BYTES = 500, 4 * 1024 * 1024


class Difference(NamedTuple):
    """One thing that is not as the topic says.

    `kind` is missing_row, content, position, revision or missing_dead_letter; `partition` and `offset` are those of the
    record that says otherwise. Or it is count, of a count of trials that is not what the rows come to, or
    database, of a key, index, trigger or constraint that is gone: no record, -1.
    """

    kind: str
    run_id: str
    trial_id: str
    partition: int
    offset: int
    detail: str


class Findings(msgspec.Struct):
    """What a verification saw; `newer` rows hold a report from beyond the range and are not compared.

    `runs` are those with a start or a stop, `progress` the rows of progress.
    """

    records: int = 0
    reports: int = 0
    rejections: int = 0
    trials: int = 0
    newer: int = 0
    runs: int = 0
    progress: int = 0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    shown: list[Difference] = msgspec.field(default_factory=list)

    def add(self, difference: Difference) -> None:
        self.kinds[difference.kind] += 1
        if len(self.shown) < MAX_SHOWN:
            self.shown.append(difference)


class _Ids(msgspec.Struct):
    run_id: str
    trial_id: str


#: of a row as `store.rows.row_json` gives it; what else it holds (numbers beyond a double) is not read
_read_ids = msgspec.json.Decoder(_Ids).decode


class Verification:
    """`take` the records of the ranges in any order of partitions, then `settle`."""

    def __init__(
        self,
        comparison: Comparison,
        tables: LifeTables,
        fold: Fold,
        decode: Decode,
        topic: str,
        ranges: Sequence[Range],
    ) -> None:
        self._comparison, self._fold, self._decode, self._topic = comparison, fold, decode, topic
        self._life = LifeVerification(tables, LifeFold(fold), self._lies_within)
        self._ranges = {one.partition: one for one in ranges}
        self.findings = Findings()

    def take(self, records: Sequence[RawRecord]) -> None:
        letters = self._comparison.letters(records)
        self.findings.records += len(records)
        for record in records:
            outcomes = self._decode(record)
            whole = any(one.index < 0 for one in outcomes)
            for outcome in outcomes:
                beside = whole and not isinstance(outcome, Rejection)
                self._take(outcome, letters_of(letters, outcome, beside_whole=beside))

    def _take(self, outcome: Outcome, letters: list[bool]) -> None:
        if isinstance(outcome, Rejection):
            self.findings.rejections += 1
            if not letters:
                where, why = outcome.record, f"{outcome.reason.value}: {outcome.detail}"
                self.findings.add(Difference("missing_dead_letter", "", "", where.partition, where.offset, why))
            return
        self.findings.reports += 1
        if any(letters):
            return
        if not isinstance(outcome, TrialReport):
            self._life.take(outcome, in_order=not letters)
            return
        held = self._fold.get(outcome)
        _, trial = succeed(held, outcome)
        if letters:  # redriven: it came to its row later than its place in the topic says
            trial = trial._replace(ordered=False)
        if held is None or trial.order != held.order:
            trial = trial._replace(row=row_json(outcome))
        if trial != held:
            self._fold.put(outcome, trial)

    def settle(self, *, whole_history: bool) -> Findings:
        """Compares what was taken with the rows; revisions too where `whole_history` was taken."""
        for page in self._fold.pages(PAGE_TRIALS, PAGE_BYTES):
            self.findings.trials += len(page)
            for trial, row in zip(page, self._comparison.compare([trial.row for trial in page]), strict=True):
                problem = self._problem(trial, row, whole_history)
                if problem is not None:
                    ids = _read_ids(trial.row)
                    _, partition, offset, _ = trial.order
                    self.findings.add(Difference(problem[0], ids.run_id, ids.trial_id, partition, offset, problem[1]))
        self._settle_life(whole_history)
        return self.findings

    def _settle_life(self, whole_history: bool) -> None:
        for kind, run_id, trial_id, order, detail in self._life.misfits(whole_history=whole_history):
            if kind == NEWER:
                self.findings.newer += 1
            else:
                self.findings.add(Difference(kind, run_id, trial_id, order.partition, order.offset, detail))
        self.findings.runs, self.findings.progress = self._life.runs, self._life.rows

    def _problem(self, trial: Trial, row: Compared, whole_history: bool) -> tuple[str, str] | None:
        if not row.held:
            missing = "the run has no such trial" if row.run_known else "there is no such run"
            return "missing_row", f"Postgres refuses the report: {row.refusal}" if row.refusal else missing
        if row.newer < 0:
            if not self._was_read(row.position):
                self.findings.newer += 1
                return None
            return "position", f"the row comes from {_place(row.position)}, which holds no report of this trial"
        if row.fields:
            older = f"; the row holds an older report, from {_place(row.position)}" if row.newer else ""
            return "content", f"{', '.join(row.fields)}{older}"
        if row.newer:
            return "position", f"the row has the same content from an older report, from {_place(row.position)}"
        if whole_history and trial.ordered and row.revision not in (0, trial.versions):
            return "revision", f"the row has revision {row.revision}, the topic makes {trial.versions}"
        return None

    def _was_read(self, position: Position | None) -> bool:
        return position is not None and position.topic == self._topic and self._lies_within(position)

    def _lies_within(self, position: Position | Order) -> bool:
        one = self._ranges.get(position.partition)
        return one is not None and one.begin <= position.offset < one.end


def _place(position: Position | None) -> str:
    return f"partition {position.partition} offset {position.offset}" if position else "before this processor"
