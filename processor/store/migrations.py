"""`processor migrate`: plain SQL files, in order, each once, step by step.

Each step is a transaction of its own (or builds an index, outside of any) and may be made again: a run that was killed
is resumed by the next. Before the first step everything is looked at that could be refused. Safe to repeat and to run
from several replicas at once: the second waits for the first and finds nothing to do. Other programs that read and
write the tables meanwhile are never held up for more than 100 ms (`steps`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog

from processor.core.errors import SetupError
from processor.store.errors import ReportError
from processor.store.queries import Step, load_queries, migrations
from processor.store.refusals import check_encoding, refuse_duplicates, refuse_odd_tables
from processor.store.session import Session
from processor.store.steps import PATIENCE_SECONDS, Tell, execute, run_step

log = structlog.get_logger(__name__)

#: 'migr' in ASCII: the first key of the advisory lock; the second is the schema, so that two of a database don't wait
MIGRATION_LOCK = int.from_bytes(b"migr", "big")
#: a replica that waits for another asks so often: waiting inside of a statement would hold up the building of indexes
ASK_SECONDS = 0.5
_TIMEOUTS = ["statement_timeout", "lock_timeout"]
_MIGRATIONS = (
    "create table if not exists processor_migrations "
    "(name text primary key, applied_at timestamptz not null default now())"
)


_told_newer: set[str] = set()


def check_migrated(store: Session) -> None:
    """Raises `SetupError` where a migration is pending; one that this release knows nothing of is told, once.

    A process of an older release goes on beside a newer one, and starts again: an upgrade is done one by one.
    """
    done = store.run(_done)
    if pending := _pending(done):
        raise SetupError(f"the database {store.where} lacks {', '.join(pending)}: run `processor migrate`")
    if (newer := _newer(done)) and not _told_newer.issuperset(newer):
        _told_newer.update(newer)
        log.warning("database_newer", migrations=newer)


def migrate(store: Session, tell: Tell = lambda _: None) -> list[str]:
    """Runs what is pending and returns its names; `tell` hears of each step.

    Raises `SetupError` where existing rows break a unique key, naming them, and where an existing table could not be
    written; then nothing at all has changed.
    """
    try:
        return store.run(lambda connection: _migrate(connection, store.where, tell), timeout_s=PATIENCE_SECONDS)
    except ReportError as error:  # rows that came after the look at them, or a constraint nobody thought of
        raise SetupError(
            f"the database {store.where} refuses a step of a migration; the steps before it stay, and the same command "
            f"goes on with it: {error}"
        ) from None


async def _done(connection: asyncpg.Connection) -> set[str]:
    if await connection.fetchval("select to_regclass('processor_migrations')") is None:
        return set()
    return {row[0] for row in await connection.fetch("select name from processor_migrations")}


def _pending(done: set[str]) -> list[str]:
    return [name for name, _ in migrations() if name not in done]


def _newer(done: set[str]) -> list[str]:
    return sorted(done - {name for name, _ in migrations()})


async def _migrate(connection: asyncpg.Connection, where: str, tell: Tell) -> list[str]:
    await check_encoding(connection, where)
    async with turn(connection):
        done = await _done(connection)
        if newer := _newer(done):
            tell(f"this database has migrations of a newer release: {', '.join(newer)}")
        pending = _pending(done)
        if pending:
            if "0002_order_and_revision" in pending:
                await refuse_duplicates(connection, where)
            await refuse_odd_tables(connection, where)
            await execute(connection, _MIGRATIONS)
        for name, steps in migrations():
            if name in pending:
                await _run_steps(connection, name, steps, tell)
        return pending


@asynccontextmanager
async def turn(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """While this lasts no other session changes what this schema is made of; statements may take their time."""
    before = [await connection.fetchval(f"show {name}") for name in _TIMEOUTS]  # a reset would forget what we set
    await _limit(connection, ["0", "0"])
    await _wait_for_turn(connection)
    try:
        yield
    finally:
        if not connection.is_closed():
            await _limit(connection, before)
            await connection.fetchval(load_queries()["end_migrate"], MIGRATION_LOCK)


async def _limit(connection: asyncpg.Connection, limits: list[str]) -> None:
    await connection.fetch(load_queries()["set_settings"], _TIMEOUTS, limits, timeout=PATIENCE_SECONDS)


async def _wait_for_turn(connection: asyncpg.Connection) -> None:
    while True:
        if await connection.fetchval(load_queries()["try_migrate"], MIGRATION_LOCK):
            return
        await asyncio.sleep(ASK_SECONDS)


async def _run_steps(connection: asyncpg.Connection, name: str, steps: Sequence[Step], tell: Tell) -> None:
    for step in steps:
        record = name if step is steps[-1] else ""
        await run_step(connection, step, lambda words: tell(f"{name}: {words}"), record=record)
