"""The steps of a migration, each short or harmless to others, and each fit to be made again.

While a statement waits for a strong lock on a table, everybody else queues behind it. So it waits `LOCK_WAIT_MS`, gives
up, lets the queue pass and tries again: others are held up for less than 100 ms, however long somebody (a backup, a
forgotten psql) holds the table. Indexes are built concurrently; one that a killed run left half-made goes first.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from typing import Any

import asyncpg

from processor.store.queries import Step, load_queries

#: how long others may queue behind us; the statement itself takes a few milliseconds more
LOCK_WAIT_MS = 30
#: between two tries: long beside the wait, so that others are mostly free
PAUSE_SECONDS = (0.2, 0.5)
TOLD_EVERY_SECONDS = 5.0
#: an index on a large table takes its time, and so does whoever holds a lock
PATIENCE_SECONDS = 24 * 3600.0
#: from so many rows on a step is told when it begins, not only when it is done
MANY_ROWS = 100_000
_KEY = re.compile(r"(?P<name>\w+) on (?P<table>\w+) \((?P<columns>[\w, ]+)\)")

Tell = Callable[[str], None]


async def execute(connection: asyncpg.Connection, statement: str, *args: Any) -> None:
    await connection.execute(statement, *args, timeout=PATIENCE_SECONDS)


async def run_step(connection: asyncpg.Connection, step: Step, tell: Tell, *, record: str = "") -> None:
    """Makes the step; `record` is the migration whose last step this is, and which is done with it."""
    began = time.monotonic()
    if step.kind == "step":
        await _run_short(connection, step, tell, record)
        what = step.words
    else:
        what = await _build(connection, step, tell)
        if record:
            await record_migration(connection, record)
    tell(f"{what} ({time.monotonic() - began:.1f} s)")


async def record_migration(connection: asyncpg.Connection, name: str) -> None:
    await execute(connection, "insert into processor_migrations (name) values ($1)", name)


async def _run_short(connection: asyncpg.Connection, step: Step, tell: Tell, record: str) -> None:
    """In one transaction, as often as it takes to get the locks at once."""
    told = time.monotonic()
    while True:
        try:
            async with connection.transaction():
                await execute(connection, f"set local lock_timeout = {LOCK_WAIT_MS}")
                await execute(connection, step.sql)
                if record:
                    await record_migration(connection, record)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if time.monotonic() - told > TOLD_EVERY_SECONDS:
                told = time.monotonic()
                tell(f"{step.words}: still waiting for a moment without others{await _who_holds(connection)}")
        await asyncio.sleep(random.uniform(*PAUSE_SECONDS))


async def _who_holds(connection: asyncpg.Connection) -> str:
    found = await connection.fetchrow(load_queries()["who_holds"])
    if found is None:
        return ""
    return f"; pid {found['pid']} ({found['application']}) has held a lock for {found['seconds']} s"


async def _build(connection: asyncpg.Connection, step: Step, tell: Tell) -> str:
    """An index, unless there is one that does the same; what was done."""
    queries, key = load_queries(), _KEY.fullmatch(step.words)
    name = key["name"] if key else step.words
    if key:
        columns = sorted(key["columns"].split(", "))
        if await connection.fetchval(queries["unique_key_held"], key["table"], columns):
            return f"{key['table']} has a unique key on {key['columns']}"
    held = await connection.fetchrow(queries["index_held"], name)
    if held is not None and held["valid"]:
        return f"index {name} is there"
    if held is not None:
        tell(f"index {name} was left half-made: it goes, and is made again")
        await execute(connection, f"drop index concurrently {name}")
    table = re.search(r"\son (\w+)", step.sql)
    rows = await connection.fetchval(queries["rows_about"], table[1] if table else "")
    if rows and rows >= MANY_ROWS:
        tell(f"building index {name} on about {rows:,} rows; others read and write meanwhile")
    try:
        await execute(connection, step.sql)
    except asyncpg.PostgresError:
        await execute(connection, f"drop index concurrently if exists {name}")
        raise
    return f"index {name} on about {rows or 0:,} rows"
