"""Behind a pooler that drops the settings of our sessions they hold all the same, and it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from processor.core.errors import SetupError
from processor.dashboard.queries.pool import open_pool
from processor.store import connection as connections
from processor.store.migrations import turn
from processor.store.queries import load_queries
from processor.store.session import Session
from tests.support.pooler import Pooler
from tests.support.proxy import through

SHOWN = "select current_setting('statement_timeout') || ' ' || current_setting('default_transaction_read_only')"


@pytest.fixture
def pooler(database_url: str) -> Iterator[Pooler]:
    host, _, port = database_url.rpartition("@")[2].partition("/")[0].partition(":")
    opened = Pooler(host, int(port))
    with opened:
        yield opened


def test_settings_that_a_pooler_drops_are_set_by_statement_and_told_once(
    pooler: Pooler, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    connections._told_dropped.clear()
    url = through(pooler, database_url)["PROCESSOR_DATABASE_URL"]
    for _ in range(2):
        with Session(url, timeout_ms=12_000) as store:
            assert store.run(lambda connection: connection.fetchval(SHOWN)) == "12s off"
    said = "".join(capfd.readouterr())
    assert said.count("session_settings_dropped") == 1
    assert "lock_timeout" in said
    assert "application_name" not in said


def test_nothing_is_told_and_nothing_set_where_nothing_was_dropped(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    connections._told_dropped.clear()
    with Session(database_url, timeout_ms=12_000, session={"work_mem": "65536kB"}) as store:
        assert store.run(lambda connection: connection.fetchval(SHOWN)) == "12s off"
    assert "session_settings_dropped" not in "".join(capfd.readouterr())


def test_a_pool_of_read_only_sessions_stays_one_each_time_a_session_is_given_back(
    pooler: Pooler, database_url: str
) -> None:
    async def ask() -> list[str]:
        url = through(pooler, database_url)["PROCESSOR_DATABASE_URL"]
        async with open_pool(url, timeout_ms=3000, most=1) as pool:
            return [str(await pool.run(lambda connection: connection.fetchval(SHOWN))) for _ in range(3)]

    assert asyncio.run(ask()) == ["3s on"] * 3


def test_what_a_session_is_limited_to_holds_again_behind_a_migration(pooler: Pooler, database_url: str) -> None:
    async def migrating(connection: asyncpg.Connection) -> list[str]:
        async with turn(connection):
            within = await connection.fetchval(SHOWN)
        return [within, await connection.fetchval(SHOWN)]

    url = through(pooler, database_url)["PROCESSOR_DATABASE_URL"]
    with Session(url, timeout_ms=12_000) as store:
        assert store.run(migrating) == ["0 off", "12s off"]


def test_a_pooler_that_gives_each_statement_another_session_is_refused(
    pooler: Pooler, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was set is not there any more, as in transaction mode where another session of the server answers."""
    queries = load_queries()
    lost = queries["set_settings"].replace("false", "true")
    monkeypatch.setattr(connections, "load_queries", lambda: {**queries, "set_settings": lost})
    url = through(pooler, database_url)["PROCESSOR_DATABASE_URL"]
    with Session(url) as store, pytest.raises(SetupError, match="has to be in session mode"):
        store.answers()
