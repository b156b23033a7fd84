"""`warm_start`: trials of earlier runs become trials of a study, so that its sampler does not begin at nothing."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from cerebros_client.optuna.attributes import ORIGIN
from cerebros_client.optuna.describing import INTERMEDIATE, STEPS, value_names
from cerebros_client.optuna.rows import as_rows, moment, opened, read_rows

log = logging.getLogger(__name__)

__all__ = ["Warmed", "read_rows", "warm_start"]

_STATES = {
    "succeeded": TrialState.COMPLETE,
    "skipped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "cancelled": TrialState.FAIL,
}
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # as the database holds them


class Warmed(NamedTuple):
    """What became of the rows: added, known from an earlier call, and how many were dropped for which reason."""

    added: int
    known: int
    dropped: dict[str, int]


class _UnusableError(Exception):
    """This row makes no trial; the text is the reason, the same for all rows of its kind."""


def warm_start(
    study: Study,
    rows: Iterable[Mapping[str, Any]] | str | Path,
    *,
    distributions: Mapping[str, BaseDistribution] | None = None,
    metrics: Sequence[str] | None = None,
) -> Warmed:
    """Adds a finished trial to the study for each row; a row that has been added before is not added again.

    `rows`: mappings with run_id, trial_id, status, metrics and parameters, as a database driver, a table of pandas or
    `read_rows` gives them; or the path of such a file. What `cerebros_client.optuna` reported has its distributions
    in the row. Other rows need `distributions`, of the parameters to be taken over, and `metrics`, the names of the
    metrics that are the objective's values; parameters without a distribution are left out.

    A row whose directions are others, or whose value lies outside its distribution, is dropped, with a count and a log
    line. Raises what the storage raises, `ValueError` for a file that can't be read.
    """
    names = list(metrics or value_names(study))
    if len(names) != len(study.directions):
        raise ValueError(f"metrics: {len(names)} names for {len(study.directions)} objective value(s)")
    present = _present(study)
    added: list[FrozenTrial] = []
    known, dropped = 0, Counter[str]()
    for row in as_rows(rows):
        try:
            trial = _restore(opened(row), study, names, distributions or {})
        except (_UnusableError, ValueError, TypeError) as error:
            dropped[str(error) if isinstance(error, _UnusableError) else f"refused: {error}"[:200]] += 1
            continue
        if trial.user_attrs[ORIGIN] in present:
            known += 1
        else:
            present.add(trial.user_attrs[ORIGIN])
            added.append(trial)
    study.add_trials(added)
    for reason, count in dropped.items():
        log.warning("%s: %d row(s) dropped: %s", study.study_name, count, reason)
    return Warmed(len(added), known, dict(dropped))


def _present(study: Study) -> set[str]:
    """Origins of what was added before, and the study's own trials: rows of its own are no news."""
    return {
        trial.user_attrs.get(ORIGIN) or f"{study.study_name}/{trial.number}"
        for trial in study.get_trials(deepcopy=False)
    }


def _restore(
    row: Mapping[str, Any], study: Study, names: list[str], given: Mapping[str, BaseDistribution]
) -> FrozenTrial:
    told = row.get("optuna") or {}
    directions = [direction.name.lower() for direction in study.directions]
    if told.get("directions", directions) != directions:
        raise _UnusableError(f"its directions are {told['directions']}")
    state = _STATES.get(str(row.get("status")))
    if state is None:
        raise _UnusableError(f"its status is {row.get('status')!r:.40}")
    metrics = row.get("metrics") or {}
    values = _values(metrics, names)
    if state == TrialState.COMPLETE and values is None:
        raise _UnusableError(f"no number in its metrics as {', '.join(names)}")
    if values and any(math.isnan(value) for value in values):
        state = TrialState.FAIL  # as Optuna has it: a NaN is no value
    params, used = _parameters(row.get("parameters") or {}, told.get("distributions") or {}, given)
    trial = create_trial(
        state=state,
        values=values if state == TrialState.COMPLETE or (state == TrialState.PRUNED and values) else None,
        params=params,
        distributions=used,
        user_attrs={ORIGIN: f"{row.get('run_id') or row.get('model_run_id')}/{row.get('trial_id')}"},
        intermediate_values=_intermediate(metrics),
    )
    trial.datetime_start, trial.datetime_complete = _times(row, told)
    return trial


def _values(metrics: Mapping[str, Any], names: list[str]) -> list[float] | None:
    found = [_number(metrics.get(name)) for name in names]
    return [value for value in found if value is not None] if None not in found else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _NUMBERS.get(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _parameters(
    values: Mapping[str, Any], told: Mapping[str, Any], given: Mapping[str, BaseDistribution]
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Parameters that have a distribution, as this distribution has them: 64.0 is 64 for an integer."""
    used: dict[str, BaseDistribution] = {}
    for name in values:
        if name in given:
            used[name] = given[name]
        elif name in told:
            used[name] = json_to_distribution(json.dumps(told[name]))
    if values and not used:
        raise _UnusableError("no distribution is known of any of its parameters")
    return {name: _cast(name, values[name], used[name]) for name in used}, used


def _cast(name: str, value: Any, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        for choice in distribution.choices:  # 1 == True: the type tells them apart
            if type(choice) is type(value) and choice == value:
                return choice
        raise _UnusableError(f"{name} is none of its choices")
    number = _number(value)
    if number is None or math.isnan(number):
        raise _UnusableError(f"{name} is no number")
    if isinstance(distribution, IntDistribution) and not number.is_integer():
        raise _UnusableError(f"{name} is no integer")
    cast = int(number) if isinstance(distribution, IntDistribution) else number
    if isinstance(distribution, IntDistribution | FloatDistribution):
        if not distribution.low <= cast <= distribution.high:
            raise _UnusableError(f"{name} is outside {distribution.low}..{distribution.high}")
        return cast
    return value


def _intermediate(metrics: Mapping[str, Any]) -> dict[int, float]:
    steps, values = metrics.get(STEPS) or [], metrics.get(INTERMEDIATE) or []
    pairs = zip(steps, values, strict=False)
    return {int(step): number for step, value in pairs if (number := _number(value)) is not None}


def _times(row: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """Both, or Optuna would call the trial's duration nothing."""
    ended = moment(told.get("datetime_complete")) or moment(row.get("inserted_at")) or datetime.now()
    took = timedelta(milliseconds=int(float(row.get("duration_ms") or 0)))
    return moment(told.get("datetime_start")) or ended - took, ended
