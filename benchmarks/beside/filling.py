"""Trials written into the stores of the three, in bulk: by their interfaces 1,000 take minutes.

The rows are those that the interfaces write for such trials; the tests hold them to that.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from benchmarks.beside.trials import CHOICES, Trial
from benchmarks.contestants import ask
from benchmarks.dashboard import COLUMNS

PORTION = 5000
#: of SQLite while it is filled; nothing is lost that could not be made again
QUICK = "pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -500000; pragma temp_store = memory"
#: how long a writer waits for SQLite's one lock: as long as a view may take
WAIT_S = 60.0
SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 0.1, log=True),
    "dropout": FloatDistribution(0.0, 1.0),
    "num_layers": IntDistribution(0, 7),
    **{name: CategoricalDistribution(choices) for name, choices in CHOICES.items()},
}
_SPACE_JSON = {name: distribution_to_json(one) for name, one in SPACE.items()}
#: of what has no value there (NaN is none either) the state is FAIL, as Optuna itself has it
OPTUNA_STATES = {"succeeded": "COMPLETE", "failed": "FAIL", "skipped": "PRUNED"}
MLFLOW_STATES = {"succeeded": "FINISHED", "failed": "FAILED", "skipped": "KILLED"}
T = TypeVar("T")
Rows = dict[str, list[tuple[Any, ...]]]


def make_run(url: str, name: str) -> str:
    """Its id, as trials of ours hold it."""
    made = "insert into cerebros_model_runs (run_id, state) values ($1, 'running') returning id::text"
    return str(ask(url, made, name)[0][0])


def copy_ours(url: str, texts: Iterable[str]) -> None:
    """COPY of the lines; they are committed when this returns."""

    async def lines() -> AsyncIterator[bytes]:
        for portion in _portions(texts):
            yield "".join(portion).encode()

    async def copy() -> None:
        connection = await asyncpg.connect(url)
        await connection.copy_to_table("cerebros_model_trials", source=lines(), columns=list(COLUMNS), format="text")
        await connection.close()

    asyncio.run(copy())


def make_study(store: Path, name: str) -> int:
    """A study without trials in a new SQLite file; its id."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return int(optuna.create_study(storage=f"sqlite:///{store}", study_name=name, direction="maximize")._study_id)


def optuna_rows(trial: Trial, study: int) -> Rows:
    """By table; the number of a trial in the study is that of its line, so its id is the next."""
    identity, value = trial.number + 1, trial.metrics["accuracy"]
    state = OPTUNA_STATES[trial.status]
    if math.isnan(value) and state == "COMPLETE":
        state = "FAIL"
    given = {name: SPACE[name].to_internal_repr(one) for name, one in trial.parameters.items()}
    attributes = {name: json.dumps(trial.metrics[name]) for name in ("loss", "epochs")}
    began, ended = _local(trial.began), _local(trial.ended)
    return {
        "trials(trial_id, number, study_id, state, datetime_start, datetime_complete)": [
            (identity, trial.number, study, state, began, ended)
        ],
        "trial_values(trial_id, objective, value, value_type)": [(identity, 0, value, "FINITE")]
        if state == "COMPLETE"
        else [],
        "trial_params(trial_id, param_name, param_value, distribution_json)": [
            (identity, name, one, _SPACE_JSON[name]) for name, one in given.items()
        ],
        "trial_user_attributes(trial_id, key, value_json)": [
            (identity, name, text) for name, text in attributes.items()
        ],
    }


def _local(at: datetime) -> str:
    """As Optuna writes a time: that of the machine, without a zone."""
    return at.astimezone().replace(tzinfo=None).isoformat(" ", "microseconds")


def mlflow_id(number: int) -> str:
    return f"{number:032x}"


def mlflow_rows(trial: Trial, experiment: int) -> Rows:
    """By table. Ids are in the order of the trials, which spares SQLite's indexes much."""
    run, at = mlflow_id(trial.number), _milliseconds(trial.began)
    measured = [(name, 0.0 if math.isnan(value) else value, math.isnan(value)) for name, value in trial.metrics.items()]
    place = f"mlflow-artifacts:/{experiment}/{run}/artifacts"
    return {
        "runs(run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, "
        "source_version, lifecycle_stage, artifact_uri, experiment_id)": [
            (run, trial.trial_id, "UNKNOWN", "", "", "", MLFLOW_STATES[trial.status], at, _milliseconds(trial.ended),
             "", "active", place, experiment)
        ],
        "metrics(key, value, timestamp, run_uuid, step, is_nan)": [
            (name, value, at, run, 0, nan) for name, value, nan in measured
        ],
        "latest_metrics(key, value, timestamp, step, is_nan, run_uuid)": [
            (name, value, at, 0, nan, run) for name, value, nan in measured
        ],
        "params(key, value, run_uuid)": [(name, str(value), run) for name, value in trial.parameters.items()],
        "tags(key, value, run_uuid)": [("mlflow.runName", trial.trial_id, run)],
    }  # fmt: skip


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def fill_sqlite(store: Path, rows: Iterable[Rows]) -> None:
    """All of it in a store that nobody reads."""
    connection = sqlite3.connect(store, isolation_level=None)
    connection.executescript(QUICK)
    connection.execute("begin")
    for portion in _portions(rows):
        _insert(connection, portion)
    connection.execute("commit")
    connection.close()


def write_sqlite(store: Path, rows: Rows) -> None:
    """One trial in a store that is served; it is committed when this returns."""
    connection = sqlite3.connect(store, timeout=WAIT_S)
    with connection:
        _insert(connection, [rows])
    connection.close()


def _insert(connection: sqlite3.Connection, portion: list[Rows]) -> None:
    for table in portion[0]:
        cells = [row for one in portion for row in one[table]]
        marks = ", ".join("?" * (table.count(",") + 1))
        connection.executemany(f"insert into {table} values ({marks})", cells)


def _portions(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while portion := list(itertools.islice(iterator, PORTION)):
        yield portion
