"""A finished trial of a study as a report: the same trial always gives the same report, whoever makes it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from optuna import Study
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from cerebros_client import words
from cerebros_client.optuna.attributes import ARTIFACT_URI, MLFLOW_RUN_ID, OURS, SPECTRAL_NORM, read_failure
from cerebros_client.spectral import has_spectral_norm
from cerebros_client.spectral.configurations import SWITCHES, plain
from cerebros_client.spectral.detection import said_in

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
INTERMEDIATE = "intermediate_values"
STEPS = "intermediate_steps"

# of a report of 1 MiB, what a processor takes by default: 10,000 steps are some 300 KB
MAX_STEPS = 10_000
# user attributes hold anything, predictions too; together at most this much JSON goes along
MAX_ATTRIBUTES = 128 * 1024


def describe(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Arguments of `TrialReporter.report`, all but the run.

    COMPLETE, PRUNED, FAIL are succeeded, skipped, failed; what Ctrl-C ended is cancelled. Metrics: the objective's
    values by the study's metric names, else `value` or `value_0`, `value_1`; intermediate values and their steps.
    """
    warnings: list[str] = []
    failure = read_failure(trial.user_attrs) if trial.state == TrialState.FAIL else None
    report: dict[str, Any] = {
        "trial_id": trial.number,
        "status": _status(trial, failure.error_type if failure else None),
        "metrics": _metrics(study, trial, warnings),
        "parameters": trial.params,
        "spectral_norm": _spectral_norm(trial, warnings),
        "mlflow_run_id": _mlflow_run_id(trial, warnings),
        "artifact_uri": _text(trial.user_attrs.get(ARTIFACT_URI)),
        "duration_ms": _duration_ms(trial),
    }
    if failure:
        report |= {"error_message": failure.message, "error_type": failure.error_type, "stacktrace": failure.stacktrace}
    elif trial.state == TrialState.FAIL:
        report["error_message"] = "failed in Optuna, which keeps no reason"
    report["extra"] = {"optuna": _optuna(study, trial, warnings)}
    return report | {"warnings": warnings, "at": ended_at(trial)}


_names: WeakKeyDictionary[Study, str] = WeakKeyDictionary()


def name_of(study: Study) -> str:
    """The study's name, which never changes; Optuna asks the database each time."""
    if (name := _names.get(study)) is None:
        name = _names[study] = study.study_name
    return name


def ended_at(trial: FrozenTrial) -> datetime | None:
    """When it ended, with this machine's time zone: Optuna writes local time without one."""
    return trial.datetime_complete.astimezone() if trial.datetime_complete else None


def value_names(study: Study) -> list[str]:
    """One name an objective value, as they stand in a report's metrics."""
    names = study.metric_names
    if names:
        return list(names)
    count = len(study.directions)
    return ["value"] if count == 1 else [f"value_{index}" for index in range(count)]


def _status(trial: FrozenTrial, error_type: str | None) -> str:
    if trial.state == TrialState.COMPLETE:
        return "succeeded"
    if trial.state == TrialState.PRUNED:
        return "skipped"
    return "cancelled" if error_type == "KeyboardInterrupt" else "failed"


def _spectral_norm(trial: FrozenTrial, warnings: list[str]) -> bool | None:
    """What the user attribute says (of the model), else what the parameters say (of the intention); None: neither."""
    suggested = said_in(trial.params)
    if trial.user_attrs.get(SPECTRAL_NORM) is None:
        return suggested
    had = has_spectral_norm({SPECTRAL_NORM: trial.user_attrs[SPECTRAL_NORM]})
    if had != bool(suggested) and _has_choice(trial):
        warnings.append(f"spectral_norm was suggested as {bool(suggested)}, the model says {had}")
    return had


def _mlflow_run_id(trial: FrozenTrial, warnings: list[str]) -> str | None:
    """What can't be an id is told, and costs the trial its link, not its row."""
    try:
        return words.mlflow_id(_text(trial.user_attrs.get(MLFLOW_RUN_ID)))
    except ValueError as error:
        warnings.append(f"left out: {error}")
        return None


def _has_choice(trial: FrozenTrial) -> bool:
    """Whether the trial's parameters say anything of spectral normalisation."""
    return any(plain(name) in SWITCHES for name in trial.params)


def _metrics(study: Study, trial: FrozenTrial, warnings: list[str]) -> dict[str, Any]:
    metrics: dict[str, Any] = dict(zip(value_names(study), trial.values or [], strict=False))
    if steps := sorted(trial.intermediate_values):
        if len(steps) > MAX_STEPS:
            stride = -(-len(steps) // MAX_STEPS)
            warnings.append(f"{len(steps)} intermediate values: one in {stride} is reported")
            steps = steps[::stride]
        metrics |= {INTERMEDIATE: [trial.intermediate_values[step] for step in steps], STEPS: steps}
    return metrics


def _optuna(study: Study, trial: FrozenTrial, warnings: list[str]) -> dict[str, Any]:
    """What makes the trial again in another study (`warm_start`): states, distributions, times as Optuna has them."""
    return {
        "study_name": name_of(study),
        "number": trial.number,
        "state": trial.state.name,
        "directions": [direction.name.lower() for direction in study.directions],
        "distributions": {
            name: json.loads(distribution_to_json(distribution)) for name, distribution in trial.distributions.items()
        },
        "datetime_start": trial.datetime_start.isoformat() if trial.datetime_start else None,
        "datetime_complete": trial.datetime_complete.isoformat() if trial.datetime_complete else None,
        "user_attrs": _attributes(trial, warnings),
    }


def _attributes(trial: FrozenTrial, warnings: list[str]) -> dict[str, Any]:
    """In the order of their names, until `MAX_ATTRIBUTES` bytes of JSON are full; what is left out is told."""
    kept, left, room = {}, [], MAX_ATTRIBUTES
    for name in sorted(trial.user_attrs.keys() - OURS):
        room -= (size := len(json.dumps(trial.user_attrs[name], default=repr)))
        if room < 0:
            room += size
            left.append(name)
        else:
            kept[name] = trial.user_attrs[name]
    if left:
        warnings.append(f"user attributes left out for their size: {', '.join(left)[:500]}")
    return kept


def _duration_ms(trial: FrozenTrial) -> int | None:
    return None if trial.duration is None else max(0, round(trial.duration.total_seconds() * 1000))


def _text(value: Any) -> str | None:
    return str(value) if value else None
