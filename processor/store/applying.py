"""Reports -> rows and events, within a transaction that somebody else began and that holds the locks on their runs.

Trial reports are judged here, the others by `life` and `progress`: none of them ever changes another's rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

import asyncpg
import msgspec

from processor.core.errors import TransientError, Trouble
from processor.core.messages import Event, Outgoing, Progress, Rejection, Report, RunReport, TrialReport
from processor.core.parts import Halves
from processor.core.verdict import Verdict, judge
from processor.store.errors import ReportError, sort_error
from processor.store.life import LifeApplier
from processor.store.progress import ProgressApplier
from processor.store.queries import load_queries
from processor.store.refused import Refused
from processor.store.rejections import refused_by_database
from processor.store.rows import COPY_COLUMNS, copy_pieces, split_by_size, split_into_waves

#: as many reports are worth two more round trips, which spare Postgres half of its work
BULK_LEAST = 24

#: locked: id (text of uuid) by the run id that Cerebros sent
Runs = Mapping[str, str]
#: verdicts by place in the reports; None: the content has to be compared
Looked = dict[int, Verdict | None]
#: from this one on position and digest are enough
_CERTAIN = Verdict.UNCHANGED
_ONLY_TRIALS = {TrialReport}


class EventOf(Protocol):
    """Makes the events of new revisions."""

    def __call__(self, report: TrialReport, revision: int) -> Event | None: ...

    def of_run(self, report: RunReport, revision: int, state: str) -> Event:
        """`state`: what the run is in by now."""


class Applied(msgspec.Struct):
    """What became of a batch's reports so far; `set_aside` are those of runs that somebody else holds locked.

    `by_constraint` of the rejections come from a constraint or trigger, of the whole batch's `total` reports.
    """

    total: int = 0

    counts: Counter[Verdict] = msgspec.field(default_factory=Counter)
    messages: list[Outgoing] = msgspec.field(default_factory=list)
    rejections: list[Rejection] = msgspec.field(default_factory=list)
    set_aside: list[Report] = msgspec.field(default_factory=list)
    by_constraint: int = 0

    def add(self, more: Applied) -> None:
        self.counts += more.counts
        self.messages += more.messages
        self.rejections += more.rejections
        self.set_aside += more.set_aside
        self.by_constraint += more.by_constraint

    def without_rejected(self, reports: Iterable[Report], runs: Runs) -> list[Report]:
        """Those that have a run and were not rejected so far."""
        rejected = {(id(one.record), one.index) for one in self.rejections}
        return [one for one in reports if one.run_id in runs and (id(one.record), one.index) not in rejected]

    def refuse(self, report: Report, refusal: ReportError) -> None:
        self.rejections.append(refused_by_database(report, str(refusal)))
        self.by_constraint += refusal.by_constraint


class Applier:
    """Judges and applies reports. Use it in one thread only."""

    def __init__(self, event_of: EventOf, where: str, refused: Refused) -> None:
        """`where` names the database in what is said of it."""
        self._event_of, self._where, self._refused = event_of, where, refused
        self._life, self._progress = LifeApplier(event_of.of_run), ProgressApplier()
        self._queries = load_queries()

    async def apply(
        self, connection: asyncpg.Connection, reports: Sequence[Report], runs: Runs, applied: Applied
    ) -> None:
        """Applies in waves, each with at most one report a trial, so that later ones meet what earlier ones left."""
        # one pass in C, 15 ns a report: most batches hold nothing else
        if reports and set(map(type, reports)) != _ONLY_TRIALS:
            await self._apply_life(connection, reports, runs, applied)
            reports = [one for one in reports if type(one) is TrialReport]
        for wave in split_into_waves(reports):  # type: ignore[arg-type]
            if len(wave) >= BULK_LEAST:
                wave = await self._apply_bulk(connection, wave, runs, applied)
            for part in split_by_size(wave):
                await self._apply_part(connection, part, applied)

    async def _apply_life(
        self, connection: asyncpg.Connection, reports: Sequence[Report], runs: Runs, applied: Applied
    ) -> None:
        """What is said of the life of runs and of progress."""
        of_runs = [one for one in reports if type(one) is RunReport]
        if of_runs:
            verdicts, events = await self._life.apply(connection, of_runs, [runs[one.run_id] for one in of_runs])
            applied.counts.update(verdicts)
            applied.messages += events
        progress = [one for one in reports if type(one) is Progress]
        if progress:
            applied.counts.update(await self._progress.apply(connection, progress, runs))

    async def _apply_bulk(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], runs: Runs, applied: Applied
    ) -> Sequence[TrialReport]:
        """Settles what one look at an index can tell, copies the new trials; the reports that remain to be judged.

        Nobody adds a trial to a run that is locked here, so what is new at the look is new at the copy. (Another
        program might: then Postgres refuses the copy by the unique key, and the batch is isolated and judged.)
        """
        verdicts = await self._look(connection, reports, runs)
        if len(verdicts) < len(reports):
            new = [report for place, report in enumerate(reports) if place not in verdicts]
            lines = self._lines(new, runs, applied)
            await connection.copy_to_table("cerebros_model_trials", source=lines, columns=COPY_COLUMNS, format="text")
            applied.counts[Verdict.INSERTED] += len(new)
        applied.counts.update(verdict for verdict in verdicts.values() if verdict is not None)
        return [reports[place] for place, verdict in verdicts.items() if verdict is None]

    async def _lines(self, new: Sequence[TrialReport], runs: Runs, applied: Applied) -> AsyncIterator[bytes]:
        """What COPY takes, piece by piece; adds the events of a piece while Postgres stores it."""
        for text, reports in copy_pieces(new, runs):
            yield text
            self._add_events(((report, 1) for report in reports), applied)

    async def _look(self, connection: asyncpg.Connection, reports: Sequence[TrialReport], runs: Runs) -> Looked:
        """By place, those whose trial has a row: the verdict where it is certain."""
        model_run_ids = [runs[report.run_id] for report in reports]
        trial_ids = [report.trial_id for report in reports]
        places, digests, *position = await connection.fetchrow(
            self._queries["look_at_trials"], model_run_ids, trial_ids
        )
        held = zip(*position, strict=True)
        return {
            place: settle(reports[place], order, digest)
            for place, order, digest in zip(places, held, digests, strict=True)
        }

    async def _apply_part(
        self, connection: asyncpg.Connection, part: Sequence[tuple[TrialReport, bytes]], applied: Applied
    ) -> None:
        document = b"[" + b",".join(row for _, row in part) + b"]"
        result = await connection.fetchrow(self._queries["apply_reports"], document)
        revisions = [1] * len(part)
        other = len(result["places"])
        applied.counts[Verdict.INSERTED] += len(part) - other
        for place, verdict, revision in zip(result["places"], result["verdicts"], result["revisions"], strict=True):
            applied.counts[Verdict(verdict)] += 1
            revisions[place] = revision if verdict == Verdict.CHANGED else 0
        self._add_events(zip((report for report, _ in part), revisions, strict=True), applied)

    def _add_events(self, written: Iterable[tuple[TrialReport, int]], applied: Applied) -> None:
        """The events of new revisions; revision 0: there is none."""
        event_of, add = self._event_of, applied.messages.append
        for report, revision in written:
            message = event_of(report, revision) if revision else None
            if message is not None:
                add(message)

    async def apply_halving(
        self, connection: asyncpg.Connection, reports: Sequence[Report], runs: Runs, applied: Applied
    ) -> None:
        """As `apply`, but a part that the database refuses is tried again in halves, down to the guilty report."""
        halves = Halves(reports)
        for part in halves:
            attempt = Applied()
            try:
                async with connection.transaction():
                    await self.apply(connection, part, runs, attempt)
            except asyncpg.PostgresError as error:
                refusal = sort_error(error, self._where)
                if not isinstance(refusal, ReportError):
                    raise
                if not halves.split():
                    applied.refuse(part[0], refusal)
                    self.check_refused(applied)
            else:
                applied.add(attempt)

    def check_refused(self, applied: Applied, *, done: bool = False) -> None:
        """Raises `TransientError` where constraints refuse so much that it is no matter of single reports.

        `done`: all reports of the batch are applied or refused.
        """
        if self._refused.must_wait(applied.total, applied.by_constraint, done=done):
            raise TransientError(
                f"Postgres at {self._where} refuses {self._refused.share(applied.total, applied.by_constraint)}, so "
                f"nothing is rejected for now: {applied.rejections[-1].detail}",
                Trouble.REFUSALS,
            )


def settle(report: TrialReport, held: tuple[int | None, int, int, int], digest: str | None) -> Verdict | None:
    """The verdict where a look at position and digest is enough for it; None where the content has to be compared."""
    if held[0] is None:  # the row is from before this processor
        return None
    record = report.record
    order = (record.timestamp_ms, record.partition, record.offset, report.index)  # `report.order`, in half of the time
    verdict = judge(order, held, report.digest == digest)  # type: ignore[arg-type]
    return verdict if verdict >= _CERTAIN else None
