"""The dashboard's questions to a real Postgres: each trial on one page, values as they are, and nothing written."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import asyncpg
import pytest

from processor.core.errors import TransientError, UsageError
from processor.core.numbers import to_json
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries import trials as trials_queries
from processor.dashboard.queries.adoption import adoption
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.letters import health, letter_page
from processor.dashboard.queries.pool import open_pool
from processor.dashboard.queries.runs import run_page
from processor.dashboard.queries.samples import read_sample
from processor.dashboard.queries.sorting import read_cursor, read_sort
from processor.dashboard.queries.trials import count_trials, trial_keys, trial_page, trial_with_all
from processor.dashboard.statistics.compare import compare
from processor.store.connection import prepare
from processor.store.pool import Pool

T = TypeVar("T")
START = datetime(2026, 11, 1, tzinfo=UTC)
VALUES: tuple[Any, ...] = (
    0.5, 0.25, 3, -1, 1e300, "NaN", "Infinity", "-Infinity", "high", "low", True, None, [1], {"a": 1}, 0.5, 10**30,
)  # fmt: skip
INSERT = """
insert into cerebros_model_trials (model_run_id, trial_id, status, metrics, parameters, spectral_norm, duration_ms,
    schema_version, revision, inserted_at, updated_at, source_topic, source_partition, source_offset)
select run.id, given.trial_id, given.status, given.metrics, given.parameters, given.spectral_norm, given.duration_ms,
    given.schema_version, 1, $2::timestamptz + given.place * interval '1 minute', now(), 'raw', 0, given.place
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
            "schema_version": 1 if place % 10 == 0 else 3,
        }
        for place in range(120)
    ]  # fmt: skip


@pytest.fixture
def filled(database_url: str) -> str:
    async def fill() -> None:
        connection = await asyncpg.connect(database_url)
        await prepare(connection)
        await connection.execute(
            "insert into cerebros_model_runs (run_id, state, inserted_at) "
            "select 'run-' || n, 'running', $1::timestamptz + n * interval '1 hour' from generate_series(0, 3) as n",
            START,
        )
        await connection.execute(INSERT, to_json(trials()), START)
        await connection.execute(
            'with record as (insert into dead_letter_records (topic, partition, "offset", record_timestamp) '
            "values ('raw', 0, 5, now()) returning id) "
            "insert into dead_letters (record_id, report_index, reason, detail) "
            "select id, n, 'not_a_map', 'metrics is no object' from record, generate_series(1, 3) as n"
        )
        await connection.close()

    asyncio.run(fill())
    return database_url


def ask(url: str, work: Callable[[Pool], Awaitable[T]], **options: Any) -> T:
    async def with_pool() -> T:
        async with open_pool(url, **options) as pool:
            return await work(pool)

    return asyncio.run(with_pool())


async def walk(pool: Pool, scope: Scope, order: str, size: int) -> tuple[list[str], list[str]]:
    """All trial ids by pages forwards, and by pages backwards from the last one."""
    sort = read_sort(order)
    back: list[str] = []
    page = await trial_page(pool, scope, sort, limit=size)
    pages = [page]
    while page.next:
        page = await trial_page(pool, scope, sort, read_cursor(page.next, sort), size)
        pages.append(page)
    there = [row["trial_id"] for one in pages for row in one.rows]
    while page.previous:
        page = await trial_page(pool, scope, sort, read_cursor(page.previous, sort), size)
        back = [row["trial_id"] for row in page.rows] + back
    return there, back + [row["trial_id"] for row in pages[-1].rows] if len(pages) > 1 else there


ORDERS = ["", "score", "-score", "metrics.accuracy", "-lr", "duration_ms", "-duration_ms", "trial_id", "-status",
          "mlflow_run_id", "-optimizer", "spectral_norm", "nothing"]  # fmt: skip


def test_pages_in_any_order_hold_every_trial_once_in_either_direction(filled: str) -> None:
    async def work(pool: Pool) -> None:
        for order in ORDERS:
            there, back = await walk(pool, Scope(), order, 17)
            assert sorted(there) == [f"t{place:03}" for place in range(120)], order
            assert back == there, order

    ask(filled, work)


