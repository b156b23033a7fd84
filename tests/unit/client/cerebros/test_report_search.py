"""One line makes a search report its run and every sub-trial, on a stand-in with the core's seams."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cerebros_client.cerebros import models, report_search

from tests.support.core import NeuralNetworkFuture, SimpleCerebrosRandomSearch
from tests.support.sink import SinkReporter, as_reporter


@pytest.fixture
def sink(tmp_path: Path) -> SinkReporter:
    return SinkReporter(tmp_path / "reports.jsonl")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return "project"


class SpectralNormalization:
    pass


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`apply_spectral_norm` of a stand-in's model; that of a real Keras model is in tests/frameworks."""
    names: list[str] = []

    def apply(model: Any) -> Any:
        names.append(model.name)
        model.layers.append(SpectralNormalization())
        return model

    monkeypatch.setattr(models, "apply_spectral_norm", apply)
    return names


FIRST, SECOND = (f"tr_{number:016d}_subtrial_{0:016d}" for number in (0, 1))


def test_each_sub_trial_is_a_trial_with_the_metrics_of_its_best_epoch(sink: SinkReporter, project: str) -> None:
    values = [0.5, 0.25, 0.75]
    search = SimpleCerebrosRandomSearch(project, lambda trial, _, epoch: values[epoch] - trial)
    run_id = report_search(search, as_reporter(sink))
    assert search.run_random_search() == -0.75
    assert list(sink.rows) == [FIRST, SECOND]
    row = sink.rows[FIRST]
    assert str(UUID(run_id)) == row["run_id"] == run_id
    assert row["status"] == "succeeded"
    assert row["metrics"] == {
        "loss": 0.75,
        "val_loss": 0.25,
        "best_epoch": 2,
        "epochs": 3,
        "by_epoch": {"loss": [1.0, 0.75, 1.25], "val_loss": [0.5, 0.25, 0.75]},
    }
    assert Path(row["artifact_uri"]).read_text() == FIRST
    assert row["duration_ms"] >= 0
    assert row["warnings"] == []


def test_parameters_are_those_of_the_search_with_the_specification(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project)
    report_search(search, as_reporter(sink), run_id="run-7")
    search.run_random_search()
    parameters = sink.rows[SECOND]["parameters"]
    assert parameters == {
        "activation": "gelu",
        "learning_rate": 0.095,
        "epochs": 3,
        "seed": 8675309,
        "p_lateral_connection_decay": "decay",
        "spec": {"0": [{"1": "InputUnit"}], "1": [{"94": "DenseUnit"}], "2": [{"1": "FinalDenseUnit"}]},
        "trial_number": 1,
        "subtrial_number": 0,
    }


def test_the_run_starts_and_stops_with_the_projects_name_and_the_best(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project, number_of_tries_per_architecture_moity=2)
    run_id = report_search(search, as_reporter(sink))
    best = search.run_random_search()
    assert sink.said[0] == {
        "event": "ml.run.start",
        "run_id": run_id,
        "requested_trials": 4,
        "project_name": project,
        "direction": "minimize",
        "metric_to_rank_by": "val_loss",
    }
    stopped = sink.said[-1]
    assert stopped.pop("duration_ms") >= 0
    assert stopped == {
        "event": "ml.run.stop",
        "run_id": run_id,
        "status": "succeeded",
        "completed_trials": 4,
        "best_metric": best,
        "best_trial_id": f"tr_{1:016d}_subtrial_{1:016d}",
    }


def test_each_sub_trial_says_that_it_has_started(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project)
    report_search(search, as_reporter(sink))
    search.run_random_search()
    started = sink.events("ml.trial.start")
    assert [one["trial_id"] for one in started] == [FIRST, SECOND]
    assert sink.said.index(started[1]) > sink.said.index(sink.reports[0])


@pytest.mark.parametrize(
    ("asked", "tries", "expected"),
    [
        (None, 1, [False] * 4),
        (False, 1, [False] * 4),
        (True, 1, [True] * 4),
        ("alternate", 1, [False, True, False, True]),
        ("alternate", 2, [False, True] * 4),
        ("alternate", 3, [False, True, False, True] * 3),
    ],
)
def test_spectral_normalisation_goes_into_as_many_as_were_asked_for(
    sink: SinkReporter, project: str, applied: list[str], asked: Any, tries: int, expected: list[bool]
) -> None:
    search = SimpleCerebrosRandomSearch(
        project, number_of_architecture_moities_to_try=4, number_of_tries_per_architecture_moity=tries
    )
    report_search(search, as_reporter(sink), spectral_norm=asked)
    search.run_random_search()
    assert [row["spectral_norm"] for row in sink.rows.values()] == expected
    assert applied == [trial for trial, row in sink.rows.items() if row["spectral_norm"]]
    started = [one["spectral_norm"] for one in sink.events("ml.trial.start")]
    assert started == ([None] * 4 if asked is None else expected)  # nobody asked: it is seen in the network


