"""`replay --window --dry-run`: what a replay would do, without doing it.

A read-only comparison rather than the real write rolled back: the write locks the runs that live ingest needs just
now, burns ids, leaves dead rows behind, and forgets between two batches what the first one would have changed. So each
trial's first report is judged by Postgres beside its row, and later ones against what the earlier would have left.

The life of runs and progress are foretold in the same way, by `forecast_life`.

What can't be foreseen: a report that Postgres only refuses when it is written (an index entry that is too long, a
trigger, a full disk), and what others write meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from processor.core.messages import Outcome, RawRecord, Rejection, Report, TrialReport
from processor.core.parts import in_parts
from processor.core.sameness import content_digest
from processor.core.verdict import Verdict
from processor.decode.decoder import Decode
from processor.replay.fold import Fold, Trial, succeed
from processor.replay.forecast_life import LifeForecaster
from processor.replay.letters import letters_of
from processor.replay.life import LifeFold
from processor.store.compare import Compared, Comparison, Letter
from processor.store.life_tables import LifeTables
from processor.store.rows import row_json, split_into_waves

MAX_SHOWN = 10
PART_REPORTS, PART_BYTES = 500, 4 * 1024 * 1024


class Change(NamedTuple):
    """A row that would change: from which revision (0: from none, it is new), and which fields."""

    run_id: str
    trial_id: str
    from_revision: int
    fields: tuple[str, ...]


class Forecast(msgspec.Struct):
    """`results` counts reports as the replay itself would; rows count once however often they would change."""

    records: int = 0
    new_rows: int = 0
    changed_rows: int = 0
    events: int = 0
    dead_letters: int = 0
    results: Counter[str] = msgspec.field(default_factory=Counter)
    shown: list[Change] = msgspec.field(default_factory=list)


class Forecaster:
    """`take` the records in the order of their partitions; `forecast` is what they would have done."""

    def __init__(
        self, comparison: Comparison, tables: LifeTables, fold: Fold, decode: Decode, *, create_runs: bool
    ) -> None:
        self._comparison, self._fold, self._decode = comparison, fold, decode
        self._create_runs = create_runs
        self._life = LifeForecaster(tables, LifeFold(fold), create_runs=create_runs)
        self._letters: dict[Letter, bool] = {}
        self._in_part: set[tuple[int, int]] = set()  # partition and offset of records that are rejected at -1 and more
        self.forecast = Forecast()

    def take(self, records: Sequence[RawRecord]) -> None:
        self._letters = self._comparison.letters(records)
        self._in_part.clear()
        self.forecast.records += len(records)
        for part in self._parts(records):
            self._take_life([one for one in part if not isinstance(one, TrialReport)])
            for wave in split_into_waves([one for one in part if isinstance(one, TrialReport)]):
                self._take_wave(wave)

    def _take_life(self, reports: Sequence[Report]) -> None:
        """Starts and stops first, as the store does it: a start makes the run of what comes with it."""
        forecast = self.forecast
        for report, told in self._life.take(reports):
            if told is None:
                self._reject(report)
                continue
            forecast.results[told.verdict.word] += 1
            forecast.events += told.has_event
            if told.verdict is Verdict.INSERTED:
                forecast.new_rows += told.is_first
            elif told.verdict is Verdict.CHANGED:
                forecast.changed_rows += told.is_first
            if told.is_first and len(forecast.shown) < MAX_SHOWN:
                forecast.shown.append(Change(report.run_id, told.trial_id, told.from_revision, told.fields))

    def _parts(self, records: Sequence[RawRecord]) -> Iterator[list[Report]]:
        """The valid reports, a bounded number at a time; rejections are counted on the way."""
        sized = ((report, size) for record in records for report, size in self._valid(record))
        for part in in_parts(sized, lambda one: one[1], PART_BYTES, PART_REPORTS):
            yield [report for report, _ in part]

    def _valid(self, record: RawRecord) -> Iterator[tuple[Report, int]]:
        """The record's valid reports, each with its share of the record's bytes."""
        outcomes = self._decode(record)
        share = record.size // max(1, len(outcomes))
        if len(outcomes) > 1 and any(one.index < 0 for one in outcomes):
            self._in_part.add((record.partition, record.offset))
        for outcome in outcomes:
            if isinstance(outcome, Rejection):
                self._reject(outcome)
            else:
                yield outcome, share

    def _take_wave(self, wave: Sequence[TrialReport]) -> None:
        """Reports of different trials, each after all earlier ones of its trial."""
        trials = [self._fold.get(report) for report in wave]
        new = [row_json(report) for report, trial in zip(wave, trials, strict=True) if trial is None]
        rows = iter(self._comparison.compare(new))
        for report, trial in zip(wave, trials, strict=True):
            if trial is not None:
                self._count(report, *succeed(trial, report), None)
                continue
            row = next(rows)
            if row.refusal or not (row.run_known or self._create_runs or self._life.makes(report.run_id)):
                self._reject(report)
            else:
                self._count(report, *_beside(row, report), row)

    def _count(self, report: TrialReport, verdict: Verdict, trial: Trial | None, row: Compared | None) -> None:
        forecast = self.forecast
        forecast.results[verdict.word] += 1
        if trial is not None:
            self._fold.put(report, trial)
        if trial is None or verdict not in (Verdict.INSERTED, Verdict.CHANGED):
            return
        forecast.events += report.content["status"] in ("succeeded", "failed")
        if trial.versions > 1:  # the row is counted already
            return
        if verdict is Verdict.INSERTED:
            forecast.new_rows += 1
        else:
            forecast.changed_rows += 1
        if len(forecast.shown) < MAX_SHOWN:
            row = row or self._comparison.compare([row_json(report)])[0]
            forecast.shown.append(Change(report.run_id, report.trial_id, row.revision, row.fields))

    def _reject(self, outcome: Outcome) -> None:
        self.forecast.results["rejected"] += 1
        beside = outcome.index >= 0 and (outcome.record.partition, outcome.record.offset) in self._in_part
        self.forecast.dead_letters += not letters_of(self._letters, outcome, beside_whole=beside)


def _beside(row: Compared, report: TrialReport) -> tuple[Verdict, Trial | None]:
    """As `fold.succeed`, for a trial that the window has not changed so far: its row says what it holds."""
    if row.verdict is Verdict.STALE:
        return row.verdict, None
    versions = 1 if row.verdict in (Verdict.INSERTED, Verdict.CHANGED) else 0
    return row.verdict, Trial(report.order, content_digest(report), versions)
