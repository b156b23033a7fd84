"""The dashboard's pages from a real Postgres: each trial on one page only, in any order, whatever comes meanwhile."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from processor.core.errors import TransientError
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.tree import MAX_LENGTH, Path
from processor.dashboard.queries import trials as trials_queries
from processor.dashboard.queries.assembling import Scope, fetch
from processor.dashboard.queries.letters import letter_page
from processor.dashboard.queries.runs import run_page
from processor.dashboard.queries.sorting import read_cursor, read_sort
from processor.dashboard.queries.trials import count_trials, trial_keys, trial_page, trial_with_all
from processor.events.headers import event_id
from processor.store.pool import Pool
from tests.conftest import execute
from tests.support.pages import fill, report
from tests.support.trials import ask, fill_tables, trials


@pytest.fixture
def filled(database_url: str) -> str:
    fill_tables(database_url)
    return database_url


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
    """It is of a sample, times the trials there are: here the sample is all of them."""

    async def slow(pool: Pool, query: Any, timeout_ms: int | None = None) -> Any:
        if timeout_ms is None:
            return await fetch(pool, query)
        raise TransientError("Postgres: canceling statement due to statement timeout (SQLSTATE 57014)")

    monkeypatch.setattr(trials_queries, "fetch", slow)
    for run_id in (None, "run-1"):
        expected = [
            one for one in trials() if one["parameters"].get("optimizer") == "adam" and run_id in (None, one["run_id"])
        ]
        scope = Scope(run_id, parse("optimizer = adam"))
        found = ask(filled, lambda pool, scope=scope: count_trials(pool, scope))  # type: ignore[misc]
        assert found == trials_queries.Count(len(expected), "about")


def test_without_a_filter_a_count_is_known_and_looks_at_no_trial(filled: str) -> None:
    assert ask(filled, lambda pool: count_trials(pool, Scope())) == trials_queries.Count(len(trials()), "exactly")
    execute(filled, "delete from cerebros_run_counts; delete from cerebros_count_changes")
    assert ask(filled, lambda pool: count_trials(pool, Scope())) == trials_queries.Count(0, "exactly")


def test_columns_that_vary_are_told_from_those_that_don_t(filled: str) -> None:
    keys = {key.name: key for key in ask(filled, lambda pool: trial_keys(pool, Scope()))}
    assert sorted(keys) == ["accuracy", "lr", "optimizer", "same", "score", "score.a"]
    assert [name for name, key in keys.items() if not key.varies] == ["same"]
    assert keys["optimizer"].values == 2


def test_what_stands_in_objects_is_told_by_its_path(database_url: str) -> None:
    """To three names; lists, empty objects and what is deeper or behind a long name are nested."""
    fill(
        database_url,
        [
            report(
                "r", f"t{place}", place,
                metrics={"eval": {"loss": place / 7}, "accuracy": 0.5},
                parameters={
                    "optimizer": {"name": ("adam", "sgd")[place % 2], "lr": place, "schedule": {"kind": "step"}},
                    "a": {"b": {"c": {"d": place}}}, "layers": [place], "none": {}, "x" * 61: {"lr": place},
                    **({"either": {"lr": 1}} if place % 2 else {"either": "adam"}),
                },
            )
            for place in range(4)
        ],
    )  # fmt: skip
    keys = {key.path: key for key in ask(database_url, lambda pool: trial_keys(pool, Scope()))}
    told = {(path.place, *path.keys): (key.trials, key.values, key.numbers, key.nested) for path, key in keys.items()}
    assert told == {
        ("metrics", "accuracy"): (4, 1, 4, 0),
        ("metrics", "eval", "loss"): (4, 4, 4, 0),
        ("parameters", "optimizer", "name"): (4, 2, 0, 0),
        ("parameters", "optimizer", "lr"): (4, 4, 4, 0),
        ("parameters", "optimizer", "schedule", "kind"): (4, 1, 0, 0),
        ("parameters", "a", "b", "c"): (4, 4, 0, 4),
        ("parameters", "layers"): (4, 4, 0, 4),
        ("parameters", "none"): (4, 1, 0, 4),
        ("parameters", "x" * 61): (4, 4, 0, 4),
        ("parameters", "either"): (2, 1, 0, 0),
        ("parameters", "either", "lr"): (2, 1, 2, 0),
    }
    assert keys[Path("parameters", ("optimizer", "lr"))].name == "optimizer.lr"


@pytest.mark.parametrize("scope", [Scope(), Scope("r0"), Scope(None, parse("run_id in (r0, r1)"))], ids=str)
def test_what_a_search_varies_only_later_varies(database_url: str, scope: Scope) -> None:
    """The first trials that a filter holds are mostly the oldest: a thousand of them had one learning rate."""
    reports = [
        report(f"r{place % 2}", f"t{place:05}", place, parameters={"lr": 0.1 if place < 2450 else place})
        for place in range(2500)
    ]
    fill(database_url, reports)
    keys = {key.name: key for key in ask(database_url, lambda pool: trial_keys(pool, scope))}
    assert keys["lr"].varies
    assert keys["lr"].looked <= 1500
    few = scope._replace(filter=parse("run_id = r0 trial_id contains t000"))
    assert {key.looked for key in ask(database_url, lambda pool: trial_keys(pool, few))} == {50}


def test_one_trial_comes_with_what_else_of_its_record_was_rejected(filled: str) -> None:
    async def work(pool: Pool) -> tuple[Any, Any, Any]:
        found = await trial_with_all(pool, "run-2", "t005"), await trial_with_all(pool, "run-1", "t001")
        return *found, await trial_with_all(pool, "run-1", "none")

    execute(  # of a topic that was made anew
        filled,
        'with record as (insert into dead_letter_records (topic, partition, "offset", record_timestamp) '
        "values ('raw', 0, 5, now()) returning id) insert into dead_letters (record_id, report_index, reason, detail) "
        "select id, 7, 'not_a_map', 'another record' from record",
    )
    execute(
        filled,
        "insert into dead_letters (record_id, report_index, reason, detail) "
        "select record_id, 1000 + n, 'not_a_map', 'many' from dead_letters, generate_series(1, 120) as n "
        "where report_index = 1",
    )
    rejected, other, none = ask(filled, work)
    assert rejected["trial"]["trial_id"] == "t005"
    assert [letter["report_index"] for letter in rejected["letters"]] == [1, 2, 3, *range(1001, 1098)]
    assert (rejected["letters_left"], other["letters"], other["letters_left"]) == (23, [], 0)
    status = other["trial"]["status"]
    expected = None if status == "skipped" else event_id("run-1", "t001", 1)
    assert (other["event"] or {}).get("id") == expected
    assert none is None


def test_names_that_no_row_can_have_find_nothing(filled: str) -> None:
    async def work(pool: Pool) -> None:
        for name in ("a\0b", "a\ud800"):
            assert await trial_with_all(pool, name, name) is None
            assert (await run_page(pool, search=name)).runs == ()
            assert (await trial_page(pool, Scope(name))).rows == ()
            assert await letter_page(pool, reason=name) == []

    ask(filled, work)


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


@pytest.mark.parametrize("order", ["error_message", "-error_message", "metrics.said", "-parameters.said"])
def test_pages_go_on_behind_texts_that_are_too_long_for_a_url(database_url: str, order: str) -> None:
    long = [{"said": ("ä" * 3000) + str(place % 4)} for place in range(30)]
    reports = [report("r", f"t{place}", place, metrics=said, parameters=said) for place, said in enumerate(long)]
    fill(database_url, reports, "update cerebros_model_trials set error_message = metrics ->> 'said'")
    sort = read_sort(order)

    async def cursors(pool: Pool) -> list[str | None]:
        page = await trial_page(pool, Scope(), sort, limit=7)
        return [page.next, (await trial_page(pool, Scope(), sort, read_cursor(page.next or "", sort), 7)).previous]

    there, back = ask(database_url, lambda pool: walk(pool, Scope(), order, 7))
    assert sorted(there) == sorted(f"t{place}" for place in range(30))
    assert back == there
    assert all(cursor is not None and len(cursor) < MAX_LENGTH for cursor in ask(database_url, cursors))