@pytest.mark.parametrize(
    ("asked", "expected"), [("alternate", [False, True]), (True, [True, True]), (None, [None] * 2)]
)
def test_a_network_that_was_never_made_failed_in_the_arm_that_it_was_meant_for(
    sink: SinkReporter, project: str, monkeypatch: pytest.MonkeyPatch, asked: Any, expected: list[bool | None]
) -> None:
    def fail(name: str) -> Any:
        raise MemoryError(name)

    monkeypatch.setattr(NeuralNetworkFuture, "make_model", staticmethod(fail))
    found: list[dict[str, Any]] = []
    for _ in expected:
        search = SimpleCerebrosRandomSearch(project)
        search.trial_number = len(found)
        report_search(search, as_reporter(sink), spectral_norm=asked)
        with pytest.raises(MemoryError):
            search.run_moity_permutations({}, 0, None)
        found.append(sink.reports[-1])
    assert [one["status"] for one in found] == ["failed"] * 2
    assert [one["spectral_norm"] for one in found] == expected


def test_of_networks_that_nobody_sees_nothing_is_said(
    sink: SinkReporter, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A core whose networks are called otherwise: what was asked for does not get into them."""
    compiling = NeuralNetworkFuture.compile_neural_network
    monkeypatch.setattr(NeuralNetworkFuture, "compile_neural_network", getattr(compiling, "__wrapped__", compiling))
    monkeypatch.setattr("cerebros_client.cerebros.searching.watch_networks", lambda _: False)
    search = SimpleCerebrosRandomSearch(project)
    report_search(search, as_reporter(sink), spectral_norm=True)
    search.run_random_search()
    assert [row["spectral_norm"] for row in sink.rows.values()] == [None, None]


def test_a_network_that_has_it_by_itself_is_reported_so(
    sink: SinkReporter, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(name: str) -> Any:
        model = original(name)
        model.layers.append(SpectralNormalization())
        return model

    original = NeuralNetworkFuture.make_model
    monkeypatch.setattr(NeuralNetworkFuture, "make_model", staticmethod(make))
    search = SimpleCerebrosRandomSearch(project)
    report_search(search, as_reporter(sink), spectral_norm=False)
    search.run_random_search()
    assert [row["spectral_norm"] for row in sink.rows.values()] == [True, True]


def test_a_network_that_can_not_have_it_is_trained_without_and_told(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project)  # its models are no Keras models
    report_search(search, as_reporter(sink), spectral_norm=True)
    search.run_random_search()
    assert sink.rows[FIRST]["spectral_norm"] is False
    assert sink.rows[FIRST]["status"] == "succeeded"
    assert sink.rows[FIRST]["warnings"] == [
        "without spectral normalisation: tests.support.core.Model is not a Keras model"
    ]


def raising(error: BaseException) -> Callable[[int, int, int], float]:
    def at_epoch(trial: int, _: int, epoch: int) -> float:
        if (trial, epoch) == (1, 2):
            raise error
        return 0.5

    return at_epoch


def test_an_exception_is_a_failed_trial_and_ends_the_search_as_before(sink: SinkReporter, project: str) -> None:
    error = MemoryError("64 GiB")
    search = SimpleCerebrosRandomSearch(project, raising(error), number_of_architecture_moities_to_try=3)
    report_search(search, as_reporter(sink))
    with pytest.raises(MemoryError) as raised:
        search.run_random_search()
    assert raised.value is error
    assert [row["status"] for row in sink.rows.values()] == ["succeeded", "failed"]
    row = sink.rows[SECOND]
    assert (row["error_type"], row["error_message"]) == ("MemoryError", "64 GiB")
    assert "raise error" in row["stacktrace"]
    assert row["metrics"]["by_epoch"]["val_loss"] == [0.5, 0.5]  # how far it came
    assert row["artifact_uri"] is None
    [stopped] = sink.events("ml.run.stop")
    assert (stopped["status"], stopped["error_message"]) == ("failed", "MemoryError: 64 GiB")
    assert stopped["completed_trials"] == 2


def test_ctrl_c_is_a_cancelled_trial_and_a_cancelled_run(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project, raising(KeyboardInterrupt()))
    report_search(search, as_reporter(sink))
    with pytest.raises(KeyboardInterrupt):
        search.run_random_search()
    assert sink.rows[SECOND]["status"] == "cancelled"
    assert sink.events("ml.run.stop")[0]["status"] == "cancelled"


def test_nothing_but_nan_is_a_failed_trial(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project, lambda trial, *_: math.nan if trial else 0.5)
    report_search(search, as_reporter(sink))
    search.run_random_search()
    row = sink.rows[SECOND]
    assert (row["status"], row["error_type"]) == ("failed", "nan_objective")
    assert row["error_message"] == "val_loss is NaN at each of 3 epochs"
    assert math.isnan(row["metrics"]["val_loss"])
    assert sink.events("ml.run.stop")[0]["status"] == "succeeded"


def test_a_search_of_nothing_but_nan_says_what_its_index_error_means(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project, lambda *_: math.nan)
    report_search(search, as_reporter(sink))
    with pytest.raises(IndexError):
        search.run_random_search()
    assert [row["status"] for row in sink.rows.values()] == ["failed", "failed"]
    assert "NaN in every trial" in sink.events("ml.run.stop")[0]["error_message"]


def test_a_metric_that_is_not_measured_is_told(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project, metric_to_rank_by="val_accuracy")
    report_search(search, as_reporter(sink))
    with pytest.raises(KeyError):
        search.run_random_search()
    assert sink.rows[FIRST]["status"] == "succeeded"
    assert sink.rows[FIRST]["warnings"] == ["no metric 'val_accuracy' in the history: loss, val_loss"]
    assert sink.rows[FIRST]["metrics"]["val_loss"] == pytest.approx(1 / 3)  # of the last epoch


def test_the_best_is_the_greatest_where_the_search_maximises(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project, direction="maximize")
    report_search(search, as_reporter(sink))
    search.run_random_search()
    assert sink.rows[FIRST]["metrics"]["best_epoch"] == 1
    assert sink.events("ml.run.stop")[0]["best_trial_id"] == FIRST


def test_sub_trials_in_forked_children_are_reported_before_the_child_ends(
    sink: SinkReporter, project: str, applied: list[str]
) -> None:
    search = SimpleCerebrosRandomSearch(project, in_children=True)
    report_search(search, as_reporter(sink), spectral_norm="alternate")
    search.run_random_search()
    assert [(trial, row["spectral_norm"]) for trial, row in sink.rows.items()] == [(FIRST, False), (SECOND, True)]
    assert len(sink.events("flush")) == 2
    assert sink.events("ml.run.stop")[0]["completed_trials"] is None  # not known in the parent


def test_a_reporter_that_fails_never_ends_the_search(
    sink: SinkReporter, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink.fails = 1
    search = SimpleCerebrosRandomSearch(project)
    report_search(search, as_reporter(sink), run_id="run-7")
    with caplog.at_level(logging.ERROR):
        search.run_random_search()
    assert list(sink.rows) == [SECOND]
    assert f"run-7/{FIRST} is not reported: no room" in caplog.text


def test_other_searches_of_the_process_are_left_alone(sink: SinkReporter, project: str, applied: list[str]) -> None:
    reported = SimpleCerebrosRandomSearch(project)
    report_search(reported, as_reporter(sink), spectral_norm=True)
    SimpleCerebrosRandomSearch("other").run_random_search()
    assert sink.said == []
    assert applied == []


def test_a_subclass_that_runs_a_sub_trial_in_its_own_way_is_seen(
    sink: SinkReporter, project: str, applied: list[str]
) -> None:
    class Own(SimpleCerebrosRandomSearch):
        def run_moity_permutations(self, spec: dict[str, Any], subtrial_number: int, lock: Any) -> int:
            return super().run_moity_permutations(spec, subtrial_number, lock)

    search = Own(project)
    report_search(search, as_reporter(sink), spectral_norm=True)
    search.run_random_search()
    assert [row["spectral_norm"] for row in sink.rows.values()] == [True, True]


def test_what_is_no_search_is_refused(sink: SinkReporter) -> None:
    with pytest.raises(TypeError, match=r"object is no Cerebros search: it has no run_random_search and no run_moity"):
        report_search(object(), as_reporter(sink))


@pytest.mark.parametrize("word", ["Alternate", "yes", 1, 0.5])
def test_another_word_for_spectral_norm_is_refused(sink: SinkReporter, project: str, word: Any) -> None:
    with pytest.raises(ValueError, match=r"it should be None, True, False or 'alternate'"):
        report_search(SimpleCerebrosRandomSearch(project), as_reporter(sink), spectral_norm=word)


def test_a_search_reports_once(sink: SinkReporter, project: str) -> None:
    search = SimpleCerebrosRandomSearch(project)
    report_search(search, as_reporter(sink), run_id="run-7")
    with pytest.raises(ValueError, match="reports already, as run run-7"):
        report_search(search, as_reporter(sink))