@pytest.mark.parametrize("order", ["score", "-score"])
def test_numbers_come_first_then_texts_then_what_is_not_finite_then_nothing(filled: str, order: str) -> None:
    async def work(pool: Pool) -> list[Any]:
        page = await trial_page(pool, Scope(), read_sort(order), limit=200)
        return [row["metrics"].get("score") for row in page.rows]

    found = ask(filled, work)
    numbers = [value for value in found if isinstance(value, (int, float)) and not isinstance(value, bool)]
    texts = [value for value in found if value in ("high", "low") or isinstance(value, bool)]
    infinite = [value for value in found if value in ("NaN", "Infinity", "-Infinity")]
    assert found[: len(numbers)] == sorted(numbers, reverse=order == "-score")
    assert len(numbers) > 10
    assert found[len(numbers) : len(numbers) + len(texts)] == sorted(
        texts, key=lambda value: str(value).replace("True", "true"), reverse=order == "-score"
    )
    assert set(map(str, found[len(numbers) + len(texts) :][: len(infinite)])) == {"NaN", "Infinity", "-Infinity"}


def test_a_page_is_the_same_when_trials_come_meanwhile(filled: str) -> None:
    sort = read_sort("-accuracy")

    async def work(pool: Pool) -> tuple[list[str], list[str]]:
        first = await trial_page(pool, Scope(), sort, limit=10)
        assert first.next is not None
        before = await trial_page(pool, Scope(), sort, read_cursor(first.next, sort), 10)
        other = await asyncpg.connect(filled)
        await other.execute(
            "insert into cerebros_model_trials (model_run_id, trial_id, status, metrics) "
            "select id, 'new', 'succeeded', '{\"accuracy\": 2}' from cerebros_model_runs limit 1"
        )
        await other.close()
        after = await trial_page(pool, Scope(), sort, read_cursor(first.next, sort), 10)
        return [row["trial_id"] for row in before.rows], [row["trial_id"] for row in after.rows]

    before, after = ask(filled, work)
    assert before == after


def test_filters_and_counts_agree_with_the_trials(filled: str) -> None:
    scope = Scope("run-1", parse("status = succeeded and optimizer = adam"))
    expected = [
        one["trial_id"] for one in trials()
        if one["run_id"] == "run-1" and one["status"] == "succeeded" and one["parameters"]["optimizer"] == "adam"
    ]  # fmt: skip

    async def work(pool: Pool) -> None:
        page = await trial_page(pool, scope, read_sort("trial_id"), limit=500)
        assert [row["trial_id"] for row in page.rows] == expected
        assert await count_trials(pool, scope) == trials_queries.Count(len(expected), "exactly")
        assert await count_trials(pool, scope, bound=3) == trials_queries.Count(3, "at least")

    ask(filled, work)


def test_a_count_that_takes_too_long_is_told_as_an_estimate(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: Any) -> Any:
        raise TransientError("Postgres: canceling statement due to statement timeout (SQLSTATE 57014)")

    monkeypatch.setattr(trials_queries, "fetch", slow)
    assert ask(filled, lambda pool: count_trials(pool, Scope())).how == "about"


def test_columns_that_vary_are_told_from_those_that_don_t(filled: str) -> None:
    keys = {key.key: key for key in ask(filled, lambda pool: trial_keys(pool, Scope()))}
    assert sorted(keys) == ["accuracy", "lr", "optimizer", "same", "score"]
    assert [name for name, key in keys.items() if not key.varies] == ["same"]
    assert keys["optimizer"].values == 2


def test_one_trial_comes_with_what_else_of_its_record_was_rejected(filled: str) -> None:
    async def work(pool: Pool) -> tuple[Any, Any, Any]:
        found = await trial_with_all(pool, "run-2", "t005"), await trial_with_all(pool, "run-1", "t001")
        return *found, await trial_with_all(pool, "run-1", "none")

    rejected, other, none = ask(filled, work)
    assert rejected["trial"]["trial_id"] == "t005"
    assert [letter["report_index"] for letter in rejected["letters"]] == [1, 2, 3]
    assert other["letters"] == []
    assert none is None


