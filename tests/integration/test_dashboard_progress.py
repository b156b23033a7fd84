"""Curves and running trials from a real Postgres, however many steps there are."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from processor.dashboard.queries.progress import run_life, running_trials, trial_curves, trial_progress
from processor.store.pool import Pool
from tests.support.trials import ask, fill_tables

STEPS = 5000
FILL = """
insert into cerebros_trial_metrics (model_run_id, trial_id, metric, step, value, at, source_partition, source_offset,
    source_index)
select run.id, 't001', given.metric, given.step, given.value, now(), 0, 0, 0 from cerebros_model_runs run,
    (select 'loss', n::bigint, case when n % 100 = 0 then 'NaN' else 1.0 / n end from generate_series(1, $1::int) as n
     union all select 'accuracy', n, n / 10.0 from generate_series(1, 3) as n
     union all select 'note', null, 7) as given (metric, step, value)
where run.run_id = 'run-1'
"""
STARTED = """
insert into cerebros_trial_progress (model_run_id, trial_id, started_at, last_seen)
select id, name, now(), now() + place * interval '1 second' from cerebros_model_runs,
    unnest(array['t001', 'new', 'newer']) with ordinality as given (name, place)
where run_id = 'run-1'
"""


@pytest.fixture
def filled(database_url: str) -> str:
    fill_tables(database_url)

    async def fill() -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(FILL, STEPS)
        await connection.execute(STARTED)
        await connection.close()

    asyncio.run(fill())
    return database_url


def test_a_long_curve_comes_in_columns_that_hold_every_step(filled: str) -> None:
    found = ask(filled, lambda pool: trial_curves(pool, "run-1", "t001"))
    curves = {one.metric: one.columns for one in found.shown}
    assert found.left == 0
    assert sorted(curves) == ["accuracy", "loss", "note"]
    loss = curves["loss"]
    assert len(loss) == 400
    assert sum(column.points for column in loss) == STEPS
    assert sum(column.not_finite for column in loss) == STEPS // 100
    assert (loss[0].first_step, loss[-1].last_step) == (1, STEPS)
    assert (loss[0].greatest, loss[-1].least) == (1.0, 1 / (STEPS - 1))
    assert [(column.first_step, column.last) for column in curves["accuracy"]] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert [(column.first_step, column.last) for column in curves["note"]] == [(None, 7)]


def test_trials_that_have_not_ended_are_told_those_last_heard_of_first(filled: str) -> None:
    async def work(pool: Pool) -> None:
        assert [row["trial_id"] for row in await running_trials(pool, "run-1")] == ["newer", "new"]
        assert await running_trials(pool, "run-0") == []
        assert (await trial_progress(pool, "run-1", "new") or {})["started_at"] is not None
        assert await trial_progress(pool, "run-1", "t003") is None
        assert await run_life(pool, "run-1") == {}

    ask(filled, work)
