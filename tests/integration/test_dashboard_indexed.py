"""With indexes of metrics and parameters every page holds what it holds without them, in the same order, and sooner."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
import msgspec
import pytest

from processor.core.numbers import to_json
from processor.dashboard.filters.indexed import NOTHING, Indexed, json_path, read_indexable
from processor.dashboard.filters.parser import parse
from processor.dashboard.pages import listing
from processor.dashboard.queries import trials as trials_queries
from processor.dashboard.queries.assembling import Assembly, Query, Scope, fetch
from processor.dashboard.queries.indexed import read_indexed
from processor.dashboard.queries.pool import PLANNED_ANEW, open_pool, queries
from processor.dashboard.queries.sorting import Cursor, assemble, read_cursor, read_sort
from processor.dashboard.queries.trials import trial_page
from processor.store.connection import prepare
from processor.store.path_indexes import add_indexes, drop_indexes
from processor.store.pool import Pool
from processor.store.session import Session
from tests.conftest import execute
from tests.support.pages import get, read, slowed
from tests.support.trials import fill_tables

T = TypeVar("T")
#: what a metric may be: numbers that one double stands for and are not equal, beyond a double's ends and below its
#: least, of more digits than a cast takes, and what is no number
HOSTILE = [
    "0.1", "0.10000000000000000001", "0.1000000000000000055511151231257827", "0.1000000000000000055511151231257828",
    "9007199254740992", "9007199254740993", "9007199254740994.5", "1e400", "-1e400", "1.7976931348623157e308",
    "1.8e308", "1e-330", "-1e-330", "4e-324", "1e-320", "0", "-0.0", "1.0", "1.00", "1", "-2.5e-7", "0." + "3" * 400,
    "0." + "3" * 401, "1" + "0" * 320, "12345678901234567890", "12345678901234567891", '"NaN"', '"Infinity"',
    '"-Infinity"', '"5"', '"high"', '""', "true", "null", "[1]", '{"a": 1}', "[]",
]  # fmt: skip
NUMBERS = [one for one in HOSTILE if one[0] in "-0123456789"]
#: names of metrics that mean no good
NAMES = ["it's", 'quo"te', "back\\slash", "%L %1$L", "{}", "é\u202e\n", "x" * 300, "-1"]
FILL = """
insert into cerebros_model_trials (id, model_run_id, trial_id, status, metrics, parameters)
select gen_random_uuid(), run.id, 't' || place, 'succeeded', given.value -> 'metrics', given.value -> 'parameters'
from jsonb_array_elements($1::jsonb) with ordinality as given (value, place)
join cerebros_model_runs run on run.run_id = 'run-' || (place % 2)
"""


def fill(url: str, rows: list[dict[str, Any]]) -> None:
    """Two runs with these metrics and parameters."""

    async def work() -> None:
        connection = await asyncpg.connect(url)
        await prepare(connection, {})
        await connection.execute(
            "insert into cerebros_model_runs (run_id, state) select 'run-' || n, 'running' from generate_series(0, 1) n"
        )
        await connection.execute(FILL, to_json(rows))
        await connection.close()

    asyncio.run(work())


def add(url: str, *paths: str) -> None:
    with Session(url) as store:
        add_indexes(store, [json_path(read_indexable(path)) for path in paths], lambda _: None)


def ask(url: str, work: Callable[[Pool], Awaitable[T]], **session: str) -> T:
    """Few rows are read as fast without an index: those who ask for it are made to use one."""

    async def with_pool() -> T:
        settings = {**PLANNED_ANEW, **session}
        async with Pool(url, read_only=True, session=settings, queries=queries()) as pool:
            return await work(pool)

    return asyncio.run(with_pool())


def raw(text: str) -> Any:
    return msgspec.Raw(text.encode())


def hostile_rows() -> list[dict[str, Any]]:
    draw = random.Random(3)
    rows = []
    for value in HOSTILE * 3:
        metrics = {"m": raw(value), "deep": {"a.b": [raw(draw.choice(HOSTILE)), 1]}}
        parameters = {"p": raw(draw.choice(HOSTILE)), "m": raw(draw.choice(HOSTILE))}
        rows.append({"metrics": metrics if draw.random() < 0.8 else {}, "parameters": parameters})
    return rows


async def walk(pool: Pool, scope: Scope, order: str, size: int) -> list[list[str]]:
    """The ids of each page forwards, then of each page backwards from the last one."""
    sort = read_sort(order)
    page = await trial_page(pool, scope, sort, limit=size)
    found = [[row["trial_id"] for row in page.rows]]
    while page.next:
        page = await trial_page(pool, scope, sort, read_cursor(page.next, sort), size)
        found.append([row["trial_id"] for row in page.rows])
    while page.previous:
        page = await trial_page(pool, scope, sort, read_cursor(page.previous, sort), size)
        found.append([row["trial_id"] for row in page.rows])
    return found


ORDERS = ["m", "metrics.m", "parameters.m", "parameters.p", 'metrics.deep."a.b".0', "inserted_at"]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("chosen", [("m",), ("metrics.m", "parameters.m"), ("p", 'metrics.deep."a.b".0', "m")])
def test_pages_in_any_order_are_the_same_with_indexes_and_without(database_url: str, chosen: tuple[str, ...]) -> None:
    """Backwards too; none skips or repeats a trial, also among numbers that one double stands for."""
    fill(database_url, hostile_rows())
    add(database_url, *chosen)

    async def work(pool: Pool) -> None:
        indexed = await read_indexed(pool)
        assert [path for path in chosen if indexed.serving(read_indexable(path)) is None] == []
        for run, order, down in itertools.product((None, "run-1"), ORDERS, ("", "-")):
            plain, size = Scope(run), 7 if run else 23
            expected = await walk(pool, plain, down + order, size)
            assert await walk(pool, plain._replace(indexed=indexed), down + order, size) == expected, down + order
            assert sum(map(len, expected)) >= (len(HOSTILE) * 3 // 2 if run else len(HOSTILE) * 3)

    ask(database_url, work, enable_seqscan="off", enable_bitmapscan="off")


def conditions(draw: random.Random) -> str:
    """A filter that asks of hostile numbers what an index could tell, and what it could not."""
    path, number = draw.choice(ORDERS[:-1]), draw.choice([*NUMBERS[:20], "0.1", "1e399", "-1e-399", "1e-323"])
    operator = draw.choice(["<", "<=", ">", ">=", "=", "!="])
    number = number if number.lstrip("-") not in ("1e400",) else "1e399"
    listed = ", ".join(draw.sample(["0.1", "1", "9007199254740993", "1.8e308", "1e-330", "high", "0"], 3))
    one = draw.choice([f"{path} {operator} {number}", f"{path} {operator} {number}", f"{path} in ({listed})"])
    return f"not ({one})" if draw.random() < 0.2 else one


@pytest.mark.parametrize("plan", [{"enable_seqscan": "off"}, {"enable_seqscan": "off", "enable_bitmapscan": "off"}])
def test_a_filter_holds_the_same_trials_with_indexes_and_without(database_url: str, plan: dict[str, str]) -> None:
    """Whatever is compared with: what is Infinity is above every number, and a double that is equal is no equal."""
    fill(database_url, hostile_rows())
    add(database_url, "m", "parameters.m", "parameters.p", 'metrics.deep."a.b".0')
    draw = random.Random(5)
    asked = [conditions(draw) for _ in range(250)]
    asked += [
        f"{one} {draw.choice(('and', 'or'))} {other}" for one, other in zip(asked[::4], asked[1::4], strict=False)
    ]

    async def work(pool: Pool) -> None:
        indexed = await read_indexed(pool)
        used = 0
        for place, text in enumerate(asked):
            scope = Scope("run-0" if place % 3 else None, parse(text))
            order = read_sort(("-inserted_at", "metrics.m", "-parameters.p")[place % 3])
            expected = [row["trial_id"] for row in (await trial_page(pool, scope, order, limit=500)).rows]
            scope = scope._replace(indexed=indexed)
            found = [row["trial_id"] for row in (await trial_page(pool, scope, order, limit=500)).rows]
            assert found == expected, text
            used += bool(expected)
        assert used > 100

    ask(database_url, work, **plan)


def test_a_path_may_hold_anything(database_url: str) -> None:
    """It is quoted by the server, and read back from what the index is made of."""
    fill(database_url, [{"metrics": dict.fromkeys(NAMES, place), "parameters": {}} for place in range(20)])
    paths = [json_path(read_indexable("metrics." + quoted(name))) for name in NAMES[:7]]
    paths.append(json_path(read_indexable(f"parameters.{quoted(NAMES[2])}.{quoted('a,{b}')}.{quoted(NAMES[0])}")))
    with Session(database_url) as store:
        add_indexes(store, paths, lambda _: None)

    async def work(pool: Pool) -> None:
        indexed = await read_indexed(pool)
        assert len(indexed.names) == 16
        for name in NAMES[:7]:
            scope = Scope(None, parse(f"metrics.{quoted(name)} > 4"), indexed=indexed)
            sort = read_sort(f"-metrics.{quoted(name)}")
            page = await trial_page(pool, scope, sort, limit=500)
            assert [row["metrics"][name] for row in page.rows] == list(range(19, 4, -1))
            [plan] = await plans(pool, page_query(scope, sort))
            assert nodes(plan) & {"Sort", "Seq Scan on trial"} == set()

    ask(database_url, work, enable_seqscan="off", enable_bitmapscan="off", enable_sort="off")
    with Session(database_url) as store:
        for path in paths:
            assert drop_indexes(store, path, lambda _: None)


def quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def page_query(scope: Scope, sort: Any, cursor: Cursor | None = None) -> Query:
    """The question that a page asks first."""
    assembly = Assembly("trial_ids_indexed", scope)
    assemble("trial_ids_indexed", assembly, sort, cursor, 51, scope.indexed.serving(sort.path))
    return assembly.query()


async def plans(pool: Pool, *asked: Query) -> list[Any]:
    found = [await fetch(pool, query._replace(sql=f"explain (format json) {query.sql}")) for query in asked]
    return [msgspec.json.decode(rows[0]["QUERY PLAN"])[0]["Plan"] for rows in found]


def nodes(plan: Any) -> set[str]:
    """The kinds of a plan's nodes, scans with what they scan, and the indexes."""
    own = {plan["Node Type"] + (f" on {plan['Alias']}" if "Alias" in plan else ""), plan.get("Index Name", "")}
    return own.union(*map(nodes, plan.get("Plans", ())))


