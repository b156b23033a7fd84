"""Batch -> Written, in ONE transaction.

A report that the database alone refuses is isolated by halving the batch and becomes a dead letter with the
database's own words; all the rest is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import asyncpg
from msgspec.structs import replace

from processor.core.errors import FatalError
from processor.core.messages import Batch, Rejection, Report, Written
from processor.core.parts import Halves
from processor.core.times import Seldom
from processor.core.verdict import Verdict
from processor.store.applied import Applied, EventOf, Runs
from processor.store.applying import Applier
from processor.store.errors import ReportError, sort_error
from processor.store.outbox import seal_packets
from processor.store.queries import load_queries
from processor.store.refused import Refused
from processor.store.rejections import letter_messages, resolve_written, store_rejections
from processor.store.runs import RunLocks, is_lock
from processor.store.session import Session

#: how often a sink adds what statements have counted to the counts
FOLD_SECONDS = 10.0
#: trials after which a sink has Postgres plan its statements again, and then each time that they have doubled. A plan
#: that was made when the table held next to nothing may look through all trials of a run for each report, and a session
#: keeps its plans until the table is analysed, which may take a minute
PLANNED_ANEW = 64


class TrialStore:
    """The sink of the pipeline: one connection, one transaction a batch. Use it in one thread only."""

    def __init__(
        self, store: Session, event_of: EventOf, *, create_runs: bool = True, most_refused: float = 1.0
    ) -> None:
        """Constraints of the database may refuse the share `most_refused` of the reports; more is an outage."""
        self._store, self._refused = store, Refused(most_refused)
        self._applier = Applier(event_of, store.where, self._refused)
        self._locks = RunLocks(store.where, create_runs=create_runs)
        self._queries = load_queries()
        self._counting = Seldom(FOLD_SECONDS)
        self._inserted, self._plan_anew_at = 0, PLANNED_ANEW

    def close(self) -> None:
        self._store.close()

    def answers(self) -> bool:
        """Whether the database does anything at all just now."""
        return self._store.answers()

    def write(self, batch: Batch, *, around_locks: bool = False) -> Written:
        """Makes the batch durable, all of it or nothing:

        1. locks (and where allowed creates) the runs it names, in one order for everybody
        2. judges and applies its reports, those of one trial or run one after the other as they came
        3. resolves the dead letters of what is now written, and stores its rejections with their original bytes
        4. puts the events and the new dead letters into the outbox and wakes the relay
        5. commits; only then may anybody commit the offsets

        With `around_locks` nobody is waited for: reports of runs whose rows somebody else holds are set aside, and
        come back in `Written`. Raises `TransientError` when the world is down or a table is locked, `SetupError` when a
        person has to act.
        """
        if not batch.reports and not batch.rejections:
            return Written()
        try:
            return self._store.run(lambda connection: self._write(connection, batch, False, around_locks))
        except ReportError:
            pass
        try:
            return self._store.run(
                lambda connection: self._write(connection, batch, True, around_locks), timeout_s=math.inf
            )
        except ReportError as error:  # not a report's fault after all: never drop what can't be recorded
            raise FatalError(
                f"Postgres at {self._store.where} refuses a dead letter or an outbox row: {error}"
            ) from None

    async def _write(self, connection: asyncpg.Connection, batch: Batch, isolate: bool, around: bool) -> Written:
        applied = Applied(total=len(batch.reports))
        async with connection.transaction():
            if around:
                batch = await self._apply_around(connection, batch, applied, isolate)
            else:
                runs = await self._locks.lock(connection, batch.reports, applied, isolate=isolate)
                reports = batch.reports
                if applied.rejections:
                    reports = applied.without_rejected(reports, runs)
                await self._apply(connection, reports, runs, applied, isolate)
            if applied.by_constraint:
                self._applier.check_refused(applied, done=True)
            rejections = (*batch.rejections, *applied.rejections)
            await self._resolve(connection, batch, applied.rejections)
            letters = await store_rejections(connection, rejections) if rejections else []
            for packets in seal_packets(chain(applied.messages, letter_messages(letters))):
                await connection.execute(self._queries["insert_outbox"], *packets)
            await self._now_and_then(connection, applied.counts[Verdict.INSERTED])
        self._refused.add(applied.total, applied.by_constraint)
        return Written(
            **{verdict.word: number for verdict, number in applied.counts.items()},
            events=len(applied.messages),
            dead_letters=len(letters),
            rejected_by_database=applied.rejections,
            set_aside=applied.set_aside,
        )

    async def _now_and_then(self, connection: asyncpg.Connection, inserted: int) -> None:
        """What is not of a batch; plans are forgotten also when others may have filled the tables."""
        self._inserted += inserted
        due = self._counting.due()
        if due or self._inserted >= self._plan_anew_at:
            self._plan_anew_at = max(PLANNED_ANEW, 2 * self._inserted)
            await connection.execute("discard plans")
        if due:
            await connection.execute(self._queries["fold_counts"])

    async def _apply(
        self,
        connection: asyncpg.Connection,
        reports: Sequence[Report],
        runs: Runs,
        applied: Applied,
        isolate: bool,
    ) -> None:
        if isolate:
            await self._applier.apply_halving(connection, reports, runs, applied)
        else:
            await self._applier.apply(connection, reports, runs, applied)

    async def _apply_around(
        self, connection: asyncpg.Connection, batch: Batch, applied: Applied, isolate: bool
    ) -> Batch:
        """Applies run by run where they meet a lock; the batch less what was set aside."""
        runs = await self._locks.lock_free(connection, batch.reports, applied)
        by_run: dict[str, list[Report]] = {}
        for report in applied.without_rejected(batch.reports, runs):
            by_run.setdefault(report.run_id, []).append(report)
        halves = Halves(list(by_run.values()))
        for part in halves:
            reports, attempt = [report for of_run in part for report in of_run], Applied(total=applied.total)
            try:
                async with connection.transaction():
                    await self._apply(connection, reports, runs, attempt, isolate)
            except asyncpg.PostgresError as error:
                if not is_lock(sort_error(error, self._store.where)):
                    raise
                if not halves.split():
                    applied.set_aside += reports
            else:
                applied.add(attempt)
        if not applied.set_aside:
            return batch
        held = {report.run_id for report in applied.set_aside}
        written = [report for report in batch.reports if report.run_id not in held]
        applied.set_aside = [report for report in batch.reports if report.run_id in held]
        return replace(batch, reports=written)

    async def _resolve(self, connection: asyncpg.Connection, batch: Batch, refused: Sequence[Rejection]) -> None:
        await resolve_written(connection, batch, refused)
