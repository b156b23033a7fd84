"""A study begins with the rows of earlier runs: what a report carries gives the exact trials back."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import optuna
import pytest
from cerebros_client.optuna import optimize, reconcile, warm_start
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tests.support.sink import SinkReporter, as_reporter


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 1e-3, 1.0, log=True)
    layers = trial.suggest_int("layers", 1, 9, step=2)
    spectral = trial.suggest_categorical("spectral_norm", [False, True])
    trial.report(rate, 1)
    if trial.number == 3:
        raise optuna.TrialPruned
    if trial.number == 4:
        raise ValueError
    return rate + layers + spectral


def as_stored(report: dict[str, Any]) -> dict[str, Any]:
    """The row as a database holds it: what has no column is in bridge_payload."""
    row = {key: value for key, value in report.items() if key not in ("extra", "at")}
    return row | {"bridge_payload": {"extra": report["extra"]}}


@pytest.fixture
def rows(study: optuna.Study, sink: SinkReporter) -> list[dict[str, Any]]:
    optimize(study, objective, as_reporter(sink), n_trials=8, catch=ValueError)
    return [as_stored(row) for row in sink.rows.values()]


def new_study(name: str = "next", **options: Any) -> optuna.Study:
    return optuna.create_study(study_name=name, **options)


def essence(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [
        (t.state, t.values, t.params, t.distributions, t.intermediate_values, t.datetime_start, t.datetime_complete)
        for t in study.trials
    ]


def test_trials_come_back_exactly(study: optuna.Study, rows: list[dict[str, Any]]) -> None:
    warmed = warm_start(other := new_study(), rows)
    assert warmed == (8, 0, {})
    assert essence(other) == essence(study)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_an_export_is_as_good_as_rows(
    study: optuna.Study, rows: list[dict[str, Any]], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"rows.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    elif suffix == "json":
        path.write_text(json.dumps({"next": None, "trials": rows}))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys() | {"error_message", "error_type", "stacktrace"})
            writer.writeheader()
            writer.writerows(
                {key: json.dumps(value) if isinstance(value, dict) else value for key, value in row.items()}
                for row in rows
            )
    assert warm_start(other := new_study(), path) == (8, 0, {})
    assert essence(other) == essence(study)


def test_a_second_call_adds_nothing(rows: list[dict[str, Any]]) -> None:
    warm_start(other := new_study(), rows)
    assert warm_start(other, rows) == (0, 8, {})
    assert len(other.trials) == 8


def test_the_studys_own_rows_are_known(study: optuna.Study, rows: list[dict[str, Any]]) -> None:
    assert warm_start(study, rows) == (0, 8, {})


def test_added_trials_are_not_reported_as_trials_of_the_new_run(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    warm_start(other := new_study(), rows)
    sink = SinkReporter(tmp_path / "other.jsonl")
    optimize(other, objective, as_reporter(sink), n_trials=2)
    assert reconcile(other, as_reporter(sink)).reported == 2
    assert {row["trial_id"] for row in sink.reports} == {"8", "9"}


PLAIN = {"run_id": "r", "status": "succeeded", "metrics": {"val_loss": 0.5}, "parameters": {"rate": 0.1}}


def test_rows_of_other_reporters_take_distributions_and_metrics() -> None:
    rows = [
        PLAIN | {"trial_id": "a", "parameters": {"rate": 1, "units": 64.0, "norm": True, "deep": {"x": 1}}},
        PLAIN
        | {"trial_id": "b", "metrics": {"val_loss": "NaN"}, "parameters": {"rate": 0.5, "units": 8, "norm": False}},
    ]
    warmed = warm_start(
        study := new_study(),
        rows,
        metrics=["val_loss"],
        distributions={
            "rate": FloatDistribution(0.0, 1.0),
            "units": IntDistribution(1, 128),
            "norm": CategoricalDistribution([False, True]),
        },
    )
    assert warmed == (2, 0, {})
    assert study.trials[0].params == {"rate": 1.0, "units": 64, "norm": True}
    assert study.trials[1].state == optuna.trial.TrialState.FAIL  # Optuna has no trial with the value NaN
    assert study.best_value == 0.5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"parameters": {"rate": 7}}, "rate is outside 0.0..1.0"),
        ({"parameters": {"rate": "fast"}}, "rate is no number"),
        ({"parameters": {"rate": True}}, "rate is no number"),
        ({"parameters": {"rate": 0.1, "norm": "true"}}, "norm is none of its choices"),
        ({"parameters": {"rate": 0.1, "norm": 1}}, "norm is none of its choices"),
        ({"parameters": {"rate": 0.1, "units": 1.5}}, "units is no integer"),
        ({"parameters": {"other": 1}}, "no distribution is known of any of its parameters"),
        ({"metrics": {"accuracy": 1}}, "no number in its metrics as val_loss"),
        ({"status": "running"}, "its status is 'running'"),
        ({"optuna": {"directions": ["maximize"]}}, "its directions are ['maximize']"),
        ({"metrics": "{"}, "refused: Expecting property name enclosed in double quotes"),
    ],
)
def test_a_row_that_makes_no_trial_is_dropped_and_counted(
    change: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = {
        "rate": FloatDistribution(0.0, 1.0),
        "units": IntDistribution(1, 128),
        "norm": CategoricalDistribution([False, True]),
    }
    rows = [PLAIN | {"trial_id": "a"} | change, PLAIN | {"trial_id": "b"}]
    with caplog.at_level(logging.WARNING):
        added, known, dropped = warm_start(new_study(), rows, distributions=given, metrics=["val_loss"])
    assert (added, known, list(dropped.values())) == (1, 0, [1])
    assert next(iter(dropped)).startswith(reason)
    assert reason in caplog.text


def test_a_warm_start_helps_the_sampler(rows: list[dict[str, Any]]) -> None:
    """The sampler has learnt from the rows: its next proposals are better than the first of a cold study."""

    def distance(trial: optuna.Trial) -> float:
        return abs(trial.suggest_float("x", -100, 100) - 42)

    cold, old = (
        new_study("cold", sampler=optuna.samplers.TPESampler(seed=3)),
        new_study("old", sampler=optuna.samplers.RandomSampler(seed=5)),
    )
    old.optimize(distance, n_trials=60)
    table = [
        {"run_id": "old", "trial_id": str(t.number), "status": "succeeded", "metrics": {"value": t.value}}
        | {"parameters": t.params}
        for t in old.trials
    ]
    warm = new_study("warm", sampler=optuna.samplers.TPESampler(seed=3))
    warm_start(warm, table, distributions={"x": FloatDistribution(-100, 100)})
    for study in (cold, warm):
        study.optimize(distance, n_trials=10)
    new = [t.value for t in warm.trials[60:] if t.value is not None]
    assert sum(new) / 10 < sum(t.value for t in cold.trials if t.value is not None) / 10


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"trial_id": 1}\n[1]\n')
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 2: list, not an object"):
        warm_start(new_study(), path)


def test_as_many_metrics_as_directions() -> None:
    with pytest.raises(ValueError, match=r"2 names for 1 objective"):
        warm_start(new_study(), [], metrics=["a", "b"])
