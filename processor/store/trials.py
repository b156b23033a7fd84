"""Batch -> Written, in ONE transaction.

A report that the database alone refuses is isolated by halving the batch and becomes a dead letter with the
database's own words; all the rest is written.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import chain

import asyncpg
import msgspec

from processor.core.errors import FatalError
from processor.core.messages import Batch, Event, Outgoing, Reason, Rejection, TrialReport, Written
from processor.core.parts import Halves
from processor.core.verdict import Verdict, judge
from processor.store.errors import ReportError, sort_error
from processor.store.outbox import seal_packets
from processor.store.queries import load_queries
from processor.store.rejections import letter_messages, refused_by_database, resolve_written, store_rejections
from processor.store.rows import COPY_COLUMNS, copy_pieces, split_by_size, split_into_waves
from processor.store.session import Session

#: as many reports are worth two more round trips, which spare Postgres half of its work
BULK_LEAST = 24

#: locked: id (text of uuid) by the run id that Cerebros sent
Runs = Mapping[str, str]
#: verdicts by place in the reports; None: the content has to be compared
Looked = dict[int, Verdict | None]
EventOf = Callable[[TrialReport, int], Event | None]


class Applied(msgspec.Struct):
    """What became of a batch's reports so far."""

    counts: Counter[Verdict] = msgspec.field(default_factory=Counter)
    messages: list[Outgoing] = msgspec.field(default_factory=list)
    rejections: list[Rejection] = msgspec.field(default_factory=list)


class TrialStore:
    """The sink of the pipeline: one connection, one transaction a batch. Use it in one thread only."""

    def __init__(self, store: Session, event_of: EventOf, *, create_runs: bool = True) -> None:
        self._store, self._event_of, self._create_runs = store, event_of, create_runs
        self._queries = load_queries()

    def close(self) -> None:
        self._store.close()

    def answers(self) -> bool:
        """Whether the database does anything at all just now."""
        return self._store.answers()

    def write(self, batch: Batch) -> Written:
        """Makes the batch durable, all of it or nothing:

        1. locks (and where allowed creates) the runs it names, in one order for everybody
        2. judges and applies its reports, those of one trial one after the other as they came
        3. resolves the dead letters of what is now written, and stores its rejections with their original bytes
        4. puts the events and the new dead letters into the outbox and wakes the relay
        5. commits; only then may anybody commit the offsets

        Raises `TransientError` when the world is down, `SetupError` when a person has to act.
        """
        if not batch.reports and not batch.rejections:
            return Written()
        try:
            return self._store.run(lambda connection: self._write(connection, batch, isolate=False))
        except ReportError:
            pass
        try:
            return self._store.run(lambda connection: self._write(connection, batch, isolate=True), timeout_s=math.inf)
        except ReportError as error:  # not a report's fault after all: never drop what can't be recorded
            raise FatalError(
                f"Postgres at {self._store.where} refuses a dead letter or an outbox row: {error}"
            ) from None

    async def _write(self, connection: asyncpg.Connection, batch: Batch, *, isolate: bool) -> Written:
        applied = Applied()
        async with connection.transaction():
            runs = await self._lock_runs(connection, batch.reports, applied, isolate)
            reports = batch.reports
            if applied.rejections:
                reports = [report for report in reports if report.run_id in runs]
            if isolate:
                await self._apply_halving(connection, reports, runs, applied)
            else:
                await self._apply(connection, reports, runs, applied)
            rejections = (*batch.rejections, *applied.rejections)
            await self._resolve(connection, batch, applied.rejections)
            letters = await store_rejections(connection, rejections) if rejections else []
            for packets in seal_packets(chain(applied.messages, letter_messages(letters))):
                await connection.execute(self._queries["insert_outbox"], *packets)
        return Written(
            **{verdict.word: number for verdict, number in applied.counts.items()},
            events=len(applied.messages),
            dead_letters=len(letters),
            rejected_by_database=applied.rejections,
        )

    async def _resolve(self, connection: asyncpg.Connection, batch: Batch, refused: Sequence[Rejection]) -> None:
        await resolve_written(connection, batch, refused)

    async def _lock_runs(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], applied: Applied, isolate: bool
    ) -> Runs:
        """Locks the runs; reports of those that there are none of become rejections."""
        wanted = {report.run_id for report in reports}
        if not wanted:
            return {}
        runs = await self._lock(connection, wanted)
        refusals: dict[str, str] = {}
        if len(runs) < len(wanted) and self._create_runs:
            missing = sorted(wanted - runs.keys())
            if isolate:
                refusals = await self._create_one_by_one(connection, missing)
            else:
                await connection.execute(self._queries["create_runs"], missing)
            runs = await self._lock(connection, wanted)
        if len(runs) < len(wanted):
            applied.rejections += [
                refused_by_database(report, refusals[report.run_id])
                if report.run_id in refusals
                else Rejection(
                    report.record,
                    report.index,
                    Reason.UNKNOWN_RUN,
                    f"no run {report.run_id!r:.200} in cerebros_model_runs, and UNKNOWN_RUN is reject",
                    "run_id",
                )
                for report in reports
                if report.run_id not in runs
            ]
        return runs

    async def _create_one_by_one(self, connection: asyncpg.Connection, run_ids: Sequence[str]) -> dict[str, str]:
        """Creates the runs; the database's words by run id for those that it refuses."""
        refusals = {}
        for run_id in run_ids:
            try:
                async with connection.transaction():
                    await connection.execute(self._queries["create_runs"], [run_id])
            except asyncpg.PostgresError as error:
                refusal = sort_error(error, self._store.where)
                if not isinstance(refusal, ReportError):
                    raise
                refusals[run_id] = str(refusal)
        return refusals

    async def _lock(self, connection: asyncpg.Connection, run_ids: set[str]) -> Runs:
        rows = await connection.fetch(self._queries["lock_runs"], list(run_ids))
        return {row[0]: row[1] for row in rows}

    async def _apply(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], runs: Runs, applied: Applied
    ) -> None:
        """Applies in waves, each with at most one report a trial, so that later ones meet what earlier ones left."""
        for wave in split_into_waves(reports):
            if len(wave) >= BULK_LEAST:
                wave = await self._apply_bulk(connection, wave, runs, applied)
            for part in split_by_size(wave):
                await self._apply_part(connection, part, applied)

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

    async def _apply_halving(
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], runs: Runs, applied: Applied
    ) -> None:
        """As `_apply`, but a part that the database refuses is tried again in halves, down to the guilty report."""
        halves = Halves(reports)
        for part in halves:
            attempt = Applied()
            try:
                async with connection.transaction():
                    await self._apply(connection, part, runs, attempt)
            except asyncpg.PostgresError as error:
                refusal = sort_error(error, self._store.where)
                if not isinstance(refusal, ReportError):
                    raise
                if not halves.split():
                    applied.rejections.append(refused_by_database(part[0], str(refusal)))
            else:
                applied.messages += attempt.messages
                applied.counts += attempt.counts


def settle(report: TrialReport, held: tuple[int | None, int, int, int], digest: str | None) -> Verdict | None:
    """The verdict where a look at position and digest is enough for it; None where the content has to be compared."""
    if held[0] is None:  # the row is from before this processor
        return None
    record = report.record
    order = (record.timestamp_ms, record.partition, record.offset, report.index)  # `report.order`, in half of the time
    verdict = judge(order, held, report.digest == digest)  # type: ignore[arg-type]
    return verdict if verdict >= Verdict.UNCHANGED else None
