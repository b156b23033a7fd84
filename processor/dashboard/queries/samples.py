"""The trials of a filter as a sample of two or more arms: what comparisons are made from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from processor.core.errors import UsageError
from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.assembling import Assembly, Scope, fetch, number_at, value_sql
from processor.dashboard.queries.columns import Choice, Columns, Packing, known_runs, read_columns
from processor.dashboard.queries.trials import trials_at_most
from processor.dashboard.statistics.sample import BEYOND, MOST_LEVELS, Integers, Parameter, Sample
from processor.store.pool import Pool

#: other parameters whose balance is looked at
MOST_PARAMETERS = 12
#: where a filter holds twice as many trials, parameters are read of a sample, at least so many: they are what takes
#: long, and tell how alike the arms are, for which that is enough (a standardised difference of 0.1 is fifteen times
#: what chance makes of them). The sample is read once more where a filter turned out to hold few of it
PARAMETER_TRIALS, FEWEST_OF_THEM = 100_000, 50_000
#: parts in which the share of a sample is told
_PARTS = 65_536
#: characters of a value by which an arm is told from another
LEVEL = 200
#: seconds from 1970 to 2000: Postgres counts from there
POSTGRES_EPOCH = 946_684_800
#: in the place of a name: the run was deleted between two questions
GONE = "a run that is no longer there"
#: how a trial ended (of 3), whether its arm is a column's default (of 2) and its arm, in one number
_CODE = (
    "((case trial.status when 'succeeded' then 0 when 'failed' then 1 else 2 end) + "
    f"(case when {COLUMNS['spectral_norm_reported'].sql} then 0 else 3 end) + 6 * {{arm}})::smallint"
)


async def read_sample(
    pool: Pool, scope: Scope, arm: Path, metric: Path, parameters: Sequence[tuple[str, Path, bool]] = ()
) -> Sample:
    """The trials of a filter by the values of `arm`, with the values of `metric`.

    `parameters` are (name, path, numeric): others, for balance and strata, at most 12; of 200,000 trials and more they
    are read of a sample. Raises `TooMany` where the filter holds 2,000,000 trials or more, `UsageError` for more
    parameters and for what is no number.
    """
    if len(parameters) > MOST_PARAMETERS:
        raise UsageError(f"at most {MOST_PARAMETERS} other parameters are looked at, not {len(parameters)}")
    scope, runs = await known_runs(pool, scope)
    levels = await _levels(pool, scope, arm)
    at_most = await trials_at_most(pool, scope)

    async def read(of: int) -> Columns:
        assembly = Assembly("packed_columns", scope)
        packed = _packed(assembly, arm, levels, metric)
        if len(runs) != 1:
            packed["run"] = Packing("uuid_hash_extended(trial.model_run_id, 0)", "bigint")
        others = _others(assembly, parameters)
        sampled = _sampled(assembly, of) if others else None
        if sampled is None:
            return await read_columns(pool, assembly, packed | others)
        return await read_columns(pool, assembly, packed, Choice(sampled, others))

    found = await read(at_most)
    if int(found.chosen.sum()) < min(FEWEST_OF_THEM, found.trials):
        found = await read(found.trials)
    run = np.zeros(found.trials, dtype=np.int64)
    if len(runs) != 1:
        hashes, run = await asyncio.to_thread(_compact, found.arrays["run"])
        names = {each["code"]: each["run_id"] for each in await pool.fetch("runs_by_hash", hashes.tolist())}
        runs = [names.get(code, GONE) for code in hashes.tolist()]
    others = [(name, numeric) for name, _, numeric in parameters]
    return await asyncio.to_thread(_sample, found, levels, runs, run, others, arm.place == "spectral_norm")


async def _levels(pool: Pool, scope: Scope, arm: Path) -> list[str]:
    """The arms, the largest first; those of a boolean column are known."""
    if arm.place == "spectral_norm":
        return ["false", "true"]
    assembly = Assembly("arm_levels", scope)
    assembly.put("arm", _level(assembly, arm), "null::text")
    assembly.put("most", assembly.given(MOST_LEVELS, "integer"), "1")
    return [row["level"] for row in await fetch(pool, assembly.query())]


def _level(assembly: Assembly, path: Path) -> str:
    """A value as text, whatever it is; null where it is missing, or nested and so no choice."""
    if path.place in COLUMNS:
        return f"{COLUMNS[path.place].sql}::text"
    value = value_sql(assembly, path)
    text = f"{value} #>> array[]::text[]"
    # 32 and 32.0 are one number
    plain = f"trim_scale(({text})::numeric)::text"
    return (
        f"case jsonb_typeof({value}) when 'number' then left({plain}, {LEVEL}) "
        f"when 'string' then left({text}, {LEVEL}) when 'boolean' then {text} end"
    )


def _packed(assembly: Assembly, arm: Path, levels: list[str], metric: Path) -> dict[str, Packing]:
    if arm.place == "spectral_norm":
        place = "(case when trial.spectral_norm then 2 else 1 end)"
    else:
        level, rare = _level(assembly, arm), len(levels) + 1
        place = f"array_position({assembly.given(levels, 'text[]')}, {level})"
        place = f"coalesce({place}, case when {level} is null then 0 else {rare} end)"
    return {
        "code": Packing(_CODE.replace("{arm}", place), "smallint"),
        "taken_at": Packing("trial.inserted_at", "time"),
        "value": Packing(f"coalesce({number_at(assembly, metric)}, '-Infinity')", "double"),
    }


def _others(assembly: Assembly, parameters: Sequence[tuple[str, Path, bool]]) -> dict[str, Packing]:
    packed = {}
    for at, (_, path, numeric) in enumerate(parameters):
        if numeric:
            packed[f"parameter_{at}"] = Packing(f"coalesce({number_at(assembly, path)}, 'NaN')", "double")
        else:
            level = _level(assembly, path)
            packed[f"parameter_{at}"] = Packing(f"coalesce(hashtextextended({level}, 0), 0)", "bigint")
    return packed


def _sampled(assembly: Assembly, of: int) -> str | None:
    """Whether a trial is in a half, a quarter and so on of so many, as long as enough are left; None: all are.

    Halves, so that it is the same sample until there are twice as many trials.
    """
    halvings = (of // PARAMETER_TRIALS).bit_length() - 1
    if halvings < 1:
        return None
    return f"(uuid_hash_extended(trial.id, 1) & {_PARTS - 1}) < {assembly.given(_PARTS >> halvings, 'bigint')}"


def _sample(
    found: Columns, levels: list[str], runs: list[str], run: Integers, parameters: list[tuple[str, bool]], told: bool
) -> Sample:
    """`told`: the arm is a column, whose default stands where a report did not say."""
    code, value = found.arrays["code"], found.arrays["value"]
    arm = code // 6 - 1
    arm[arm == len(levels)] = BEYOND
    others = []
    for at, (name, numeric) in enumerate(parameters):
        values = found.arrays[f"parameter_{at}"]
        if numeric:
            others.append(Parameter(name, numbers=values))
        else:
            others.append(Parameter(name, levels=np.where(values == 0, -1, _compact(values)[1])))
    return Sample(
        arms=levels,
        runs=runs,
        arm=arm,
        run=run,
        value=value,
        # a number that is not finite comes as NaN; minus infinity stands for "no number there"
        has_value=value != -np.inf,
        ending=code % 3,
        order=found.arrays["taken_at"] / 1e6 + POSTGRES_EPOCH,
        defaulted=code // 3 % 2 == 1 if told else np.zeros(found.trials, dtype=bool),
        parameters=others,
        looked=None if found.chosen.all() else found.chosen,
    )


def _compact(codes: Integers) -> tuple[Integers, Integers]:
    """The different codes, and the place of each in them."""
    found, places = np.unique(codes, return_inverse=True)
    return found, places.astype(np.int64)
