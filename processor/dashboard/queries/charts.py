"""What charts are drawn from: few rows, however many trials there are.

What a mean or a share is made of is counted over all trials; what is drawn one by one is a sample that stays the same
from look to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.assembling import Assembly, Scope, fetch, number_at, value_sql
from processor.store.pool import Pool

#: trials that are read one by one: quantiles of so many lie within a hundredth of those of all
SAMPLE = 5000
#: spans of time in which failures are counted
SPANS = 24


class Best(msgspec.Struct, frozen=True):
    """The best of an arm's first `place` trials, which took `cost_ms` together; the trial is the one at that place.

    `best` is None before the first finite value. `last` is the arm's last trial, whether it was better or not.
    """

    arm: bool
    place: int
    at: datetime
    cost_ms: float
    best: float | None
    run_id: str
    trial_id: str
    last: bool


class Sampled(msgspec.Struct, frozen=True):
    """One trial: its metric (None: none, or it did not succeed; NaN: not finite), and values of some parameters."""

    run_id: str
    trial_id: str
    status: str
    arm: bool
    value: float | None
    parameters: tuple[Any, ...]


class Endings(msgspec.Struct, frozen=True):
    """Trials of an arm that were first seen in a span of time; `ended` succeeded or failed."""

    at: datetime
    arm: bool
    trials: int
    ended: int
    failed: int


class Errors(msgspec.Struct, frozen=True):
    error_type: str | None
    trials: int
    with_spectral_norm: int


async def best_so_far(pool: Pool, scope: Scope, metric: Path, *, higher: bool) -> list[Best]:
    """By arm and place; at most some 800 rows."""
    assembly = Assembly("chart_best", scope)
    assembly.put("value", number_at(assembly, metric), "null::float8")
    for _ in range(2):
        assembly.put("extreme", "max" if higher else "min", "max")
    return [Best(**row) for row in await fetch(pool, assembly.query())]


async def sample_trials(
    pool: Pool, scope: Scope, metric: Path, parameters: Sequence[Path], limit: int = SAMPLE
) -> list[Sampled]:
    """At most `limit` trials in the order of time."""
    assembly = Assembly("chart_sample", scope)
    assembly.put("limit", assembly.given(limit, "integer"), "1")
    assembly.put("value", number_at(assembly, metric), "null::float8")
    values = ", ".join(_value(assembly, path) for path in parameters)
    assembly.put("parameters", f"jsonb_build_array({values})", "'[]'::jsonb")
    return [Sampled(**{**row, "parameters": tuple(row["parameters"])}) for row in await fetch(pool, assembly.query())]


async def endings(pool: Pool, scope: Scope) -> list[Endings]:
    """By time and arm, in at most `SPANS` + 1 spans."""
    ((first, last),) = [tuple(row.values()) for row in await fetch(pool, Assembly("chart_span", scope).query())]
    if first is None:
        return []
    seconds = max(1, -(-(last - first) // timedelta(seconds=SPANS)))
    assembly = Assembly("chart_endings", scope)
    assembly.put("seconds", assembly.given(seconds, "integer"), "1")
    assembly.put("origin", assembly.given(first, "timestamptz"), "timestamptz 'epoch'")
    return [Endings(**row) for row in await fetch(pool, assembly.query())]


async def errors(pool: Pool, scope: Scope) -> list[Errors]:
    """The twelve most frequent."""
    return [Errors(**row) for row in await fetch(pool, Assembly("chart_errors", scope).query())]


def _value(assembly: Assembly, path: Path) -> str:
    return f"to_jsonb({COLUMNS[path.place].sql})" if path.place in COLUMNS else value_sql(assembly, path)
