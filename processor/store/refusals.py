"""What `processor migrate` looks at before it changes anything."""

from __future__ import annotations

import asyncpg

from processor.core.errors import SetupError
from processor.store.queries import load_queries
from processor.store.steps import PATIENCE_SECONDS


async def check_encoding(connection: asyncpg.Connection, where: str) -> None:
    """Raises `SetupError` for a database that can't hold every report's text: each such report would be rejected."""
    encoding = await connection.fetchval(load_queries()["database_encoding"])
    if encoding != "UTF8":
        raise SetupError(
            f"the database {where} stores text as {encoding}, which can't hold every report; nothing was changed. "
            "Use one that was created with encoding 'UTF8' (`create database NAME encoding 'UTF8' template template0`)"
        )


async def refuse_duplicates(connection: asyncpg.Connection, where: str) -> None:
    """Raises `SetupError` where rows break the unique keys, naming some of them."""
    queries = load_queries()
    held = await connection.fetchrow(queries["tables_held"])
    wanted = [name for name, there in (("duplicate_runs", held["runs"]), ("duplicate_trials", held["trials"])) if there]
    found = [await connection.fetch(queries[name], timeout=PATIENCE_SECONDS) for name in wanted]
    rows = [row for some in found for row in some][:10]
    if not rows:
        return
    named = "; ".join(
        f"run {row['run_id']}" + (f" trial {row['trial_id']}" if row["trial_id"] else "") + f" ({row['rows']} rows)"
        for row in rows
    )
    groups = sum(some[0]["groups"] for some in found if some)
    more = f"; and {groups - len(rows)} more" if groups > len(rows) else ""
    raise SetupError(
        f"the database {where} holds runs or trials more than once, where one row of each is needed; nothing was "
        f"changed. Keep one row of each and run `processor migrate` again: {named}{more}"
    )


async def refuse_odd_tables(connection: asyncpg.Connection, where: str) -> None:
    """Without this look every report would end as a dead letter: an insert breaks a constraint, as bad values do."""
    queries = load_queries()
    names = [row["name"] for row in await connection.fetch(queries["unknown_required_columns"])]
    if names:
        raise SetupError(
            f"the database {where} demands a value that no report has, so no row could be written; nothing was "
            f"changed. Give a default to, or allow null in, {', '.join(names)}"
        )
    kind = await connection.fetchval(queries["warnings_type"])
    if kind is not None:
        raise SetupError(
            f"the database {where} has {kind} in cerebros_model_trials.warnings, where reports have a list of texts; "
            "nothing was changed. Make it text[]"
        )