MANY = """
insert into cerebros_model_trials (id, model_run_id, trial_id, status, metrics, parameters)
select gen_random_uuid(), run.id, 't' || n, 'succeeded', jsonb_build_object('accuracy', random()),
       jsonb_build_object('lr', random(), 'optimizer', 'adam')
from generate_series(1, 20000) n join cerebros_model_runs run on run.run_id = 'run-' || (n % 2)
"""


def test_the_plan_of_a_page_walks_the_index_and_sorts_no_more_than_neighbours(database_url: str) -> None:
    """Its key is a parameter, also when the same statement was prepared and asked before."""
    fill(database_url, [])
    execute(database_url, MANY)
    add(database_url, "metrics.accuracy", "parameters.lr")
    accuracy = read_sort("-metrics.accuracy")
    middle = Cursor(0, "0.5", "ffffffff-ffff-ffff-ffff-ffffffffffff")

    async def work() -> None:
        async with open_pool(database_url) as pool:
            indexed = await read_indexed(pool)
            for run, cursor in itertools.product((None, "run-1"), (None, middle, middle._replace(back=True))):
                [plan] = await plans(pool, page_query(Scope(run, indexed=indexed), accuracy, cursor))
                assert nodes(plan) & {"Sort", "Seq Scan on trial"} == set()
                assert {one for one in nodes(plan) if one in indexed.names}
            by_filter = Assembly("trial_count", Scope("run-1", parse("parameters.lr < 0.001"), indexed=indexed))
            by_filter.put("limit", "10000", "1")
            [plan] = await plans(pool, by_filter.query())
            assert {one for one in nodes(plan) if one in indexed.names}
            for _ in range(10):
                await trial_page(pool, Scope("run-1", indexed=indexed), accuracy)

    asyncio.run(work())
    used = "select sum(idx_scan) from pg_stat_user_indexes where indexrelname like 'cerebros_model_trials_path%_of_run'"

    async def count() -> int:
        connection = await asyncpg.connect(database_url)
        found = await connection.fetchval(used)
        await connection.close()
        return int(found)

    assert asyncio.run(count()) >= 10


