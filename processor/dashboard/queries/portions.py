"""Trials by their ids, as many at once as memory holds: a report may be a megabyte, and a page has five hundred."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from processor.core.numbers import read_stored
from processor.dashboard.queries.pool import queries
from processor.store.pool import Pool

#: characters of texts that a portion holds, and by how much the last of its rows goes beyond: as Python's values they
#: take five times as much
PORTION = 4 * 2**20
#: rows that Postgres sends at once, at first and at the most: so many may lie beyond the portion, and are dropped
FIRST, MOST = 8, 32
#: texts that are read as values between two looks of the event loop at others: some milliseconds
BREATH = 2**18
JSON = ("metrics", "parameters")


class Portion(NamedTuple):
    """Rows in the order of their ids, and the ids behind the last of them, which another portion begins with."""

    rows: list[dict[str, Any]]
    rest: list[str]


async def read_portion(pool: Pool, name: str, ids: Sequence[str]) -> Portion:
    """Rows of a named query of ids that has metrics and parameters as text: at least one, where there is one.

    Trials that were deleted meanwhile are not among them. Raises what `Pool` raises.
    """

    async def work(connection: Any) -> tuple[list[dict[str, Any]], bool]:
        found: list[dict[str, Any]] = []
        size, ahead = 0, FIRST
        async with connection.transaction(readonly=True):
            cursor = await connection.cursor(queries()[name], ids)
            while rows := await cursor.fetch(ahead):
                for row in rows:
                    found.append(dict(row))
                    size += _weight(found[-1])
                    if size >= PORTION:
                        return found, True
                ahead = min(2 * ahead, MOST)
        return found, False

    rows, full = await pool.run(work)
    await _read_json(rows)
    return Portion(rows, list(ids[ids.index(rows[-1]["id"]) + 1 :]) if full else [])


def _weight(row: dict[str, Any]) -> int:
    texts = (value if isinstance(value, list) else (value,) for value in row.values())
    return sum(len(text) for several in texts for text in several if isinstance(text, str))


async def _read_json(rows: Sequence[dict[str, Any]]) -> None:
    size = 0
    for row in rows:
        for name in JSON:
            size += len(row[name])
            row[name] = read_stored(row[name].encode())
        if size >= BREATH:
            size = 0
            await asyncio.sleep(0)
