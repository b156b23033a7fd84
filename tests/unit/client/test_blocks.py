"""A trial, or a run, as a block: started, measured and told how it ended, whatever ended it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import optuna
import pytest
from cerebros_client import TrialReporter
from cerebros_client.optuna.attributes import Failure
from cerebros_client.transport import Trouble

from tests.unit.client.sending import Recorder, recorded


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    reporter, recorder = recorded(monkeypatch)
    yield reporter, recorder
    reporter.close()


def test_a_trial_starts_goes_on_and_ends(opened: tuple[TrialReporter, Recorder]) -> None:
    reporter, recorder = opened
    with reporter.trial("run", 3, parameters={"units": 64}, spectral_norm=True, pulse_id="p-1") as trial:
        trial.progress(0, val_loss=0.5)
        trial.progress(1, val_loss=np.float32(0.25), accuracy=0.9)
        trial.metrics({"loss": 0.5}, accuracy=0.9)
        trial.metrics(loss=0.25)
        trial.set(artifact_uri="/models/3", mlflow_run_id="abc")
    start, first, second, end = recorder.documents
    assert start == {
        "event": "ml.trial.start",
        "run_id": "run",
        "trial_id": "3",
        "spectral_norm": True,
        "parameters": {"units": 64},
    }
    about = {"event": "ml.run.metric", "run_id": "run", "trial_id": "3"}
    assert first == {**about, "metric_name": "val_loss", "metric_value": 0.5, "step": 0}
    assert second == [
        {**about, "metric_name": "val_loss", "metric_value": 0.25, "step": 1},
        {**about, "metric_name": "accuracy", "metric_value": 0.9, "step": 1},
    ]
    assert end["duration_ms"] >= 0
    assert (end["status"], end["metrics"], end["parameters"]) == (
        "succeeded",
        {"loss": 0.25, "accuracy": 0.9},
        {"units": 64},
    )
    said = ("artifact_uri", "mlflow_run_id", "pulse_id", "spectral_norm")
    assert [end[name] for name in said] == ["/models/3", "abc", "p-1", True]


def test_a_trial_that_says_nothing_of_spectral_norm_reports_nothing_of_it(
    opened: tuple[TrialReporter, Recorder],
) -> None:
    reporter, recorder = opened
    with reporter.trial("run", 3):
        pass
    with reporter.trial("run", 4, spectral_norm=False):
        pass
    assert ["spectral_norm" in one for one in recorder.documents] == [False, False, True, True]


def test_an_exception_ends_it_as_failed_and_goes_on_its_way(opened: tuple[TrialReporter, Recorder]) -> None:
    reporter, recorder = opened

    def search() -> float:
        with reporter.trial("run", 3) as trial:
            trial.metrics(loss=0.5)
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        search()
    end = recorder.documents[-1]
    assert (end["status"], end["error_message"], end["error_type"]) == (
        "failed",
        "division by zero",
        "ZeroDivisionError",
    )
    assert "in search" in end["stacktrace"]
    assert end["metrics"] == {"loss": 0.5}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_is_no_exception_cancels_it(opened: tuple[TrialReporter, Recorder], error: type[BaseException]) -> None:
    reporter, recorder = opened
    with pytest.raises(error), reporter.trial("run", 3):
        raise error
    assert (recorder.documents[-1]["status"], recorder.documents[-1]["error_type"]) == ("cancelled", error.__name__)


def test_a_pruned_trial_is_skipped(opened: tuple[TrialReporter, Recorder]) -> None:
    """Optuna's exception says so by its name, or the search itself."""
    reporter, recorder = opened
    with pytest.raises(optuna.TrialPruned), reporter.trial("run", 3):
        raise optuna.TrialPruned
    with reporter.trial("run", 4) as trial:
        trial.prune()
    assert [one["status"] for one in recorder.documents[1::2]] == ["skipped", "skipped"]


def test_nan_is_told_as_it_is_unless_it_is_the_objective(opened: tuple[TrialReporter, Recorder]) -> None:
    reporter, recorder = opened
    with reporter.trial("run", 1) as trial:
        trial.metrics(loss=math.nan)
    assert recorder.documents[-1]["status"] == "succeeded"
    for told in ({"loss": math.nan}, {}, {"loss": "none"}):
        with reporter.trial("run", 2, objective="loss") as trial:
            trial.metrics(told)
        end = recorder.documents[-1]
        assert (end["status"], end["error_type"]) == ("failed", "nan_objective")
        assert "loss" in end["error_message"]
    with reporter.trial("run", 3, objective="loss") as trial:
        trial.metrics(loss=np.float32(0.5))
    assert recorder.documents[-1]["status"] == "succeeded"


def test_a_trial_can_say_itself_that_it_failed(opened: tuple[TrialReporter, Recorder]) -> None:
    reporter, recorder = opened
    with reporter.trial("run", 1) as trial:
        trial.fail("too slow", error_type="timeout")
    end = recorder.documents[-1]
    assert (end["status"], end["error_message"], end["error_type"]) == ("failed", "too slow", "timeout")