def test_without_an_index_of_what_is_asked_the_question_is_as_it_was(database_url: str) -> None:
    add(database_url, "metrics.other", "parameters.lr")

    async def work(pool: Pool) -> None:
        indexed = await read_indexed(pool)
        assert len(indexed.names) == 4
        for text in ("metrics.accuracy > 0.5", "lr < 1", "parameters.lr != 1", "parameters.lr = x", "duration_ms > 5"):
            scopes = [Scope("run-0", parse(text), indexed=one) for one in (NOTHING, indexed)]
            plain, other = (Assembly("trial_count", scope).query() for scope in scopes)
            assert plain == other
        assert indexed.serving(read_sort("-metrics.accuracy").path) is None

    ask(database_url, work)


def test_an_index_that_went_meanwhile_makes_a_page_slower_and_not_wrong(database_url: str) -> None:
    fill_tables(database_url)
    add(database_url, "metrics.score")

    async def work(pool: Pool) -> None:
        indexed = await read_indexed(pool)
        before = await walk(pool, Scope(None, parse("metrics.score > 0"), indexed=indexed), "-metrics.score", 10)
        await asyncio.to_thread(drop, "metrics.score")
        assert (
            await walk(pool, Scope(None, parse("metrics.score > 0"), indexed=indexed), "-metrics.score", 10) == before
        )
        assert await read_indexed(pool) == Indexed()

    def drop(path: str) -> None:
        with Session(database_url) as store:
            assert drop_indexes(store, json_path(read_indexable(path)), lambda _: None)

    ask(database_url, work)


