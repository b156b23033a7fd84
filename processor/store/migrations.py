"""`processor migrate`: plain SQL files, in order, each once; all pending ones in one transaction under an advisory lock.

Safe to repeat and to run from several replicas at once: the second waits for the first and finds nothing to do.
"""

from __future__ import annotations

import asyncpg

from processor.errors import SetupError
from processor.store.connection import Store
from processor.store.queries import load_queries, migrations

#: 'migrate' in ASCII: the key of the advisory lock
MIGRATION_LOCK = int.from_bytes(b"migrate", "big")


def pending_migrations(store: Store) -> list[str]:
    """Names of the migrations that this database lacks, oldest first; changes nothing."""
    return store.run(_pending)


def check_migrated(store: Store) -> None:
    """Raises `SetupError` where a migration is pending."""
    pending = pending_migrations(store)
    if pending:
        raise SetupError(f"the database {store.where} lacks {', '.join(pending)}: run `processor migrate`")


def migrate(store: Store) -> list[str]:
    """Runs what is pending and returns its names.

    Raises `SetupError` where existing rows break the unique key (model_run_id, trial_id), naming them; then nothing
    at all has changed.
    """
    return store.run(lambda connection: _migrate(connection, store.where))


async def _pending(connection: asyncpg.Connection) -> list[str]:
    done: set[str] = set()
    if await connection.fetchval("select to_regclass('processor_migrations')") is not None:
        done = {row[0] for row in await connection.fetch("select name from processor_migrations")}
    return [name for name, _ in migrations() if name not in done]


async def _migrate(connection: asyncpg.Connection, where: str) -> list[str]:
    async with connection.transaction():
        # an index on a large table takes its time, and another replica may be building it just now
        await connection.execute("set local statement_timeout = 0; set local lock_timeout = 0")
        await connection.execute("select pg_advisory_xact_lock($1::bigint)", MIGRATION_LOCK)
        pending = await _pending(connection)
        if not pending:
            return []
        await connection.execute(
            "create table if not exists processor_migrations "
            "(name text primary key, applied_at timestamptz not null default now())"
        )
        for name, sql in migrations():
            if name in pending:
                if name == "0002_order_and_revision":
                    await _refuse_duplicates(connection, where)
                await connection.execute(sql)
                await connection.execute("insert into processor_migrations (name) values ($1)", name)
        return pending


async def _refuse_duplicates(connection: asyncpg.Connection, where: str) -> None:
    rows = await connection.fetch(load_queries()["duplicate_trials"])
    if not rows:
        return
    named = "; ".join(f"run {row['run_id']} trial {row['trial_id']} ({row['rows']} rows)" for row in rows)
    more = f" and {rows[0]['groups'] - len(rows)} more" if rows[0]["groups"] > len(rows) else ""
    raise SetupError(
        f"the database {where} holds trials more than once, where one row a trial is needed; nothing was changed. "
        f"Keep one row of each and run `processor migrate` again: {named}{more}"
    )
