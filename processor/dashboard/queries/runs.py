"""Pages of runs with what their trials came to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from processor.core.text import storable
from processor.store.pool import Pool

PAGE, MOST = 50, 200


class RunCounts(msgspec.Struct, frozen=True):
    """Trials of a run by status and arm; when the first and the last of them were first seen."""

    trials: int
    by_status: dict[str, int]
    with_spectral_norm: int
    first_at: datetime | None
    last_at: datetime | None
    duration_ms: int


class RunPage(msgspec.Struct, frozen=True):
    """Runs with their counts, the newest first, and the place behind which the next page starts (inserted_at, id)."""

    runs: tuple[dict[str, Any], ...]
    counts: tuple[RunCounts, ...]
    next: tuple[datetime, str] | None


async def run_page(
    pool: Pool, behind: tuple[datetime, str] | None = None, limit: int = PAGE, search: str | None = None
) -> RunPage:
    """At most `limit` runs (200 at the most), those alone whose id holds `search`; what can be in no id finds none."""
    limit = max(1, min(limit, MOST))
    found = await pool.fetch("run_page", *(behind or (None, None)), limit + 1, storable(search))
    runs = found[:limit]
    counts = await run_counts(pool, [run["id"] for run in runs])
    last = (runs[-1]["inserted_at"], runs[-1]["id"]) if len(found) > limit else None
    return RunPage(tuple(runs), tuple(counts), last)


async def run_counts(pool: Pool, ids: Sequence[str]) -> list[RunCounts]:
    """Of each run, in the order given."""
    groups: dict[str, list[dict[str, Any]]] = {one: [] for one in ids}
    for row in await pool.fetch("run_counts", list(ids)):
        groups[row["id"]].append(row)
    times = {row["id"]: (row["first_at"], row["last_at"]) for row in await pool.fetch("run_times", list(ids))}
    return [_counts(groups[one], *times.get(one, (None, None))) for one in ids]


def _counts(rows: list[dict[str, Any]], first_at: datetime | None, last_at: datetime | None) -> RunCounts:
    by_status: dict[str, int] = {}
    for row in rows:
        by_status[row["status"]] = by_status.get(row["status"], 0) + row["trials"]
    return RunCounts(
        trials=sum(row["trials"] for row in rows),
        by_status=by_status,
        with_spectral_norm=sum(row["trials"] for row in rows if row["spectral_norm"]),
        first_at=first_at,
        last_at=last_at,
        duration_ms=int(sum(row["duration_ms"] for row in rows)),
    )