def test_runs_come_newest_first_with_counts_by_status_and_arm(filled: str) -> None:
    async def work(pool: Pool) -> None:
        first = await run_page(pool, limit=3)
        assert [run["run_id"] for run in first.runs] == ["run-3", "run-2", "run-1"]
        assert [counts.trials for counts in first.counts] == [0, 40, 40]
        assert sum(first.counts[1].by_status.values()) == 40
        assert first.counts[1].with_spectral_norm == 20
        second = await run_page(pool, first.next, limit=3)
        assert [run["run_id"] for run in second.runs] == ["run-0"]
        assert second.next is None
        assert [run["run_id"] for run in (await run_page(pool, search="RUN-2")).runs] == ["run-2"]

    ask(filled, work)


def test_values_are_read_into_arrays_as_they_are_stored(filled: str) -> None:
    others = [("lr", Path("parameters", ("lr",)), True), ("optimizer", Path("parameters", ("optimizer",)), False)]
    sample = ask(
        filled, lambda pool: read_sample(pool, Scope(), Path("spectral_norm"), Path("metrics", ("score",)), others)
    )
    stored = trials()
    places = [round((order - START.timestamp()) / 60) for order in sample.order.tolist()]
    assert sorted(places) == list(range(120))
    for at, place in enumerate(places):
        one = stored[place]
        score = one["metrics"].get("score")
        number = isinstance(score, (int, float)) and not isinstance(score, bool)
        assert sample.runs[sample.run[at]] == one["run_id"]
        assert sample.arms[sample.arm[at]] == str(one["spectral_norm"]).lower()
        assert sample.has_value[at] == (number or score in ("NaN", "Infinity", "-Infinity"))
        assert not number or sample.value[at] == score
        assert sample.ending[at] == {"succeeded": 0, "failed": 1}.get(one["status"], 2)
        assert sample.defaulted[at] == (one["schema_version"] == 1)
        assert sample.parameters[0].numbers is not None
        assert sample.parameters[0].numbers[at] == one["parameters"]["lr"]
    found = compare(sample, parameter="spectral_norm", metric="accuracy")
    assert found.trials == 120


def test_the_arms_of_a_parameter_are_its_values(filled: str) -> None:
    arm = Path("either", ("optimizer",))
    sample = ask(filled, lambda pool: read_sample(pool, Scope("run-0"), arm, Path("metrics", ("accuracy",))))
    assert sorted(sample.arms) == ["adam", "sgd"]
    assert len(sample.arm) == 40
    assert not sample.defaulted.any()
    found = compare(sample, parameter="optimizer", metric="accuracy")
    assert {arm.arm for arm in found.arms} == {"adam", "sgd"}


def test_no_trials_are_a_sample_too(filled: str) -> None:
    sample = ask(
        filled, lambda pool: read_sample(pool, Scope("none"), Path("spectral_norm"), Path("metrics", ("accuracy",)))
    )
    assert compare(sample, parameter="spectral_norm", metric="accuracy").contrasts == ()


def test_adoption_is_counted_by_span_with_those_that_could_not_say(filled: str) -> None:
    spans = ask(filled, lambda pool: adoption(pool, START, START + timedelta(hours=2)))
    assert [(span.trials, span.adopted, span.defaulted) for span in spans] == [(60, 30, 6), (60, 30, 6)]
    with pytest.raises(UsageError, match="at most 2000 spans"):
        ask(filled, lambda pool: adoption(pool, START, START + timedelta(days=365), 60))


def test_dead_letters_and_health_at_a_glance(filled: str) -> None:
    async def work(pool: Pool) -> tuple[list[int], list[int], Any]:
        first = await letter_page(pool, limit=2)
        second = await letter_page(pool, before=first[-1]["id"], limit=2)
        return [row["report_index"] for row in first], [row["report_index"] for row in second], await health(pool)

    first, second, state = ask(filled, work)
    assert (first, second) == ([3, 2], [1])
    assert (state["dead_letters"], state["waiting"], state["parked"]) == (3, 0, 0)
    assert [row["reason"] for row in state["reasons"]] == ["not_a_map"]


def test_the_dashboard_s_sessions_can_only_read(filled: str) -> None:
    async def work(pool: Pool) -> None:
        await pool.run(lambda connection: connection.execute("delete from cerebros_model_trials"))

    with pytest.raises(TransientError, match="25006"):
        ask(filled, work)
