"""The counts that triggers keep beside the trials (migration 0009): what they miss, and counting anew.

They miss something only where triggers did not run: rows that were loaded with triggers disabled, or by replication.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from processor.store.queries import load_queries
from processor.store.session import Session
from processor.store.steps import PATIENCE_SECONDS, execute

T = TypeVar("T")
#: counts of either kind that are told one by one
MOST_TOLD = 100


def counts_missed(store: Session) -> list[dict[str, Any]]:
    """Of each count that is not what the rows come to: run_id, and in words what is counted and by how much it is off.

    At most 100 of either kind; looks at all trials once for either table, in a transaction that can't write.
    """

    async def work(connection: asyncpg.Connection) -> list[dict[str, Any]]:
        rows = await connection.fetch(load_queries()["counts_missed"], MOST_TOLD, timeout=PATIENCE_SECONDS)
        return [dict(row) for row in rows]

    return _at_leisure(store, work, readonly=True)


def recount(store: Session) -> tuple[int, int]:
    """Adds to the counts what they miss, while others write; how many counts by run and by time were not right."""

    async def work(connection: asyncpg.Connection) -> tuple[int, int]:
        await connection.execute(load_queries()["recount_alone"], timeout=PATIENCE_SECONDS)
        of_runs, of_time = [
            int((await connection.execute(load_queries()[name], timeout=PATIENCE_SECONDS)).split()[-1])
            for name in ("recount_runs", "recount_times")
        ]
        await connection.execute(load_queries()["fold_counts"])
        return of_runs, of_time

    return _at_leisure(store, work, readonly=False)


def _at_leisure(store: Session, work: Callable[[asyncpg.Connection], Awaitable[T]], *, readonly: bool) -> T:
    """A transaction that may take as long as looking at every row does."""

    async def patiently(connection: asyncpg.Connection) -> T:
        async with connection.transaction(readonly=readonly):
            await execute(connection, "set local statement_timeout = 0")
            return await work(connection)

    return store.run(patiently, timeout_s=PATIENCE_SECONDS)
