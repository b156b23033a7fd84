"""Every trial of a real study is a row, whichever way it finished."""

from __future__ import annotations

import logging
import math
import sys
import types
from datetime import timedelta
from typing import Any

import optuna
import pytest
from cerebros_client.optuna import callback, optimize, reconcile, suggest_spectral_norm, watch
from optuna.trial import TrialState

from tests.support.sink import SinkReporter, as_reporter
from tests.unit.client.optuna.conftest import check_rows
from tests.unit.client.sending import recorded


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("rate", 1e-3, 1.0, log=True) + trial.suggest_int("layers", 1, 3)


def pruned_half_way(trial: optuna.Trial) -> float:
    trial.suggest_categorical("optimiser", ["sgd", "adam"])
    for step in range(5):
        trial.report(0.5 - step / 10, step * 10)
        if step == trial.number:
            raise optuna.TrialPruned
    return 0.1


def test_a_completed_trial_is_a_succeeded_row(study: optuna.Study, sink: SinkReporter) -> None:
    optimize(study, objective, as_reporter(sink), n_trials=4)
    check_rows(sink, study)
    assert len(sink.reports) == 4  # each once


def test_a_pruned_trial_is_skipped_with_its_intermediate_values(study: optuna.Study, sink: SinkReporter) -> None:
    optimize(study, pruned_half_way, as_reporter(sink), n_trials=6)
    check_rows(sink, study)
    assert sink.rows["2"]["metrics"]["intermediate_values"] == [0.5, 0.4, 0.3]
    assert sink.rows["2"]["metrics"]["intermediate_steps"] == [0, 10, 20]


def test_an_exception_outside_catch_ends_the_study_and_is_a_row(study: optuna.Study, sink: SinkReporter) -> None:
    def fails_third(trial: optuna.Trial) -> float:
        if trial.number == 2:
            raise MemoryError("64 GiB")
        return objective(trial)

    with pytest.raises(MemoryError):
        optimize(study, fails_third, as_reporter(sink), n_trials=5)
    check_rows(sink, study)
    assert (sink.rows["2"]["error_type"], sink.rows["2"]["error_message"]) == ("MemoryError", "64 GiB")
    assert "fails_third" in sink.rows["2"]["stacktrace"]


def test_an_exception_that_catch_swallows_is_a_row_with_its_reason(study: optuna.Study, sink: SinkReporter) -> None:
    def fails_even(trial: optuna.Trial) -> float:
        if trial.number % 2 == 0:
            raise ValueError(f"bad width {trial.suggest_int('width', 1, 9)}")
        return objective(trial)

    optimize(study, fails_even, as_reporter(sink), n_trials=4, catch=ValueError)
    check_rows(sink, study)
    assert sink.rows["2"]["error_message"].startswith("bad width ")
    assert "error_message" not in sink.rows["1"]


def test_an_objective_that_returns_nan_is_a_failed_row(study: optuna.Study, sink: SinkReporter) -> None:
    optimize(study, lambda _: math.nan, as_reporter(sink), n_trials=2)
    check_rows(sink, study)
    assert sink.rows["0"]["status"] == "failed"
    assert sink.rows["0"]["error_message"] == "the objective returned NaN"


def test_ctrl_c_is_a_cancelled_row(study: optuna.Study, sink: SinkReporter) -> None:
    def interrupted(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise KeyboardInterrupt
        return objective(trial)

    with pytest.raises(KeyboardInterrupt):
        optimize(study, interrupted, as_reporter(sink), n_trials=3)
    check_rows(sink, study, cancelled=(1,))


def test_four_threads_report_each_trial_once(study: optuna.Study, sink: SinkReporter) -> None:
    optimize(study, objective, as_reporter(sink), n_trials=16, n_jobs=4)
    check_rows(sink, study)
    assert len(sink.reports) == 16


def test_ask_and_tell_is_seen_by_reconcile(study: optuna.Study, sink: SinkReporter) -> None:
    for number in range(3):
        trial = study.ask()
        trial.suggest_float("rate", 0, 1)
        if number == 1:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, 0.5)
    study.ask()  # not finished
    assert reconcile(study, as_reporter(sink)) == (3, 1)
    check_rows(sink, study)
    assert sink.rows["1"]["error_message"] == "failed in Optuna, which keeps no reason"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("names", [None, ["accuracy", "latency"]])
def test_several_objectives_are_several_metrics(storage: Any, sink: SinkReporter, names: list[str] | None) -> None:
    study = optuna.create_study(storage=storage, study_name="two", directions=["maximize", "minimize"])
    if names:
        study.set_metric_names(names)
    optimize(study, lambda trial: (trial.suggest_float("rate", 0, 1), 3.0), as_reporter(sink), n_trials=3)
    check_rows(sink, study)
    assert sink.rows["0"]["metrics"][names[1] if names else "value_1"] == 3.0
    assert sink.rows["0"]["extra"]["optuna"]["directions"] == ["maximize", "minimize"]


