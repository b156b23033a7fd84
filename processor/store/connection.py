"""What each connection of ours to Postgres is like, whoever opens it."""

from __future__ import annotations

import asyncpg

from processor.core.numbers import read_stored
from processor.store.queries import load_queries

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


async def prepare(connection: asyncpg.Connection) -> None:
    """What a new connection needs before it is used."""
    await _read_jsonb_as_values(connection)
    await connection.execute(load_queries()["commit_durably"])


async def _read_jsonb_as_values(connection: asyncpg.Connection) -> None:
    """jsonb parameters are given as bytes of JSON, jsonb columns come as Python values."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda text: b"\x01" + text,  # the binary form of jsonb is a version byte and the text
        decoder=lambda raw: read_stored(raw[1:]),
    )
