"""What the store makes of a connection that is dead and does not look it, and of a misuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from processor.core.errors import TransientError
from processor.store.session import Session
from tests.conftest import execute
from tests.support.proxy import Proxy, through


@pytest.mark.parametrize("pause_s", [0.0, 0.2])
@pytest.mark.parametrize("copying", [False, True])
def test_a_session_that_ended_behind_an_open_connection_is_an_outage_and_the_next_connection_works(
    copying: bool, pause_s: float, proxy: Proxy, database_url: str, terminate_sessions: Callable[[str], None]
) -> None:
    async def work(connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            await connection.execute("create temp table t (a text)")
            if ended:
                return
            ended.append(True)
            await asyncio.to_thread(terminate_sessions, "cerebros-dead")
            await asyncio.sleep(pause_s)
            if copying:
                await connection.copy_to_table("t", source=memoryview(b"a\n"), format="text")
            await connection.execute("select 1")

    ended: list[bool] = []
    url = through(proxy, database_url)["PROCESSOR_DATABASE_URL"]
    with Session(url, application="cerebros-dead", timeout_ms=500) as store:
        proxy.conceals_ends = True
        with pytest.raises(TransientError):
            store.run(work)
        proxy.restore()
        store.run(work)
        assert store.connections == 2


def test_a_transaction_is_read_committed_whatever_the_database_asks_for(database_url: str) -> None:
    async def isolation(connection: asyncpg.Connection) -> str:
        async with connection.transaction():
            return str(await connection.fetchval("show transaction_isolation"))

    async def ask_for_more(connection: asyncpg.Connection) -> None:
        name = await connection.fetchval("select quote_ident(current_database())")
        await connection.execute(f"alter database {name} set default_transaction_isolation = 'repeatable read'")

    with Session(database_url, application="cerebros-asks", timeout_ms=5000) as store:
        store.run(ask_for_more)
    with Session(database_url, application="cerebros-isolation", timeout_ms=5000) as store:
        assert store.run(isolation) == "read committed"


def test_a_backslash_in_a_text_is_one_whatever_the_database_asks_for(database_url: str) -> None:
    execute(database_url, f"alter database {database_url.rpartition('/')[2]} set standard_conforming_strings = off")
    with Session(database_url, application="cerebros-backslash", timeout_ms=5000) as store:
        assert store.run(lambda connection: connection.fetchval(r"select '\x91'::bytea")) == b"\x91"


def test_a_misuse_is_raised_as_what_it_is_once_a_new_connection_has_had_it_too(store: Session) -> None:
    async def misuse(connection: asyncpg.Connection) -> None:
        await connection.fetch("select $1::integer")

    store.fetch("status_rows")
    with pytest.raises(TransientError):
        store.run(misuse)
    with pytest.raises(asyncpg.InterfaceError, match="expects 1 argument"):
        store.run(misuse)
