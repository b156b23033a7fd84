"""`processor migrate`: plain SQL files, in order, each once; all pending ones in one transaction with a lock.

Safe to repeat and to run from several replicas at once: the second waits for the first and finds nothing to do.
"""

from __future__ import annotations

import asyncpg

from processor.core.errors import SetupError
from processor.store.errors import ReportError
from processor.store.queries import load_queries, migrations
from processor.store.session import Session

#: 'migrate' in ASCII: the key of the advisory lock
MIGRATION_LOCK = int.from_bytes(b"migrate", "big")
#: an index on a large table takes its time, and another replica may be building it just now
PATIENCE_SECONDS = 24 * 3600.0


def pending_migrations(store: Session) -> list[str]:
    """Names of the migrations that this database lacks, oldest first; changes nothing."""
    return store.run(_pending)


def check_migrated(store: Session) -> None:
    """Raises `SetupError` where a migration is pending."""
    pending = pending_migrations(store)
    if pending:
        raise SetupError(f"the database {store.where} lacks {', '.join(pending)}: run `processor migrate`")


def migrate(store: Session) -> list[str]:
    """Runs what is pending and returns its names.

    Raises `SetupError` where existing rows break a unique key, naming them, and where an existing table could not be
    written; then nothing at all has changed.
    """
    try:
        return store.run(lambda connection: _migrate(connection, store.where), timeout_s=PATIENCE_SECONDS)
    except ReportError as error:  # rows that came after the look at them, or a constraint nobody thought of
        raise SetupError(f"the database {store.where} refuses a migration; nothing was changed: {error}") from None


async def _pending(connection: asyncpg.Connection) -> list[str]:
    done: set[str] = set()
    if await connection.fetchval("select to_regclass('processor_migrations')") is not None:
        done = {row[0] for row in await connection.fetch("select name from processor_migrations")}
    return [name for name, _ in migrations() if name not in done]


async def _migrate(connection: asyncpg.Connection, where: str) -> list[str]:
    async def execute(statement: str, *args: object) -> None:
        await connection.execute(statement, *args, timeout=PATIENCE_SECONDS)

    async with connection.transaction():
        await execute("set local statement_timeout = 0; set local lock_timeout = 0")
        await execute("select pg_advisory_xact_lock($1::bigint)", MIGRATION_LOCK)
        pending = await _pending(connection)
        if not pending:
            return []
        await execute(
            "create table if not exists processor_migrations "
            "(name text primary key, applied_at timestamptz not null default now())"
        )
        for name, sql in migrations():
            if name in pending:
                if name == "0002_order_and_revision":
                    await _refuse_duplicates(connection, where)
                await execute(sql)
                await execute("insert into processor_migrations (name) values ($1)", name)
        await _refuse_unknown_columns(connection, where)
        return pending


async def _refuse_duplicates(connection: asyncpg.Connection, where: str) -> None:
    rows = await connection.fetch(load_queries()["duplicate_rows"], timeout=PATIENCE_SECONDS)
    if not rows:
        return
    named = "; ".join(
        f"run {row['run_id']}" + (f" trial {row['trial_id']}" if row["trial_id"] else "") + f" ({row['rows']} rows)"
        for row in rows
    )
    more = f"; and {rows[0]['groups'] - len(rows)} more" if rows[0]["groups"] > len(rows) else ""
    raise SetupError(
        f"the database {where} holds runs or trials more than once, where one row of each is needed; nothing was "
        f"changed. Keep one row of each and run `processor migrate` again: {named}{more}"
    )


async def _refuse_unknown_columns(connection: asyncpg.Connection, where: str) -> None:
    """Without this look every report would end as a dead letter: an insert breaks a constraint, as bad values do."""
    names = [row["name"] for row in await connection.fetch(load_queries()["unknown_required_columns"])]
    if names:
        raise SetupError(
            f"the database {where} demands a value that no report has, so no row could be written; nothing was "
            f"changed. Give a default to, or allow null in, {', '.join(names)}"
        )
