"""Progress -> rows, within a transaction that holds the locks on the runs. It has no event, and touches no trial's row.

What is there is looked at by key, each report is judged beside what those before it left, and what remains of them is
written at once: a metric without a step may come a thousand times in one batch, and is one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg

from processor.core.messages import Order, Progress
from processor.core.numbers import to_json
from processor.core.parts import in_parts
from processor.core.sameness import digest_of
from processor.core.verdict import Verdict, judge
from processor.store.queries import load_queries
from processor.store.rows import MAX_STATEMENT_BYTES
from processor.store.run_rows import order_of

#: of a trial's start (run, trial), of a metric (run, trial, metric, step)
Key = tuple[Any, ...]


class Last(NamedTuple):
    """What a row holds: where it came from, and bytes that are equal exactly where the content is."""

    order: Order
    content: bytes


class ProgressApplier:
    """Judges and applies progress. Use it in one thread only."""

    def __init__(self) -> None:
        self._queries = load_queries()

    async def apply(
        self, connection: asyncpg.Connection, reports: Sequence[Progress], model_run_ids: Mapping[str, str]
    ) -> list[Verdict]:
        """The verdicts on the reports, starts first; `model_run_ids` are by run id."""
        starts = [(model_run_ids[one.run_id], one) for one in reports if one.starts]
        metrics = [(model_run_ids[one.run_id], one) for one in reports if not one.starts]
        return [*await self._starts(connection, starts), *await self._metrics(connection, metrics)]

    async def _starts(self, connection: asyncpg.Connection, given: Sequence[tuple[str, Progress]]) -> list[Verdict]:
        if not given:
            return []
        reports = [((run, one.trial_id), one) for run, one in given]
        verdicts, last = settle(reports, await self._look(connection, "look_at_starts", reports, start_content))
        rows = ((*key, *_start_row(one)) for key, one in last.items())
        for part in in_parts(rows, lambda row: len(row[3]) + len(row[4]), MAX_STATEMENT_BYTES):
            await connection.execute(self._queries["write_starts"], *zip(*part, strict=True))
        return verdicts

    async def _metrics(self, connection: asyncpg.Connection, given: Sequence[tuple[str, Progress]]) -> list[Verdict]:
        if not given:
            return []
        reports = [((run, one.trial_id, one.content["metric_name"], one.content["step"]), one) for run, one in given]
        verdicts, last = settle(reports, await self._look(connection, "look_at_metrics", reports, metric_content))
        rows = ((*key, *_metric_row(one)) for key, one in last.items())
        for part in in_parts(rows, lambda row: len(row[5] or b""), MAX_STATEMENT_BYTES):
            await connection.execute(self._queries["write_metrics"], *zip(*part, strict=True))
        seen: dict[tuple[str, str], int] = {}
        for run, one in given:
            seen[run, one.trial_id] = max(seen.get((run, one.trial_id), 0), one.record.timestamp_ms)
        rows_seen = ((*key, milliseconds) for key, milliseconds in seen.items())
        await connection.execute(self._queries["write_seen"], *zip(*rows_seen, strict=True))
        return verdicts

    async def _look(
        self,
        connection: asyncpg.Connection,
        name: str,
        reports: Sequence[tuple[Key, Progress]],
        content: Callable[[Mapping[str, Any]], bytes],
    ) -> dict[Key, Last]:
        keys = list(dict.fromkeys(key for key, _ in reports))
        rows = await connection.fetch(self._queries[name], *zip(*keys, strict=True))
        return {keys[row["place"]]: Last(order_of(row), content(row)) for row in rows}


def settle(reports: Iterable[tuple[Key, Progress]], held: dict[Key, Last]) -> tuple[list[Verdict], dict[Key, Progress]]:
    """The verdicts in order, and by key the reports that are to be held now. `held` is used up."""
    verdicts: list[Verdict] = []
    last: dict[Key, Progress] = {}
    for key, report in reports:
        verdict, held[key] = follow(held.get(key), last_of(report))
        verdicts.append(verdict)
        if verdict <= Verdict.TOUCHED:
            last[key] = report
    return verdicts, last


def follow(held: Last | None, new: Last) -> tuple[Verdict, Last]:
    """The verdict on one more report of a row, and what is then held."""
    if held is None:
        return Verdict.INSERTED, new
    verdict = judge(new.order, held.order, new.content == held.content)
    return verdict, new if verdict <= Verdict.TOUCHED else held


def last_of(report: Progress) -> Last:
    """What a row holds whose newest report this is."""
    content = report.content
    if report.starts:
        return Last(report.order, start_content({**content, "rest": report.rest}))
    return Last(report.order, metric_content({"value": content["metric_value"], "rest": report.rest}))


def start_content(row: Mapping[str, Any]) -> bytes:
    return digest_of([row["spectral_norm"], row["parameters"], dict(row["rest"])])


def metric_content(row: Mapping[str, Any]) -> bytes:
    """The value as text: NaN equals itself there."""
    value = repr(float(row["value"])).encode()
    return value + b" " + digest_of(dict(row["rest"])) if row["rest"] else value


def _start_row(one: Progress) -> tuple[Any, ...]:
    """What `write_starts` takes behind the key."""
    content = one.content
    return content["spectral_norm"], to_json(content["parameters"]), to_json(one.rest), *_source(one)


def _metric_row(one: Progress) -> tuple[Any, ...]:
    """What `write_metrics` takes behind the key."""
    rest = to_json(one.rest) if one.rest else None
    return float(one.content["metric_value"]), rest, *_source(one)


def _source(one: Progress) -> tuple[int, int, int, int]:
    record = one.record
    return record.timestamp_ms, record.partition, record.offset, one.index
