"""The runs of a batch: locked in one order for everybody, created where nobody has announced them.

One transaction at a time judges the trials of a run. Where somebody else (an open psql) holds a run's row, the batch
waits for it as long as a lock may take; after that it is written around such runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import asyncpg

from processor.core.errors import TransientError, Trouble
from processor.core.messages import Reason, Rejection, Report, RunReport
from processor.store.applied import Applied, Runs
from processor.store.errors import ReportError, sort_error
from processor.store.queries import load_queries

#: how long a batch that is written around locked rows waits for each that it meets, in milliseconds
AROUND_WAIT_MS = 100


class RunLocks:
    """Locks and creates runs. Use it in one thread only."""

    def __init__(self, where: str, *, create_runs: bool) -> None:
        """`where` names the database in what is said of it."""
        self._where, self._create_runs = where, create_runs
        self._queries = load_queries()

    async def lock(
        self, connection: asyncpg.Connection, reports: Sequence[Report], applied: Applied, *, isolate: bool
    ) -> Runs:
        """Locks the runs of the reports; reports of those that there are none of become rejections."""
        wanted = {report.run_id for report in reports}
        if not wanted:
            return {}
        runs = await self._fetch(connection, "lock_runs", wanted)
        refusals: dict[str, ReportError] = {}
        missing = self._to_create(reports, wanted - runs.keys())
        if missing:
            if isolate:
                refusals, _ = await self._create_one_by_one(connection, missing)
            else:
                await connection.execute(self._queries["create_runs"], missing)
            runs = await self._fetch(connection, "lock_runs", wanted)
            self._reject_early(reports, set(missing), applied)
        if len(runs) < len(wanted):
            self._reject([report for report in reports if report.run_id not in runs], refusals, applied)
        return runs

    def _to_create(self, reports: Sequence[Report], unknown: Collection[str]) -> list[str]:
        """Of the runs that there are none of, those that are made: where any report may not do so, a start may."""
        if self._create_runs or not unknown:
            return sorted(unknown)
        return sorted({one.run_id for one in reports if type(one) is RunReport and one.starts} & set(unknown))

    async def lock_free(self, connection: asyncpg.Connection, reports: Sequence[Report], applied: Applied) -> Runs:
        """As `lock`, but waits for nobody: reports of runs that somebody else holds are set aside, in their order.

        A lock on a whole table is waited for as ever, and is an error: to go around each run would write nothing.
        """
        await connection.execute(self._queries["lock_trials"])
        await connection.execute(f"set local lock_timeout = {AROUND_WAIT_MS}")
        wanted = {report.run_id for report in reports}
        runs = await self._fetch(connection, "lock_free_runs", wanted)
        missing = wanted - runs.keys()
        busy = {row["run_id"] for row in await connection.fetch(self._queries["runs_there"], sorted(missing))}
        refusals: dict[str, ReportError] = {}
        wished = set(self._to_create(reports, missing - busy))
        if wished:
            refusals, held = await self._create_one_by_one(connection, sorted(wished))
            created = await self._fetch(connection, "lock_free_runs", wished)
            self._reject_early(reports, created.keys(), applied)
            busy |= held | (wished - created.keys() - refusals.keys())
            runs = {**runs, **created}
        applied.set_aside += [report for report in reports if report.run_id in busy]
        unknown = wanted - runs.keys() - busy
        self._reject([one for one in reports if one.run_id in unknown], refusals, applied)
        return runs

    def _reject_early(self, reports: Sequence[Report], made: Collection[str], applied: Applied) -> None:
        """What came before the start that made its run is refused, as it would be in a batch of its own."""
        if self._create_runs:
            return
        waiting = set(made)
        for one in reports:
            if one.run_id not in waiting:
                continue
            if type(one) is RunReport and one.starts:
                waiting.remove(one.run_id)
            else:
                self._reject([one], {}, applied)

    async def _create_one_by_one(
        self, connection: asyncpg.Connection, run_ids: Sequence[str]
    ) -> tuple[dict[str, ReportError], set[str]]:
        """Creates the runs; the database's words by run id for those that it refuses, and those that others hold."""
        refusals: dict[str, ReportError] = {}
        held: set[str] = set()
        for run_id in run_ids:
            try:
                async with connection.transaction():
                    await connection.execute(self._queries["create_runs"], [run_id])
            except asyncpg.PostgresError as error:
                refusal = sort_error(error, self._where)
                if isinstance(refusal, ReportError):
                    refusals[run_id] = refusal
                elif is_lock(refusal):
                    held.add(run_id)
                else:
                    raise
        return refusals, held

    def _reject(self, reports: Sequence[Report], refusals: Mapping[str, ReportError], applied: Applied) -> None:
        for report in reports:
            if report.run_id in refusals:
                applied.refuse(report, refusals[report.run_id])
                continue
            why = f"no run {report.run_id!r:.200} in cerebros_model_runs, and UNKNOWN_RUN is reject"
            applied.rejections.append(Rejection(report.record, report.index, Reason.UNKNOWN_RUN, why, "run_id"))

    async def _fetch(self, connection: asyncpg.Connection, name: str, run_ids: Collection[str]) -> Runs:
        rows = await connection.fetch(self._queries[name], list(run_ids))
        return {row[0]: row[1] for row in rows}


def is_lock(error: Exception) -> bool:
    """Whether somebody else holds a row."""
    return isinstance(error, TransientError) and error.trouble is Trouble.LOCK
