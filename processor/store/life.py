"""Run reports -> runs and their events, within a transaction that holds the locks on the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import asyncpg

from processor.core.messages import Event, Outgoing, RunReport
from processor.core.parts import in_parts
from processor.core.verdict import Verdict
from processor.store.queries import load_queries
from processor.store.rows import MAX_STATEMENT_BYTES
from processor.store.run_rows import Run

#: a run report, the revision it made, and the run's state then -> the event
RunEventOf = Callable[[RunReport, int, str], Event]


class LifeApplier:
    """Judges and applies run reports. Use it in one thread only."""

    def __init__(self, event_of: RunEventOf) -> None:
        self._event_of = event_of
        self._queries = load_queries()

    async def apply(
        self, connection: asyncpg.Connection, reports: Sequence[RunReport], model_run_ids: Sequence[str]
    ) -> tuple[list[Verdict], list[Outgoing]]:
        """The verdicts on the reports, in their order, and the events of the new revisions.

        1. looks at the runs' rows and at what is held of them; 2. leads each report through, one after the other;
        3. writes what moved, each run once.
        """
        runs = await self._look(connection, sorted(set(model_run_ids)))
        verdicts, events = [], list[Outgoing]()
        for report, model_run_id in zip(reports, model_run_ids, strict=True):
            run = runs[model_run_id]
            verdict = run.lead(report)
            verdicts.append(verdict)
            if verdict <= Verdict.CHANGED:
                events.append(self._event_of(report, run.life.revision, run.row["state"]))
        await self._write(connection, [run for run in runs.values() if run.moved])
        return verdicts, events

    async def _look(self, connection: asyncpg.Connection, ids: Sequence[str]) -> dict[str, Run]:
        rows = await connection.fetch(self._queries["look_at_runs"], ids)
        held: dict[str, dict[str, asyncpg.Record]] = {}
        for one in await connection.fetch(self._queries["look_at_run_reports"], ids):
            held.setdefault(one["id"], {})[one["kind"]] = one
        return {row["id"]: Run.of(row, held.get(row["id"], {})) for row in rows}

    async def _write(self, connection: asyncpg.Connection, runs: Sequence[Run]) -> None:
        if not runs:
            return
        again = [run.row["id"] for run in runs if run.life.stop is None]
        await connection.execute(self._queries["forget_stops"], again)
        await self._write_parts(connection, "write_run_reports", [one for run in runs for one in run.reports_json()])
        await self._write_parts(connection, "write_runs", [run.row_json() for run in runs])

    async def _write_parts(self, connection: asyncpg.Connection, name: str, documents: Sequence[bytes]) -> None:
        for part in in_parts(documents, len, MAX_STATEMENT_BYTES):
            await connection.execute(self._queries[name], b"[" + b",".join(part) + b"]")
