"""Each argument of `report`: wrong ids and words raise at once, everything else becomes what the processor takes."""

from __future__ import annotations

import enum
import json
import math
import sys
import uuid
import warnings
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from cerebros_client import words
from cerebros_client.documents import MAX_BYTES

from processor.contracts.catalogue import Catalogue
from processor.core.messages import RawRecord, TrialReport
from processor.decode import endings
from processor.decode.decoder import Decoder
from tests.unit.client.sending import recorded


class State(enum.Enum):
    FAIL = 3
    RUNNING = 0


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Any:
    reporter, recorder = recorded(monkeypatch)

    def report(**fields: Any) -> dict[str, Any]:
        reporter.report(**{"run_id": "run", "trial_id": "trial", **fields})
        found = recorder.documents[-1]
        assert isinstance(found, dict)
        return found

    yield report
    reporter.close()


def decoded(document: dict[str, Any]) -> TrialReport:
    [outcome] = Decoder(Catalogue.load())(RawRecord("raw", 0, 0, 1, b"run", json.dumps(document).encode()))
    assert isinstance(outcome, TrialReport), outcome
    return outcome


def test_the_words_for_a_status_are_those_of_the_processor() -> None:
    assert words.STATUSES == endings.STATUSES


@pytest.mark.parametrize(
    ("value", "text"), [("run", "run"), (7, "7"), (np.int64(7), "7"), (uuid.UUID(int=1), str(uuid.UUID(int=1)))]
)
@pytest.mark.parametrize("field", ["run_id", "trial_id"])
def test_ids_are_texts_integers_or_uuids(recorder: Any, field: str, value: Any, text: str) -> None:
    assert recorder(**{field: value})[field] == text


@pytest.mark.parametrize("value", [None, 1.5, True, ["run"], b"run", np.float64(1), object()])
@pytest.mark.parametrize("field", ["run_id", "trial_id"])
def test_what_is_no_id_raises_and_names_the_field(recorder: Any, field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{field} is a text, an integer or a UUID, not "):
        recorder(**{field: value})


@pytest.mark.parametrize("value", ["", "a\0b", "\ud800", "x" * 501])
@pytest.mark.parametrize("field", ["run_id", "trial_id"])
def test_a_text_that_can_be_no_id_raises_and_names_the_field(recorder: Any, field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} "):
        recorder(**{field: value})


@pytest.mark.parametrize("field", ["mlflow_run_id", "candidate_id", "pulse_id"])
def test_other_ids_may_be_missing_and_raise_as_well(recorder: Any, field: str) -> None:
    assert recorder(**{field: None})[field] is None
    assert recorder(**{field: ""})[field] is None
    assert recorder(**{field: "abc"})[field] == "abc"
    with pytest.raises(TypeError, match=f"^{field} "):
        recorder(**{field: 1.5})


def test_an_mlflow_run_id_is_written_as_mlflow_does(recorder: Any) -> None:
    assert recorder(mlflow_run_id=uuid.UUID(int=1))["mlflow_run_id"] == uuid.UUID(int=1).hex
    with pytest.raises(TypeError, match=r"^mlflow_run_id is a text, not int"):
        recorder(mlflow_run_id=7)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("succeeded", "succeeded"),
        ("FAIL", "failed"),
        (" Timed out ", "failed"),
        ("Early-Stopped", "skipped"),
        ("TrialState.PRUNED", "skipped"),
        (State.FAIL, "failed"),
        (optuna.trial.TrialState.FAIL, "failed"),
        (optuna.trial.TrialState.COMPLETE, "succeeded"),
        (None, "succeeded"),
    ],
)
def test_a_status_is_any_word_that_the_processor_knows(recorder: Any, value: Any, status: str) -> None:
    assert recorder(status=value)["status"] == status


@pytest.mark.parametrize(
    ("value", "error"),
    [("exploded", ValueError), ("running", ValueError), (State.RUNNING, ValueError), (1, TypeError), ("", ValueError)],
)
def test_any_other_word_raises_and_names_the_field(recorder: Any, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^status "):
        recorder(status=value)


def test_without_a_status_an_error_means_that_it_failed(recorder: Any) -> None:
    assert recorder(status=None, error_message="diverged")["status"] == "failed"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        ({}, {}),
        (0.0, {"value": 0.0}),
        (np.float32(0.5), {"value": 0.5}),
        ([0.5, 0.25], {"values": [0.5, 0.25]}),
        (np.array([0.5, 0.25]), {"values": [0.5, 0.25]}),
        (pd.Series({"loss": 0.5}), {"loss": 0.5}),
        ({1: "a", "1": "b"}, {"1": "a", "1#2": "b"}),
        ({np.int64(3): 0.5}, {"3": 0.5}),
    ],
)
@pytest.mark.parametrize("field", ["metrics", "parameters"])
def test_metrics_and_parameters_are_maps_of_whatever_is_passed(
    recorder: Any, field: str, value: Any, expected: Any
) -> None:
    assert recorder(**{field: value})[field] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ((), []),
        ("text", ["text"]),
        (["a", "b"], ["a", "b"]),
        (ValueError("diverged"), ["ValueError: diverged"]),
        ([ValueError("diverged"), KeyError()], ["ValueError: diverged", "KeyError"]),
        ((text for text in ("a", "b")), ["a", "b"]),
        (np.array(["a", "b"]), ["a", "b"]),
        (pd.Series(["a"]), ["{'0': 'a'}"]),
        (7, ["7"]),
        ([None, 7], ["None", "7"]),
    ],
)
def test_warnings_are_a_list_of_texts(recorder: Any, value: Any, expected: list[str]) -> None:
    assert recorder(warnings=value)["warnings"] == expected