def test_what_would_raise_at_the_end_raises_at_once(opened: tuple[TrialReporter, Recorder]) -> None:
    """Not after hours of training."""
    reporter, _ = opened
    with pytest.raises(TypeError, match=r"^mlflow_run_id "):
        reporter.trial("run", 1, mlflow_run_id=7)
    with pytest.raises(TypeError, match="a trial has no metric;"):
        reporter.trial("run", 1, metric=7)
    with pytest.raises(ValueError, match=r"^trial_id "):
        reporter.trial("run", "")
    with reporter.trial("run", 1) as trial, pytest.raises(TypeError, match=r"^pulse_id "):
        trial.set(pulse_id=1.5)


def test_metrics_of_any_kind_are_taken(opened: tuple[TrialReporter, Recorder]) -> None:
    reporter, recorder = opened
    with reporter.trial("run", 1) as trial:
        trial.metrics(0.5)
        trial.progress(0)
        trial.progress(math.nan, loss=object())
    assert recorder.documents[-1]["metrics"] == {"value": 0.5}
    assert recorder.documents[1]["step"] is None


def test_a_run_starts_and_stops(opened: tuple[TrialReporter, Recorder]) -> None:
    reporter, recorder = opened
    with reporter.run("run", requested_trials=50, parameters={"seed": 7}) as run:
        run.result(completed_trials=50, best_metric=np.float32(0.5), best_trial_id="31")
    start, stop = recorder.documents
    assert start == {"event": "ml.run.start", "run_id": "run", "requested_trials": 50, "parameters": {"seed": 7}}
    assert stop.pop("duration_ms") >= 0
    assert stop == {
        "event": "ml.run.stop",
        "run_id": "run",
        "status": "succeeded",
        "completed_trials": 50,
        "best_metric": 0.5,
        "best_trial_id": "31",
    }


@pytest.mark.parametrize(("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "cancelled")])
def test_a_run_that_breaks_off_says_so(
    opened: tuple[TrialReporter, Recorder], error: type[BaseException], status: str
) -> None:
    reporter, recorder = opened
    with pytest.raises(error), reporter.run("run"):
        raise error("no data")
    assert (recorder.documents[-1]["status"], recorder.documents[-1]["error_message"]) == (status, "no data")


def test_a_run_is_started_and_stopped_by_hand(opened: tuple[TrialReporter, Recorder]) -> None:
    reporter, recorder = opened
    reporter.start_run(7)
    reporter.stop_run(7, status="FAIL", error_message="no data")
    assert [one["run_id"] for one in recorder.documents] == ["7", "7"]
    assert recorder.documents[1]["status"] == "failed"
    for wrong in ("pruned", "running"):
        with pytest.raises(ValueError, match=r"^status"):
            reporter.stop_run(7, status=wrong)


@pytest.mark.parametrize("kind", ["trial", "run", "trial in a loop", "run in a loop"])
def test_a_report_that_fails_does_not_take_the_place_of_what_was_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """A search goes by what was raised in it: where a trial is pruned Optuna goes on, anything else ends the search."""
    reporter, recorder = recorded(monkeypatch)
    block = reporter.trial("run", 3) if kind.startswith("trial") else reporter.run("run")

    def search() -> None:
        with block:
            recorder.answer = Trouble("too large", final=True)
            raise optuna.TrialPruned

    async def search_in_a_loop() -> None:
        async with block:
            recorder.answer = Trouble("too large", final=True)
            raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned) as raised:
        asyncio.run(search_in_a_loop()) if kind.endswith("loop") else search()
    (note,) = raised.value.__notes__
    assert note.endswith(
        " is not delivered: 1 trial report(s) not delivered: run/" + ("3" if "trial" in kind else "") + ": too large"
    )
    assert note in caplog.text


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_start_or_progress_that_can_not_be_queued_stops_no_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, in_a_loop: bool
) -> None:
    reporter, recorder = recorded(monkeypatch)
    recorder.answer = Trouble("too large", final=True)

    def search() -> None:
        with reporter.run("run"), reporter.trial("run", 3) as trial:
            trial.progress(1, loss=0.5)
            recorder.answer = None

    async def search_in_a_loop() -> None:
        async with reporter.run("run"), reporter.trial("run", 3) as trial:
            await trial.progress_async(1, loss=0.5)
            recorder.answer = None

    asyncio.run(search_in_a_loop()) if in_a_loop else search()
    reporter.flush(1.0)
    assert [document.get("event") for document in recorder.documents] == [
        "ml.run.start",
        "ml.trial.start",
        "ml.run.metric",
        None,
        "ml.run.stop",
    ]
    for what in ("the start of run ", "the start of run/3 ", "the progress of run/3 "):
        assert f"{what}is not delivered: 1 trial report(s) not delivered: run/" in caplog.text


def test_without_an_exception_what_fails_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter, _ = recorded(monkeypatch)
    with pytest.raises(RuntimeError, match="closed"), reporter.trial("run", 3):
        reporter.close()


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def test_an_exception_that_can_not_be_told_loses_neither_itself_nor_the_report(
    opened: tuple[TrialReporter, Recorder],
) -> None:
    reporter, recorder = opened
    with pytest.raises(_MuteError), reporter.run("run"), reporter.trial("run", 1):
        raise _MuteError
    told = [one for one in recorder.documents if "error_message" in one]
    assert [one["error_message"] for one in told] == ["_MuteError", "_MuteError"]
    assert Failure.of(_MuteError()).message == "_MuteError"
