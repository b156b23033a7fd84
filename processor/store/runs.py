"""The runs of a batch: locked in one order for everybody, created where nobody has announced them.

One transaction at a time judges the trials of a run. Where somebody else (an open psql) holds a run's row, the batch
waits for it as long as a lock may take; after that it is written around such runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import asyncpg

from processor.core.errors import TransientError, Trouble
from processor.core.messages import Reason, Rejection, TrialReport
from processor.store.applying import Applied, Runs
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
        self, connection: asyncpg.Connection, reports: Sequence[TrialReport], applied: Applied, *, isolate: bool
    ) -> Runs:
        """Locks the runs of the reports; reports of those that there are none of become rejections."""
        wanted = {report.run_id for report in reports}
        if not wanted:
            return {}
        runs = await self._fetch(connection, "lock_runs", wanted)
        refusals: dict[str, ReportError] = {}
        if len(runs) < len(wanted) and self._create_runs:
            missing = sorted(wanted - runs.keys())
            if isolate:
                refusals, _ = await self._create_one_by_one(connection, missing)
            else:
                await connection.execute(self._queries["create_runs"], missing)
            runs = await self._fetch(connection, "lock_runs", wanted)
        if len(runs) < len(wanted):
            self._reject([report for report in reports if report.run_id not in runs], refusals, applied)
        return runs

    async def lock_free(self, connection: asyncpg.Connection, reports: Sequence[TrialReport], applied: Applied) -> Runs:
        """As `lock`, but waits for nobody: reports of runs that somebody else holds are set aside, in their order."""
        await connection.execute(f"set local lock_timeout = {AROUND_WAIT_MS}")
        wanted = {report.run_id for report in reports}
        runs = await self._fetch(connection, "lock_free_runs", wanted)
        missing = wanted - runs.keys()
        busy = {row["run_id"] for row in await connection.fetch(self._queries["runs_there"], sorted(missing))}
        refusals: dict[str, ReportError] = {}
        if missing - busy and self._create_runs:
            refusals, held = await self._create_one_by_one(connection, sorted(missing - busy))
            created = await self._fetch(connection, "lock_free_runs", missing - busy)
            busy |= held | (missing - busy - created.keys() - refusals.keys())
            runs = {**runs, **created}
        applied.set_aside += [report for report in reports if report.run_id in busy]
        unknown = wanted - runs.keys() - busy
        self._reject([one for one in reports if one.run_id in unknown], refusals, applied)
        return runs

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

    def _reject(self, reports: Sequence[TrialReport], refusals: Mapping[str, ReportError], applied: Applied) -> None:
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
