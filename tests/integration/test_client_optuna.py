"""A study through the real Kafka and the real database: rows equal the study, and a study starts from the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from cerebros_client import TrialReporter
from cerebros_client.optuna import optimize, reconcile, suggest_spectral_norm, warm_start
from optuna.trial import TrialState

from processor.core.settings import Settings
from processor.store.session import Session
from tests.support.ledger import check_ledger, events_of
from tests.support.processes import Process
from tests.support.settle import wait_settled

STATUS = {TrialState.COMPLETE: "succeeded", TrialState.PRUNED: "skipped", TrialState.FAIL: "failed"}
ROWS = """
select run.run_id, trial.trial_id, trial.status, trial.metrics, trial.parameters, trial.spectral_norm,
       trial.duration_ms, trial.error_message, trial.revision, trial.bridge_payload, trial.inserted_at
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
order by trial.trial_id::int
"""


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 1e-3, 1.0, log=True)
    spectral = suggest_spectral_norm(trial)
    trial.report(rate, 1)
    if trial.number % 5 == 1:
        raise optuna.TrialPruned
    if trial.number % 5 == 2:
        raise ValueError("bad width")
    return math.nan if trial.number % 5 == 3 else rate + spectral


def read(store: Session) -> list[dict[str, Any]]:
    return [dict(row) for row in store.run(lambda connection: connection.fetch(ROWS))]


def test_a_study_is_its_rows_and_rows_are_a_study_again(
    settings: Settings, start: Callable[..., Process], store: Session, tmp_path: Path
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name="digits",
        storage=f"sqlite:///{tmp_path}/study.db?timeout=120",
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    ingest, relay = start("ingest"), start("relay")
    with TrialReporter(settings.kafka_bootstrap_servers, topic=settings.raw_topic) as reporter:
        optimize(study, objective, reporter, n_trials=20, n_jobs=4, catch=ValueError)
        told = study.ask({"told": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(told, 0.5)
        assert reconcile(study, reporter) == (21, 0)
    wait_settled(settings)
    rows, events = read(store), events_of(settings)
    check_study(study, rows)
    assert [row["revision"] for row in rows] == [1] * 21  # reconciled to the letter: nothing has changed
    check_ledger(settings)

    with TrialReporter(settings.kafka_bootstrap_servers, topic=settings.raw_topic) as reporter:
        assert reconcile(study, reporter).reported == 21
    wait_settled(settings)
    assert (read(store), events_of(settings)) == (rows, events)

    warmed = warm_start(other := optuna.create_study(study_name="next"), rows)
    assert warmed == (21, 0, {})
    for old, new in zip(study.trials, other.trials, strict=True):
        assert (old.state, old.params, old.distributions) == (new.state, new.params, new.distributions)
        assert (old.values, old.datetime_complete) == (new.values, new.datetime_complete)
        assert old.intermediate_values == new.intermediate_values
    assert (ingest.stop(), relay.stop()) == (0, 0)


def check_study(study: optuna.Study, rows: list[dict[str, Any]]) -> None:
    assert [row["trial_id"] for row in rows] == [str(trial.number) for trial in study.trials]
    for trial, row in zip(study.trials, rows, strict=True):
        assert (row["run_id"], row["status"]) == ("digits", STATUS[trial.state])
        assert row["parameters"] == trial.params
        assert row["spectral_norm"] is trial.params.get("spectral_norm", False)
        assert row["metrics"].get("value") == trial.value
        assert row["duration_ms"] == round(trial.duration.total_seconds() * 1000)  # type: ignore[union-attr]
    reasons = {row["error_message"] for row in rows if row["status"] == "failed"}
    assert reasons == {"bad width", "the objective returned NaN"}
