"""What trials say before they end, and what runs say of themselves."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from processor.core.text import natural_order, storable
from processor.store.pool import Pool

#: as many as a chart of a curve has pixels for
COLUMNS = 400
RUNNING = 200


class Column(msgspec.Struct, frozen=True):
    """Steps that lie next to each other: their least, greatest and last finite value, None where none is finite.

    Without steps (`first_step` None) it is the one value that came without any.
    """

    first_step: int | None
    last_step: int | None
    points: int
    not_finite: int
    least: float | None
    greatest: float | None
    last: float | None
    at: datetime


class Curve(msgspec.Struct, frozen=True):
    metric: str
    columns: tuple[Column, ...]


class Curves(NamedTuple):
    """Of a trial; `left` more metrics have values by step."""

    shown: tuple[Curve, ...]
    left: int


async def trial_curves(pool: Pool, run_id: str, trial_id: str, columns: int = COLUMNS) -> Curves:
    """The curves of a trial's metrics, the first 50 by name; a column is a single step where there are few."""
    rows = await pool.fetch("trial_curves", storable(run_id), storable(trial_id), columns)
    curves = [
        Curve(metric, tuple(Column(**{name: row[name] for name in Column.__struct_fields__}) for row in part))
        for metric, part in groupby(rows, key=itemgetter("metric"))
    ]
    left = rows[0]["metrics"] - len(curves) if rows else 0
    return Curves(tuple(sorted(curves, key=lambda one: natural_order(one.metric))), left)


async def trial_progress(pool: Pool, run_id: str, trial_id: str) -> dict[str, Any] | None:
    """started_at, last_seen, spectral_norm, parameters and rest; None where the trial has said nothing."""
    rows = await pool.fetch("trial_progress", storable(run_id), storable(trial_id))
    return rows[0] if rows else None


async def running_trials(pool: Pool, run_id: str, limit: int = RUNNING) -> list[dict[str, Any]]:
    """Those that have started and not ended, last heard of first; 200 at the most. Some may have died unheard."""
    return await pool.fetch("running_trials", storable(run_id), max(1, min(limit, RUNNING)))


async def run_life(pool: Pool, run_id: str) -> dict[str, dict[str, Any]]:
    """What the run said of its start and its stop, under `start` and `stop`, each where it did."""
    return {row["kind"]: row for row in await pool.fetch("run_life", storable(run_id))}
