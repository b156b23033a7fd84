"""What charts are drawn from: few rows, however many trials there are.

What a mean or a share is made of is counted over all trials; what is drawn one by one is a sample that stays the same
from look to look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.assembling import Assembly, Scope, fetch, number_at, text_sql, value_sql
from processor.dashboard.queries.columns import SHARED, Packing, known_runs, read_columns
from processor.dashboard.statistics import lines
from processor.dashboard.statistics.lines import Mark, Trials, least
from processor.store.pool import Pool

#: trials that are read one by one: quantiles of so many lie within a hundredth of those of all
SAMPLE = 5000
#: kinds of error that are told at the most, the most frequent (`chart_errors`)
ERRORS = 12
#: spans of time in which failures are counted
SPANS = 24
#: characters of a text that are drawn; what is cut ends with an ellipsis
DRAWN = 200
#: a value as a chart needs it; a number of so many digits is beyond a double, or next to none
_SHORT = (
    f"case when octet_length({{text}}) <= {4 * DRAWN} then {{value}} "
    f"when jsonb_typeof({{value}}) <> 'number' then to_jsonb(left({{text}}, {DRAWN}) || '\u2026') end"
)
#: whence Postgres counts
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
#: how a trial ended (of 3), and its arm
_CODE = (
    "((case trial.status when 'succeeded' then 0 when 'failed' then 1 else 2 end) + "
    "(case when trial.spectral_norm then 3 else 0 end))::smallint"
)


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
    """Trials of an arm that were first seen from `at` on and before `until`; `ended` succeeded or failed."""

    at: datetime
    until: datetime
    arm: bool
    trials: int
    ended: int
    failed: int


class Errors(msgspec.Struct, frozen=True):
    error_type: str | None
    trials: int
    with_spectral_norm: int


class Figures(NamedTuple):
    """What is said of all trials of a filter, for either direction.

    The best so far, by arm and place, are at most some 800 marks; how trials ended, by time and arm, is told in at most
    `SPANS` + 1 spans; of errors there are the twelve most frequent; `sample` are ids of at most `SAMPLE` trials.
    `made` tells one reading from the next.
    """

    highest: list[Best]
    lowest: list[Best]
    endings: list[Endings]
    errors: list[Errors]
    sample: list[str]
    made: float


async def read_figures(pool: Pool, scope: Scope, metric: Path | None) -> Figures:
    """All of them from two readings at once; without a metric there is no best.

    Raises `TooMany`, and `UsageError` for a metric that is no number.
    """
    made = time.monotonic()
    scope, _ = await known_runs(pool, scope)
    (trials, keys), died = await asyncio.gather(_read(pool, scope, metric, with_keys=True), _errors(pool, scope))
    marked = await asyncio.to_thread(_marked, trials, keys)
    named = await _named(pool, trials, [*marked.highest, *marked.lowest])
    highest, lowest = (_best(trials, marks, named) for marks in (marked.highest, marked.lowest))
    return Figures(highest, lowest, marked.endings, died, marked.sample, made)


class _Marked(NamedTuple):
    highest: list[Mark]
    lowest: list[Mark]
    endings: list[Endings]
    sample: list[str]


def _marked(trials: Trials, keys: Any) -> _Marked:
    highest, lowest = (lines.best_so_far(trials, higher=higher) for higher in (True, False))
    sample = [_id(trials, row) for row in least(keys, trials.id, SAMPLE).tolist()]
    spans = [Endings(_moment(one.at), _moment(one.until), *one[2:]) for one in lines.endings(trials, SPANS)]
    return _Marked(highest, lowest, spans, sample)


async def best_so_far(pool: Pool, scope: Scope, metric: Path, *, higher: bool) -> list[Best]:
    """By arm and place; at most some 800 rows. Raises `TooMany`."""
    scope, _ = await known_runs(pool, scope)
    trials, _ = await _read(pool, scope, metric, with_keys=False)
    marks = await asyncio.to_thread(lines.best_so_far, trials, higher=higher)
    return _best(trials, marks, await _named(pool, trials, marks))


async def _read(pool: Pool, scope: Scope, metric: Path | None, *, with_keys: bool) -> tuple[Trials, Any]:
    """All trials; with the keys by which a sample is chosen, where it is asked for."""
    assembly = Assembly("packed_columns", scope)
    number = "null" if metric is None else number_at(assembly, metric)
    value = f"case when trial.status = 'succeeded' then {number}::float8 end"
    packed = {
        "id": Packing("trial.id", "uuid"),
        "taken_at": Packing("trial.inserted_at", "time"),
        "code": Packing(_CODE, "smallint"),
        "duration_ms": Packing("coalesce(trial.duration_ms, 0)", "bigint"),
        "value": Packing(f"coalesce({value}, 'NaN')", "double"),
    }
    if with_keys:
        packed["key"] = Packing("uuid_hash_extended(trial.id, 0)", "bigint")
    found = (await read_columns(pool, assembly, packed)).arrays
    code = found["code"]
    trials = Trials(found["id"], found["taken_at"], code >= 3, code % 3, found["duration_ms"], found["value"])
    return trials, found.get("key")


async def _named(pool: Pool, trials: Trials, marks: Sequence[Mark]) -> dict[str, dict[str, Any]]:
    ids = {_id(trials, mark.row) for mark in marks}
    return {row["id"]: row for row in await pool.fetch("trial_names", sorted(ids))}


def _id(trials: Trials, row: int) -> str:
    return str(UUID(bytes=trials.id[row].tobytes()))


def _best(trials: Trials, marks: Sequence[Mark], named: Mapping[str, Mapping[str, Any]]) -> list[Best]:
    """Without trials that were deleted since they were read."""
    return [
        Best(
            mark.arm, mark.place, _moment(int(trials.at[mark.row])), mark.cost_ms, mark.best,
            name["run_id"], name["trial_id"], mark.last,
        )
        for mark in marks
        if (name := named.get(_id(trials, mark.row))) is not None
    ]  # fmt: skip


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


async def sampled_trials(
    pool: Pool, ids: Sequence[str], metric: Path | None, parameters: Sequence[Path]
) -> list[Sampled]:
    """These trials in the order of time."""
    assembly = Assembly("chart_sample", Scope())
    assembly.put("ids", assembly.given(list(ids), "text[]"), "null::text[]")
    if metric is not None:
        assembly.put("value", number_at(assembly, metric), "null::float8")
    values = ", ".join(_value(assembly, path) for path in parameters)
    assembly.put("parameters", f"jsonb_build_array({values})", "'[]'::jsonb")
    return [Sampled(**{**row, "parameters": tuple(row["parameters"])}) for row in await fetch(pool, assembly.query())]


async def _errors(pool: Pool, scope: Scope) -> list[Errors]:
    return [Errors(**row) for row in await fetch(pool, Assembly("chart_errors", scope).query(), settings=SHARED)]


def _value(assembly: Assembly, path: Path) -> str:
    """A jsonb of no more than some hundred bytes: five thousand are read, and one may hold a megabyte."""
    if path.place in COLUMNS:
        return f"to_jsonb({COLUMNS[path.place].sql})"
    return _SHORT.replace("{value}", value_sql(assembly, path)).replace("{text}", text_sql(assembly, path))
