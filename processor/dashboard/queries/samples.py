"""All values of a filter as arrays: what comparisons and charts are made from.

Columns come packed, the binary form of their values one after the other, so that a million trials are one row and a few
arrays, and no Python value is made for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from processor.core.errors import UsageError
from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.assembling import Assembly, Scope, fetch, number_at, value_sql
from processor.dashboard.queries.trials import count_trials
from processor.dashboard.statistics.sample import Integers, Parameter, Sample
from processor.store.pool import Pool

#: trials that are read into memory for one page: about 100 bytes each
MOST_TRIALS = 2_000_000
#: other parameters whose balance is looked at
MOST_PARAMETERS = 12
#: characters of a value by which an arm is told from another
LEVEL = 200
#: seconds from 1970 to 2000: Postgres counts from there
POSTGRES_EPOCH = 946_684_800
#: in the place of a name: the run was deleted between two questions
GONE = "a run that is no longer there"


async def read_sample(
    pool: Pool, scope: Scope, arm: Path, metric: Path, parameters: Sequence[tuple[str, Path, bool]] = ()
) -> Sample:
    """The trials of a filter by the values of `arm`, with the values of `metric`.

    `parameters` are (name, path, numeric): others, for balance and strata, at most 12. Raises `UsageError` where the
    filter holds 2,000,000 trials or more: a part of them would not stand for the rest.
    """
    if len(parameters) > MOST_PARAMETERS:
        raise UsageError(f"at most {MOST_PARAMETERS} other parameters are looked at, not {len(parameters)}")
    if (await count_trials(pool, scope, MOST_TRIALS)).count >= MOST_TRIALS:
        raise UsageError(f"the filter holds {MOST_TRIALS:,} trials or more: narrow it, by a run or by time")
    levels = await _levels(pool, scope, arm)
    assembly = Assembly("packed_values", scope)
    assembly.put("columns", "".join(_columns(assembly, arm, levels, metric, parameters)), "")
    (row,) = await fetch(pool, assembly.query())
    hashes, run = _compact(_array(row["run"], ">i8"))
    found = {each["code"]: each["run_id"] for each in await pool.fetch("runs_by_hash", hashes.tolist())}
    runs = [found.get(code, GONE) for code in hashes.tolist()]
    return _sample(row, levels, runs, run, [(name, numeric) for name, _, numeric in parameters], arm)


async def _levels(pool: Pool, scope: Scope, arm: Path) -> list[str]:
    """The arms, the largest first; those of a boolean column are known."""
    if arm.place == "spectral_norm":
        return ["false", "true"]
    assembly = Assembly("arm_levels", scope)
    assembly.put("arm", _level(assembly, arm), "null::text")
    return [row["level"] for row in await fetch(pool, assembly.query())]


def _level(assembly: Assembly, path: Path) -> str:
    """A value as text, whatever it is; null where it is missing, or nested and so no choice."""
    if path.place in COLUMNS:
        return f"{COLUMNS[path.place].sql}::text"
    value = value_sql(assembly, path)
    simple = f"jsonb_typeof({value}) in ('string', 'number', 'boolean')"
    return f"case when {simple} then left({value} #>> array[]::text[], {LEVEL}) end"


def _columns(
    assembly: Assembly, arm: Path, levels: list[str], metric: Path, parameters: Sequence[tuple[str, Path, bool]]
) -> list[str]:
    code = f"array_position({assembly.given(levels, 'text[]')}, {_level(assembly, arm)})"
    columns = [
        f", string_agg(int4send(coalesce({code}, 0) - 1), '') as arm",
        f", string_agg(float8send(coalesce({number_at(assembly, metric)}, '-Infinity')), '') as value",
    ]
    for place, (_, path, numeric) in enumerate(parameters):
        if numeric:
            sent = f"float8send(coalesce({number_at(assembly, path)}, 'NaN'))"
        else:
            sent = f"int8send(coalesce(hashtextextended({_level(assembly, path)}, 0), 0))"
        columns.append(f", string_agg({sent}, '') as parameter_{place}")
    return columns


def _array(packed: bytes | None, kind: str) -> Any:
    """Columns in network order, as arrays of this machine; without trials there is nothing packed."""
    found = np.frombuffer(packed or b"", dtype=kind)
    return found.astype(found.dtype.newbyteorder("="))


def _sample(
    row: dict[str, Any],
    levels: list[str],
    runs: list[str],
    run: Integers,
    parameters: list[tuple[str, bool]],
    arm: Path,
) -> Sample:
    value = _array(row["value"], ">f8")
    count = row["count"]
    defaulted = _array(row["defaulted"], "?") if arm.place == "spectral_norm" else np.zeros(count, dtype=bool)
    others = []
    for place, (name, numeric) in enumerate(parameters):
        packed = row[f"parameter_{place}"]
        if numeric:
            others.append(Parameter(name, numbers=_array(packed, ">f8")))
        else:
            hashes = _array(packed, ">i8")
            others.append(Parameter(name, levels=np.where(hashes == 0, -1, _compact(hashes)[1])))
    return Sample(
        arms=levels,
        runs=runs,
        arm=_array(row["arm"], ">i4").astype(np.int64),
        run=run,
        value=value,
        # a number that is not finite comes as NaN; minus infinity stands for "no number there"
        has_value=value != -np.inf,
        ending=_array(row["ending"], ">i2").astype(np.int64),
        order=_array(row["order"], ">i8") / 1e6 + POSTGRES_EPOCH,
        defaulted=defaulted,
        parameters=others,
    )


def _compact(codes: Integers) -> tuple[Integers, Integers]:
    """The different codes, and the place of each in them."""
    found, places = np.unique(codes, return_inverse=True)
    return found, places.astype(np.int64)
