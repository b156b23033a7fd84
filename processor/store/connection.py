"""What each connection of ours to Postgres is like, whoever opens it."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import structlog

from processor.core.errors import SetupError
from processor.core.numbers import read_stored
from processor.store.queries import load_queries

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 10.0
#: another session that holds a row must not hold us for longer than this; we come back later
LOCK_TIMEOUT_MS = 5000


def session_settings(application: str, timeout_ms: int) -> dict[str, str]:
    """What every session of ours asks of the server."""
    return {
        "application_name": application,
        "statement_timeout": str(timeout_ms),
        # half of a statement's time at the most: it is to be told what it was that took so long
        "lock_timeout": str(min(LOCK_TIMEOUT_MS, timeout_ms // 2)),
        "idle_in_transaction_session_timeout": "60000",
        "timezone": "UTC",
        # a statement must see what another process has just committed, whatever is the default of the role
        "default_transaction_isolation": "read committed",
        # a batch is judged in memory, and its statements are planned once
        "work_mem": "64MB",
        "jit": "off",
        # a role may have it off, and a backslash in a text of ours is one
        "standard_conforming_strings": "on",
    }


async def prepare(connection: asyncpg.Connection, settings: Mapping[str, str]) -> bool:
    """What a new connection needs before it is used; `settings` are what it was opened with.

    True where something between us and Postgres dropped some of them. Raises as `hold_settings` does.
    """
    dropped = await hold_settings(connection, settings)
    await _read_jsonb_as_values(connection)
    return dropped


_told_dropped: set[str] = set()


async def hold_settings(connection: asyncpg.Connection, settings: Mapping[str, str]) -> bool:
    """Sets by statement what a pooler dropped of them, and tells it once; True where there was something.

    Raises `SetupError` where it does not stay set: each statement then has another session of the server, or may have.
    """
    await connection.execute(load_queries()["commit_durably"])
    dropped = await _dropped(connection, settings)
    if not dropped:
        return False
    if not _told_dropped.issuperset(dropped):
        _told_dropped.update(dropped)
        log.warning("session_settings_dropped", settings=dropped)
    await connection.fetch(load_queries()["set_settings"], list(dropped), [settings[name] for name in dropped])
    if lost := await _dropped(connection, settings):
        raise SetupError(
            f"Postgres does not keep what a session sets ({', '.join(lost)}): the pooler between has to be in session "
            "mode, see docs/howto/deploy.md"
        )
    return True


async def _dropped(connection: asyncpg.Connection, settings: Mapping[str, str]) -> dict[str, str]:
    """By name: what each setting is that is not as it was asked for. A pooler may add to the application's name."""
    asked = {name: value for name, value in settings.items() if name != "application_name"}
    rows = await connection.fetch(load_queries()["dropped_settings"], list(asked), list(asked.values()))
    return {row["name"]: row["held"] for row in rows}


async def _read_jsonb_as_values(connection: asyncpg.Connection) -> None:
    """jsonb parameters are given as bytes of JSON, jsonb columns come as Python values."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda text: b"\x01" + text,  # the binary form of jsonb is a version byte and the text
        decoder=lambda raw: read_stored(raw[1:]),
    )