def test_a_plain_callback_reports_what_callbacks_see(study: optuna.Study, sink: SinkReporter) -> None:
    study.optimize(objective, n_trials=2, callbacks=[callback(as_reporter(sink))])
    check_rows(sink, study)


def test_a_report_that_fails_does_not_end_the_study_and_is_sent_at_its_end(
    study: optuna.Study, sink: SinkReporter, caplog: pytest.LogCaptureFixture
) -> None:
    sink.fails = 2
    with caplog.at_level(logging.ERROR):
        optimize(study, objective, as_reporter(sink), n_trials=4)
    check_rows(sink, study)
    assert "digits/0 is not reported" in caplog.text


@pytest.mark.parametrize("value", ["x" * 600, "a\x00b"])
def test_an_mlflow_run_that_can_be_none_costs_a_trial_its_link_and_no_row(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    study.add_trial(optuna.trial.create_trial(value=1.0, user_attrs={"mlflow_run_id": value}))
    reporter, recorder = recorded(monkeypatch)
    optimize(study, objective, reporter, n_trials=2)
    assert reconcile(study, reporter).reported == len(study.trials)
    rows = {document["trial_id"]: document for document in recorder.documents}
    assert sorted(rows) == [str(trial.number) for trial in study.trials]
    for trial in study.trials:
        told = [one for one in rows[str(trial.number)]["warnings"] if "left out: mlflow_run_id" in one]
        assert len(told) == len(trial.user_attrs)


def test_a_trial_that_can_not_be_reported_stops_none_behind_it(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its worker's clock was a day ahead."""
    early = optuna.trial.create_trial(value=1.0)
    assert early.datetime_complete
    early.datetime_complete += timedelta(days=1)
    study.add_trial(early)
    reporter, recorder = recorded(monkeypatch)
    optimize(study, objective, reporter, n_trials=1)
    assert reconcile(study, reporter).reported == 1
    study.add_trial(optuna.trial.create_trial(value=2.0))
    optimize(study, objective, reporter, n_trials=1)
    assert {document["trial_id"] for document in recorder.documents} == {"1", "2", "3"}
    assert "digits/0 can't be reported: at lies in the future" in caplog.text
    with pytest.raises(ValueError, match="run_id has 600 characters"):
        reconcile(study, reporter, run_id="r" * 600)


def test_what_the_objective_raised_is_raised_though_reports_fail(study: optuna.Study, sink: SinkReporter) -> None:
    sink.fails = 100

    def fails(_: optuna.Trial) -> float:
        raise MemoryError

    with pytest.raises(MemoryError):
        optimize(study, fails, as_reporter(sink), n_trials=1)


def test_a_loop_of_single_trials_reports_each_once(study: optuna.Study, sink: SinkReporter) -> None:
    for _ in range(5):
        optimize(study, objective, as_reporter(sink), n_trials=1)
    check_rows(sink, study)
    assert len(sink.reports) == 5


def test_reconcile_repeated_says_the_same_to_the_letter(study: optuna.Study, sink: SinkReporter) -> None:
    optimize(study, pruned_half_way, as_reporter(sink), n_trials=6)
    said = sink.rows
    assert reconcile(study, as_reporter(sink)).reported == 6
    assert len(sink.reports) == 12
    assert sink.rows == said


def test_a_callback_of_the_user_that_raises_comes_after_ours(study: optuna.Study, sink: SinkReporter) -> None:
    def raises(*_: Any) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        optimize(study, objective, as_reporter(sink), n_trials=3, callbacks=[raises])
    check_rows(sink, study)


def test_the_run_may_have_another_name_than_the_study(study: optuna.Study, sink: SinkReporter) -> None:
    optimize(study, objective, as_reporter(sink), run_id="run-7", n_trials=1)
    assert sink.rows["0"]["run_id"] == "run-7"
    assert sink.rows["0"]["extra"]["optuna"]["study_name"] == "digits"


@pytest.mark.parametrize(
    ("name", "choices", "expected"),
    [
        ("units", [32, 64], {None}),
        ("norm", ["batch", "layer"], {False}),
        ("norm", ["spectral"], {True}),
        ("use_spectral_norm", [False], {False}),
    ],
)
def test_a_search_that_chooses_no_normalisation_says_nothing_of_it(
    study: optuna.Study, sink: SinkReporter, name: str, choices: list[Any], expected: set[bool | None]
) -> None:
    def run(trial: optuna.Trial) -> float:
        trial.suggest_categorical(name, choices)
        return 0.5

    optimize(study, run, as_reporter(sink), n_trials=4)
    assert {row.get("spectral_norm") for row in sink.rows.values()} == expected


def test_the_suggestion_is_the_spectral_norm_of_the_row(study: optuna.Study, sink: SinkReporter) -> None:
    optimize(study, lambda trial: float(suggest_spectral_norm(trial)), as_reporter(sink), n_trials=12)
    assert {row["spectral_norm"] for row in sink.rows.values()} == {True, False}
    assert all(row["spectral_norm"] is (row["metrics"]["value"] == 1.0) for row in sink.rows.values())


def test_what_the_model_says_wins_over_the_suggestion_and_is_told(study: optuna.Study, sink: SinkReporter) -> None:
    def differs(trial: optuna.Trial) -> float:
        trial.set_user_attr("spectral_norm", not suggest_spectral_norm(trial))
        return 1.0

    optimize(study, differs, as_reporter(sink), n_trials=1)
    suggested = study.trials[0].params["spectral_norm"]
    assert sink.rows["0"]["spectral_norm"] is not suggested
    assert sink.rows["0"]["warnings"] == [f"spectral_norm was suggested as {suggested}, the model says {not suggested}"]


class FakeFluent(types.ModuleType):
    """mlflow.tracking.fluent as far as it is asked: the open run, and this thread's last one."""

    def __init__(self) -> None:
        super().__init__("mlflow.tracking.fluent")
        self.open: str | None = None
        self.last: str | None = None
        self._last_active_run_id = types.SimpleNamespace(get=lambda: self.last)

    def active_run(self) -> Any:
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=self.open)) if self.open else None