def test_warnings_that_python_caught_say_their_message(recorder: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("did not converge", RuntimeWarning, stacklevel=1)
    assert recorder(warnings=caught)["warnings"] == ["RuntimeWarning: did not converge"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (840, 840),
        (840.5, 841),
        (np.float32(2.0), 2),
        (np.int64(2), 2),
        (Decimal("2.4"), 2),
        (timedelta(seconds=2), 2000),
        ("12", 12),
        (None, None),
        (2**62 + 1, 2**62 + 1),
    ],
)
@pytest.mark.parametrize("field", ["duration_ms", "rank"])
def test_a_count_is_rounded(recorder: Any, field: str, value: Any, expected: Any) -> None:
    found = recorder(**{field: value})
    assert (found[field], found["warnings"]) == (expected, [])


@pytest.mark.parametrize("value", [math.nan, np.nan, pd.NA, -5, math.inf, "soon", [1], object(), 2**63])
@pytest.mark.parametrize("field", ["duration_ms", "rank"])
def test_what_is_no_count_is_left_out_and_told(recorder: Any, field: str, value: Any) -> None:
    found = recorder(**{field: value})
    assert found[field] is None
    assert field in found["warnings"][-1]


def test_an_exception_says_why_a_trial_failed(recorder: Any) -> None:
    try:
        raise RuntimeError("out of memory")
    except RuntimeError as error:
        caught = error
    found = recorder(status="failed", error_message=caught, error_type=type(caught), stacktrace=caught)
    assert (found["error_message"], found["error_type"]) == ("out of memory", "RuntimeError")
    assert "test_an_exception_says_why" in found["stacktrace"]
    assert "test_an_exception_says_why" in recorder(stacktrace=caught.__traceback__)["stacktrace"]
    assert recorder(stacktrace=["line 1\n", "line 2"])["stacktrace"] == "line 1\nline 2"


def test_an_object_that_raises_when_it_is_looked_at_is_told(recorder: Any) -> None:
    class Hostile:
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            raise RuntimeError

    fields = ("metrics", "parameters", "duration_ms", "rank", "warnings", "artifact_uri", "error_message", "stacktrace")
    for name in fields:
        found = recorder(**{name: Hostile()})
        assert "RuntimeError" in found["warnings"][-1]
        decoded(found)


def test_a_report_that_is_too_large_is_cut_until_the_processor_takes_it(recorder: Any) -> None:
    """Its history is cut first; names and scalars stay, and a warning says how large it was."""
    history = {f"metric_{number}": ["0123456789" * 10] * 400 for number in range(100)}
    found = recorder(metrics={**history, "accuracy": 0.5}, parameters={"learning_rate": 0.1})
    assert len(json.dumps(found)) < MAX_BYTES + 10_000
    assert any("the report had " in one for one in found["warnings"])
    assert found["parameters"] == {"learning_rate": 0.1}
    decoded(found)


@pytest.mark.parametrize("depth", [100, 150, 185, 250, 5000])
def test_a_report_of_any_depth_is_one_that_the_processor_takes(recorder: Any, depth: int) -> None:
    held: Any = 0.5
    for _ in range(depth):
        held = {"a": held}
    decoded(recorder(metrics=held, parameters={"list": [held]}))


def test_integers_of_many_digits_and_text_that_is_none_arrive(recorder: Any) -> None:
    digits = sys.get_int_max_str_digits()
    found = decoded(recorder(metrics={"a": 10 ** (digits - 10), "b": 10 ** (digits * 2), "c": "\ud800\0"}))
    assert set(found.values["metrics"]) == {"a", "b", "c"}


def test_a_map_that_another_thread_changes_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder looks once, and if that fails the walk takes each map in one step."""
    from cerebros_client import documents

    calls = iter([RuntimeError("dictionary changed size during iteration")])
    encode = documents._encode

    def once(document: Any) -> str:
        for error in calls:
            raise error
        return encode(document)

    monkeypatch.setattr(documents, "_encode", once)
    reporter, recorder = recorded(monkeypatch)
    reporter.report("run", "trial", metrics={"accuracy": 0.5})
    assert recorder.documents[0]["metrics"] == {"accuracy": 0.5}
    reporter.close()


def test_no_two_reports_of_a_trial_have_one_timestamp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent again after a kill, the first would come behind the second; reports of different trials may share one."""
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000)
    reporter, recorder = recorded(monkeypatch)
    for trial in (1, 2, 1, 1):
        reporter.report("run", trial)
    assert [report.timestamp_ms for report in recorder.reports] == [1000, 1000, 1001, 1002]
    reporter.close()
