"""A few trials with values of every kind, as the dashboard meets them, and a way to ask about them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg

from processor.core.numbers import to_json
from processor.dashboard.queries.pool import open_pool
from processor.store.connection import prepare
from processor.store.pool import Pool

T = TypeVar("T")
START = datetime(2026, 11, 1, tzinfo=UTC)
VALUES: tuple[Any, ...] = (
    0.5, 0.25, 3, -1, 1e300, "NaN", "Infinity", "-Infinity", "high", "low", True, None, [1], {"a": 1}, 0.5, 10**30,
)  # fmt: skip
INSERT = """
insert into cerebros_model_trials (model_run_id, trial_id, status, metrics, parameters, spectral_norm, duration_ms,
    schema_version, revision, inserted_at, updated_at, source_topic, source_partition, source_offset, source_timestamp)
select run.id, given.trial_id, given.status, given.metrics, given.parameters, given.spectral_norm, given.duration_ms,
    given.schema_version, 1, $2::timestamptz + given.place * interval '1 minute', now(), 'raw', 0, given.place,
    $2::timestamptz + given.place * interval '1 minute'
from jsonb_to_recordset($1::jsonb) as given (run_id text, trial_id text, status text, metrics jsonb, parameters jsonb,
    spectral_norm boolean, duration_ms bigint, schema_version integer, place integer)
join cerebros_model_runs run on run.run_id = given.run_id
"""


def trials() -> list[dict[str, Any]]:
    draw = random.Random(1)
    return [
        {
            "run_id": f"run-{place % 3}", "trial_id": f"t{place:03}", "place": place,
            "status": draw.choice(["succeeded"] * 6 + ["failed", "skipped"]),
            "metrics": {} if place % 7 == 0 else {"score": draw.choice(VALUES), "accuracy": draw.random()},
            "parameters": {"optimizer": draw.choice(["adam", "sgd"]), "lr": draw.random(), "same": 1},
            "spectral_norm": place % 2 == 0, "duration_ms": draw.choice([None, 5, 1000]),
            "schema_version": 1 if place % 10 == 1 else 3,
        }
        for place in range(120)
    ]  # fmt: skip


def fill_tables(url: str) -> None:
    """Three runs of 40 trials, an empty one, and three dead letters of the record of t005."""

    async def fill() -> None:
        connection = await asyncpg.connect(url)
        await prepare(connection, {})
        await connection.execute(
            "insert into cerebros_model_runs (run_id, state, inserted_at) "
            "select 'run-' || n, 'running', $1::timestamptz + n * interval '1 hour' from generate_series(0, 3) as n",
            START,
        )
        await connection.execute(INSERT, to_json(trials()), START)
        await connection.execute(
            'with record as (insert into dead_letter_records (topic, partition, "offset", record_timestamp) '
            f"values ('raw', 0, 5, '{START.isoformat()}'::timestamptz + interval '5 minutes') "
            "returning id) "
            "insert into dead_letters (record_id, report_index, reason, detail) "
            "select id, n, 'not_a_map', 'metrics is no object' from record, generate_series(1, 3) as n"
        )
        await connection.close()

    asyncio.run(fill())


def ask(url: str, work: Callable[[Pool], Awaitable[T]], **options: Any) -> T:
    async def with_pool() -> T:
        async with open_pool(url, **options) as pool:
            return await work(pool)

    return asyncio.run(with_pool())