@pytest.fixture
def fluent(monkeypatch: pytest.MonkeyPatch) -> FakeFluent:
    module = FakeFluent()
    monkeypatch.setitem(sys.modules, "mlflow.tracking.fluent", module)
    return module


def test_the_mlflow_run_that_the_objective_began_is_in_the_row(
    study: optuna.Study, sink: SinkReporter, fluent: FakeFluent
) -> None:
    def logs(trial: optuna.Trial) -> float:
        if trial.number != 1:
            fluent.last = f"run{trial.number}"  # begun and ended inside the objective
        if trial.number == 2:
            raise ValueError
        return objective(trial)

    optimize(study, logs, as_reporter(sink), n_trials=3, catch=ValueError)
    assert [sink.rows[number]["mlflow_run_id"] for number in "012"] == ["run0", None, "run2"]


def test_an_mlflow_run_around_the_study_is_not_a_trials(
    study: optuna.Study, sink: SinkReporter, fluent: FakeFluent
) -> None:
    fluent.open = "parent"
    optimize(study, objective, as_reporter(sink), n_trials=1)
    assert sink.rows["0"]["mlflow_run_id"] is None


def test_the_user_attribute_is_the_mlflow_run(study: optuna.Study, sink: SinkReporter, fluent: FakeFluent) -> None:
    def says(trial: optuna.Trial) -> float:
        trial.set_user_attr("mlflow_run_id", "said")
        fluent.open = "active"
        return 1.0

    optimize(study, says, as_reporter(sink), n_trials=1)
    assert sink.rows["0"]["mlflow_run_id"] == "said"


def test_a_watched_objective_returns_and_raises_what_it_did(study: optuna.Study) -> None:
    study.optimize(watch(lambda _: 2.0), n_trials=1)
    assert study.trials[0].values == [2.0]
    assert study.trials[0].user_attrs == {}
    assert watch(objective).__name__ == "objective"


def test_large_user_attributes_are_left_out_and_told(study: optuna.Study, sink: SinkReporter) -> None:
    def talks(trial: optuna.Trial) -> float:
        trial.set_user_attr("predictions", [0.25] * 100_000)
        trial.set_user_attr("note", "kept")
        return 1.0

    optimize(study, talks, as_reporter(sink), n_trials=1)
    assert sink.rows["0"]["extra"]["optuna"]["user_attrs"] == {"note": "kept"}
    assert sink.rows["0"]["warnings"] == ["user attributes left out for their size: predictions"]


def test_a_long_history_is_thinned_evenly_and_told(study: optuna.Study, sink: SinkReporter) -> None:
    history = {step: float(step) for step in range(25_000)}
    study.add_trial(optuna.trial.create_trial(value=1.0, intermediate_values=history))
    reconcile(study, as_reporter(sink))
    assert sink.rows["0"]["metrics"]["intermediate_steps"] == list(range(0, 25_000, 3))
    assert sink.rows["0"]["warnings"] == ["25000 intermediate values: one in 3 is reported"]