def test_an_order_that_is_not_walked_to_its_page_in_time_is_asked_as_the_planner_would_have_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials_queries, "WALK_MS", 50)
    rows = [{"metrics": {"m": place}, "parameters": {"p": place}} for place in range(50)]
    fill(database_url, rows)
    add(database_url, "metrics.m", "parameters.p")
    # each row that is looked at takes longer than the whole walk may
    slow = parse("parameters.p >= 40 and slow = 1")
    execute(
        database_url,
        "create function crawl(jsonb, jsonb) returns boolean language plpgsql as "
        "$$ begin perform pg_sleep(0.02); return true; end $$",
    )

    async def work(pool: Pool) -> list[int]:
        indexed = await read_indexed(pool)
        real = fetch

        async def crawling(pool: Pool, query: Query, *more: Any) -> Any:
            sql = query.sql.replace(
                "coalesce(trial.metrics", "crawl(trial.metrics, trial.parameters) or coalesce(trial.metrics"
            )
            asked.append(trials_queries.WALKED in more)
            return await real(pool, query._replace(sql=sql), *more)

        monkeypatch.setattr(trials_queries, "fetch", crawling)
        page = await trial_page(pool, Scope(None, slow, indexed=indexed), read_sort("metrics.m"), limit=5)
        return [row["metrics"]["m"] for row in page.rows]

    asked: list[bool] = []
    assert ask(database_url, work) == [40, 41, 42, 43, 44]
    assert asked == [True, False]


def test_a_page_whose_order_takes_long_says_which_index_would_help(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_tables(database_url)
    monkeypatch.setattr(listing, "SLOW_SECONDS", 0.0)
    said = "who runs the dashboard can add one: processor dashboard-index add "
    assert f"{said}metrics.score" in read(get(database_url, "/trials?sort=-metrics.score")).text
    assert f"""{said}'metrics."it'"'"'s"'""" in read(get(database_url, "/trials?sort=metrics.%22it's%22")).text
    for asked in ("/trials", "/trials?sort=-duration_ms"):
        assert said not in read(get(database_url, asked)).text
    add(database_url, "score")
    for asked in ("/runs/run-0?sort=score", "/trials?sort=-metrics.score"):
        assert said not in read(get(database_url, asked)).text
    assert said in read(get(database_url, "/trials?sort=parameters.score")).text


def test_a_page_that_hits_the_time_limit_says_so_too(database_url: str) -> None:
    fill_tables(database_url)
    execute(database_url, *slowed(60))
    answer = get(database_url, "/trials?sort=-metrics.score", timeout_ms=4000)
    assert "can add one: processor dashboard-index add metrics.score" in read(answer, 503).text
