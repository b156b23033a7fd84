"""The asynchronous pool: as many connections as it may have, errors that are ours, memory that does not grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from processor.core.errors import SetupError, TransientError
from processor.store.errors import ReportError
from processor.store.pool import Pool
from tests.support.proxy import Proxy, through

T = TypeVar("T")
QUERIES = {
    "one": "select 1 as number, '{\"a\": [1]}'::jsonb as document",
    "sleep": "select pg_sleep($1)",
    "many": "select number, repeat('x', 999) as text from (select generate_series(1, $1::integer) as number) as n",
    "write": "insert into outbox (id, messages, payload) values (gen_random_uuid(), 0, '') returning seq",
    "wrong": "select nothing from nowhere",
    "divide": "select 1 / $1::integer as number",
    "sessions": "select count(*) as number from pg_stat_activity where application_name = 'pool-test'",
}


def run(url: str, work: Callable[[Pool], Awaitable[T]], **options: Any) -> T:
    async def with_pool() -> T:
        async with Pool(url, application="pool-test", queries=QUERIES, **options) as pool:
            return await work(pool)

    return asyncio.run(with_pool())


def test_a_named_query_gives_rows_with_jsonb_as_values(database_url: str) -> None:
    assert run(database_url, lambda pool: pool.fetch("one")) == [{"number": 1, "document": {"a": [1]}}]


def test_no_more_connections_are_opened_than_allowed_and_all_who_ask_are_served(database_url: str) -> None:
    async def ask(pool: Pool) -> tuple[float, int]:
        began = time.monotonic()
        await asyncio.gather(*(pool.fetch("sleep", 0.1) for _ in range(9)))
        return time.monotonic() - began, (await pool.fetch("sessions"))[0]["number"]

    seconds, sessions = run(database_url, ask, most=3)
    assert seconds >= 0.3  # nine of 0.1 s by three
    assert sessions <= 3


def test_who_gets_no_connection_in_time_is_told_of_an_outage(database_url: str) -> None:
    async def ask(pool: Pool) -> None:
        first = asyncio.create_task(pool.run(lambda _: asyncio.sleep(1.6)))
        await asyncio.sleep(0.05)
        with pytest.raises(TransientError, match="no connection was free"):
            await pool.fetch("one")
        await first

    run(database_url, ask, most=1, timeout_ms=1000)


def test_what_runs_too_long_is_cut_off_and_the_next_one_is_served(database_url: str) -> None:
    async def ask(pool: Pool) -> list[dict[str, Any]]:
        with pytest.raises(TransientError, match="57014"):
            await pool.fetch("sleep", 30)
        return await pool.fetch("one")

    assert run(database_url, ask, most=1, timeout_ms=1000)[0]["number"] == 1


def test_a_pool_that_only_reads_is_refused_every_write_by_the_server(database_url: str) -> None:
    with pytest.raises(TransientError, match="25006"):
        run(database_url, lambda pool: pool.fetch("write"), read_only=True)


@pytest.mark.parametrize(("name", "args", "expected"), [("wrong", (), SetupError), ("divide", (0,), ReportError)])
def test_errors_are_sorted_as_everywhere(
    name: str, args: tuple[Any, ...], expected: type[Exception], database_url: str
) -> None:
    with pytest.raises(expected):
        run(database_url, lambda pool: pool.fetch(name, *args))


def test_a_stream_brings_all_rows_and_gives_its_connection_back_when_it_is_left_early(database_url: str) -> None:
    async def ask(pool: Pool) -> tuple[int, int]:
        everything = sum([row["number"] async for row in pool.stream("many", 5000)])
        rows = pool.stream("many", 1_000_000_000)  # would not fit anywhere
        async for _ in rows:
            break
        await rows.aclose()
        return everything, (await pool.fetch("one"))[0]["number"]

    assert run(database_url, ask, most=1) == (5000 * 5001 // 2, 1)


def test_a_server_that_was_gone_is_met_again_by_the_next_question(database_url: str, proxy: Proxy) -> None:
    url = through(proxy, database_url)["PROCESSOR_DATABASE_URL"]

    async def ask(pool: Pool) -> int:
        await pool.fetch("one")
        proxy.refuse()
        for _ in range(2):
            with pytest.raises(TransientError):
                await pool.fetch("one")
        proxy.restore()
        return int((await pool.fetch("one"))[0]["number"])

    assert run(url, ask, most=2) == 1


def test_a_server_that_never_answers_is_an_outage(database_url: str, proxy: Proxy) -> None:
    url = through(proxy, database_url)["PROCESSOR_DATABASE_URL"]

    async def ask(pool: Pool) -> None:
        await pool.fetch("one")
        proxy.hold()
        with pytest.raises(TransientError):
            await pool.fetch("one")
        proxy.restore()
        assert (await pool.fetch("one"))[0]["number"] == 1

    run(url, ask, most=1, timeout_ms=1000)


def test_a_pool_that_is_not_open_says_so(database_url: str) -> None:
    with pytest.raises(RuntimeError, match="context manager"):
        asyncio.run(Pool(database_url).fetch("one"))
