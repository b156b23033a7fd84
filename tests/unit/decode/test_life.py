"""The life of runs and the progress of trials: by event or by schema, by the same rules as a trial's report."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Outcome, Progress, Reason, Rejection, RunReport, TrialReport
from processor.decode.decoder import Decoder
from processor.decode.numeric import metric_value, step
from processor.decode.refused import Refused
from processor.decode.rules import LONGEST_METRIC_NAME
from tests.factories import record

CATALOGUE = Catalogue.load()
DECODE = Decoder(CATALOGUE)
START: dict[str, Any] = {
    "event": "ml.run.start",
    "model_run_id": "r",
    "requested_trials": 12,
    "search_space_version": 2,
}
STOP: dict[str, Any] = {"event": "ml.run.stop", "model_run_id": "r", "state": "completed", "completed_trials": 12}
TRIAL: dict[str, Any] = {"event": "ml.trial.start", "run_id": "r", "trial_id": "t", "spectral_norm": True}
METRIC: dict[str, Any] = {"event": "ml.run.metric", "run_id": "r", "trial_id": "t", "metric_name": "loss"}
METRIC |= {"metric_value": 0.5, "step": 3}
Fields = dict[str, Any]


def only(value: Any, decode: Decoder = DECODE, **fields: Any) -> Outcome:
    [outcome] = decode(record(value, **fields))
    return outcome


def run_report(value: Any) -> RunReport:
    outcome = only(value)
    assert isinstance(outcome, RunReport), outcome
    return outcome


def progress(value: Any) -> Progress:
    outcome = only(value)
    assert isinstance(outcome, Progress), outcome
    return outcome


def test_each_event_is_its_own_kind_of_report() -> None:
    assert run_report(START).starts
    assert not run_report(STOP).starts
    assert progress(TRIAL).starts
    assert not progress(METRIC).starts


RUNS: list[tuple[str, Fields, Fields, Fields, tuple[str, ...]]] = [
    ("a start", START, {"state": "running", "requested_trials": 12, "max_params": None}, {}, ()),
    ("a start that says so", {**START, "state": "STARTED"}, {"state": "running"}, {}, ("state",)),
    ("numbers as text", {**START, "max_params": "7.5"}, {"max_params": 8}, {}, ("max_params",)),
    ("all of a plan", {**START, "budget": {"gpu": [1, None]}, "tau": 0.1, "pulse_id": 7},
     {"budget": {"gpu": [1, None]}, "tau": 0.1, "pulse_id": "7"}, {}, ("pulse_id",)),
    ("parameters elsewhere", {**START, "params": {"a": 1}}, {"parameters": {"a": 1}}, {}, ("parameters",)),
    ("what nobody knows", {**START, "own": [1]}, {}, {"own": [1]}, ()),
    ("what a stop says", {**START, "best_metric": 0.5}, {}, {"best_metric": 0.5}, ()),
    ("a stop", STOP, {"state": "succeeded", "completed_trials": 12, "best_metric": None}, {}, ("state",)),
    ("a stop by status", {**STOP, "state": None, "status": "timeout"}, {"state": "failed"},
     {"status": "timeout"}, ("state",)),
    ("a stop by its error", {**STOP, "state": None, "error": "oom"}, {"state": "failed", "error_message": "oom"}, {},
     ("state", "error_message")),
    ("no best", {**STOP, "best_metric": float("nan")}, {"best_metric": None}, {"best_metric": "NaN"},
     ("state", "best_metric")),
    ("in boxes, as R writes", {"event": ["ml.run.stop"], "run_id": ["r"], "state": ["killed"], "duration_s": [2]},
     {"state": "cancelled", "duration_ms": 2000}, {}, ("run_id", "state", "duration_ms")),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected", "rest", "bent"), [case[1:] for case in RUNS], ids=[c[0] for c in RUNS])
def test_what_a_run_says_is_read_by_rule_and_the_rest_is_kept(
    value: Fields, expected: Fields, rest: Fields, bent: tuple[str, ...]
) -> None:
    report = run_report(value)
    assert (report.run_id, report.rest) == ("r", rest)
    assert {name: report.content[name] for name in expected} == expected
    assert sorted(bent) == sorted(report.bent)


PROGRESS: list[tuple[str, Fields, Fields, Fields, tuple[str, ...]]] = [
    ("a start", TRIAL, {"spectral_norm": True, "parameters": {}}, {}, ()),
    ("a start that does not say", {**TRIAL, "spectral_norm": None}, {"spectral_norm": None}, {}, ()),
    ("a word for it", {**TRIAL, "spectral_norm": "On"}, {"spectral_norm": True}, {}, ("spectral_norm",)),
    ("no word for it", {**TRIAL, "spectral_norm": "maybe"}, {"spectral_norm": None}, {"spectral_norm": "maybe"},
     ("spectral_norm",)),
    ("a number for an id", {**TRIAL, "trial_id": 7, "hyperparams": {"lr": 0.1}},
     {"trial_id": "7", "parameters": {"lr": 0.1}}, {}, ("trial_id", "parameters")),
    ("a metric", METRIC, {"metric_name": "loss", "metric_value": 0.5, "step": 3}, {}, ()),
    ("a whole value", {**METRIC, "metric_value": 3}, {"metric_value": 3}, {}, ()),
    ("a value as text", {**METRIC, "metric_value": " 1e-3 "}, {"metric_value": 0.001}, {}, ("metric_value",)),
    ("an infinity as text", {**METRIC, "metric_value": "-Infinity"}, {"metric_value": -math.inf}, {},
     ("metric_value",)),
    ("beyond a double", {**METRIC, "metric_value": 10**400}, {"metric_value": math.inf}, {}, ("metric_value",)),
    ("no step", {**METRIC, "step": None, "own": 1}, {"step": None}, {"own": 1}, ()),
    ("a step as a double", {**METRIC, "step": 4.0}, {"step": 4}, {}, ("step",)),
    ("a step as text", {**METRIC, "step": "5"}, {"step": 5}, {}, ("step",)),
    ("a missing step of pandas", {**METRIC, "step": float("nan")}, {"step": None}, {"step": "NaN"}, ("step",)),
    ("a name that is a number", {**METRIC, "metric_name": 5}, {"metric_name": "5"}, {}, ("metric_name",)),
    ("what a start says", {**METRIC, "spectral_norm": True}, {}, {"spectral_norm": True}, ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected", "rest", "bent"), [case[1:] for case in PROGRESS], ids=[c[0] for c in PROGRESS]
)
def test_what_a_trial_says_before_it_ends_is_read_by_rule_and_the_rest_is_kept(
    value: Fields, expected: Fields, rest: Fields, bent: tuple[str, ...]
) -> None:
    report = progress(value)
    assert {name: report.content[name] for name in expected} == expected
    assert rest == report.rest
    assert sorted(bent) == sorted(report.bent)


@given(
    st.fixed_dictionaries(
        {
            "trial_id": st.sampled_from(["t", "", 7, "x" * 300]),
            "metric_name": st.sampled_from(["loss", "", 5, "m" * 251, "\u00fc"]),
            "metric_value": st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.sampled_from(["1", None, True])),
        },
        optional={
            "run_id": st.sampled_from(["r", "", None]),
            "model_run_id": st.sampled_from(["q", None]),
            "step": st.one_of(st.integers(-1, 2**64), st.sampled_from([None, 3.0, "3"])),
            "own": st.just(1),
        },
    ),
    st.sampled_from([b"key", b'"key"', None]),
)
def test_the_fast_way_of_a_metric_makes_what_the_thorough_way_makes(fields: Fields, key: bytes | None) -> None:
    """An event in a box never goes the fast way."""
    outcome = only({"event": "ml.run.metric", **fields}, key=key)
    expected = only({"event": ["ml.run.metric"], **fields}, key=key)
    assert type(outcome) is type(expected)
    if isinstance(expected, Progress):
        assert isinstance(outcome, Progress)
        made = [(*(one.content[name] for name in ("run_id", "trial_id", "metric_name", "step")),
                 repr(float(one.content["metric_value"])), one.rest, one.schema_version)
                for one in (outcome, expected)]  # fmt: skip
        assert made[0] == made[1]
    else:
        assert isinstance(outcome, Rejection)
        assert isinstance(expected, Rejection)
        assert (outcome.reason, outcome.path) == (expected.reason, expected.path)


def test_not_a_number_is_a_value_of_a_metric() -> None:
    for written in (b"NaN", b'"nan"', b"[NaN]"):
        value = json.dumps(METRIC).encode().replace(b"0.5", written)
        assert math.isnan(progress(value).content["metric_value"])


WRONG: list[tuple[str, Fields, Reason, str]] = [
    ("a silent stop", {**STOP, "state": None}, Reason.UNKNOWN_STATUS, "state"),
    ("a stop that runs", {**STOP, "state": "running"}, Reason.NOT_FINAL, "state"),
    ("a status that runs", {**STOP, "state": None, "status": "RUNNING"}, Reason.NOT_FINAL, "status"),
    ("a pruned run", {**STOP, "state": "pruned"}, Reason.UNKNOWN_STATUS, "state"),
    ("a start that ended", {**START, "state": "failed"}, Reason.UNKNOWN_STATUS, "state"),
    ("a run without a name", {**START, "model_run_id": None}, Reason.MISSING_RUN_ID, "run_id"),
    ("minus one trial", {**START, "requested_trials": -1}, Reason.INVALID_NUMBER, "requested_trials"),
    ("too many parameters", {**START, "max_params": 2**31}, Reason.INVALID_NUMBER, "max_params"),
    ("parameters a list", {**START, "parameters": [1]}, Reason.NOT_A_MAP, "parameters"),
    ("a best that is a word", {**STOP, "best_metric": "good"}, Reason.INVALID_NUMBER, "best_metric"),
    ("a trial without a name", {**TRIAL, "trial_id": None}, Reason.MISSING_TRIAL_ID, "trial_id"),
    ("a metric of no trial", {**METRIC, "trial_id": ""}, Reason.MISSING_TRIAL_ID, "trial_id"),
    ("a metric without a name", {**METRIC, "metric_name": None}, Reason.MISSING_METRIC, "metric_name"),
    ("an empty name", {**METRIC, "metric_name": ""}, Reason.MISSING_METRIC, "metric_name"),
    ("a name of names", {**METRIC, "metric_name": {}}, Reason.INVALID_TYPE, "metric_name"),
    ("a name without end", {**METRIC, "metric_name": "m" * (LONGEST_METRIC_NAME + 1)}, Reason.TOO_LARGE, "metric_name"),
    ("no value", {**METRIC, "metric_value": None}, Reason.MISSING_METRIC, "metric_value"),
    ("a yes", {**METRIC, "metric_value": True}, Reason.INVALID_NUMBER, "metric_value"),
    ("a series", {**METRIC, "metric_value": [1, 2]}, Reason.INVALID_NUMBER, "metric_value"),
    ("a step back", {**METRIC, "step": -1}, Reason.INVALID_NUMBER, "step"),
    ("half a step", {**METRIC, "step": 3.5}, Reason.INVALID_NUMBER, "step"),
    ("half a step as text", {**METRIC, "step": "3.5"}, Reason.INVALID_NUMBER, "step"),
    ("a step too far", {**METRIC, "step": 2**63}, Reason.INVALID_NUMBER, "step"),
]


@pytest.mark.parametrize(("value", "reason", "path"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_cannot_be_read_is_rejected_with_its_reason_and_its_place(
    value: Fields, reason: Reason, path: str
) -> None:
    outcome = only(value)
    assert isinstance(outcome, Rejection)
    assert (reason, path) == (outcome.reason, outcome.path)


@pytest.mark.parametrize("name", ["metric_name", "metric_value"])
def test_a_metric_needs_its_name_and_its_value(name: str) -> None:
    outcome = only({key: value for key, value in METRIC.items() if key != name})
    assert isinstance(outcome, Rejection)
    assert (outcome.reason, outcome.path) == (Reason.MISSING_METRIC, name)


def test_kinds_stand_side_by_side_in_one_record_and_one_bad_one_harms_no_other() -> None:
    around = {"run_id": "r", "note": "x"}
    trials = [
        {"event": "ml.run.start"},
        {"trial_id": "t"},
        {**METRIC, "step": -1},
        METRIC,
        {**STOP, "model_run_id": "q"},
    ]
    outcomes = DECODE(record({**around, "trials": trials}))
    assert [type(one) for one in outcomes] == [RunReport, TrialReport, Rejection, Progress, RunReport]
    assert [one.index for one in outcomes] == [0, 1, 2, 3, 4]
    assert [one.rest for one in outcomes if isinstance(one, RunReport)] == [
        {"envelope": {"note": "x"}},
        {"envelope": {"run_id": "r", "note": "x"}},
    ]
    assert [type(one) for one in DECODE(record(trials[1:], key=b"r"))] == [TrialReport, Rejection, Progress, RunReport]


def test_the_event_of_an_envelope_is_that_of_its_progress() -> None:
    one = {name: value for name, value in METRIC.items() if name != "event"}
    outcomes = DECODE(record({"event": "ml.run.metric", "trials": [one, {**one, "step": 4}]}))
    assert [one.rest for one in outcomes if isinstance(one, Progress)] == [{}, {}]


AVRO: list[tuple[str, str, Fields, Fields]] = [
    ("a start", "run_report", {"run_id": "r", "state": "running", "budget": {"a": [1, {"b": None}]}}, START),
    ("a stop", "run_report", {"run_id": "r", "state": "succeeded", "completed_trials": 12}, STOP),
    ("a trial's start", "trial_progress", {"run_id": "r", "trial_id": "t", "spectral_norm": True}, TRIAL),
    ("a metric", "trial_progress",
     {"run_id": "r", "trial_id": "t", "metric_name": "loss", "metric_value": 0.5, "step": 3}, METRIC),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "datum", "like"), [case[1:] for case in AVRO], ids=[case[0] for case in AVRO])
def test_avro_by_either_mark_is_read_as_json_is(subject: str, datum: Fields, like: Fields) -> None:
    event = {"event": like["event"]}
    expected = only({**datum, **event})
    marked = only(CATALOGUE.single_object(subject, datum))
    definition = CATALOGUE.latest(subject).definition
    body = b"\0\0\0\0\7" + CATALOGUE.encode(subject, datum)
    confluent = only(body, Decoder(CATALOGUE, writer_schemas=lambda _: definition))
    for outcome in (marked, confluent):
        assert type(expected) is type(outcome)
        assert isinstance(expected, (RunReport, Progress))
        assert isinstance(outcome, (RunReport, Progress))
        assert (expected.content, expected.rest, expected.bent) == (outcome.content, outcome.rest, outcome.bent)


def test_foreign_avro_says_by_its_event_what_it_is() -> None:
    fields = [{"name": name, "type": "string"} for name in ("event", "run_id", "state")]
    writer = {"type": "record", "name": "Whatever", "fields": fields}
    outcome = only(b"\0\0\0\0\7\x16ml.run.stop\2r\x08FAIL", Decoder(CATALOGUE, writer_schemas=lambda _: writer))
    assert isinstance(outcome, RunReport)
    assert outcome.content["state"] == "failed"


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.lists(st.none()),
    )
)
def test_any_value_is_a_double_or_is_refused(value: Any) -> None:
    try:
        number = metric_value(value)
    except Refused:
        return
    assert type(number) in (int, float)
    assert float(number) == number or math.isnan(number)


@given(
    st.one_of(st.integers(), st.floats(), st.decimals(allow_nan=False, allow_infinity=False), st.text("0123456789.e-"))
)
def test_no_two_steps_become_one(value: Any) -> None:
    try:
        read = step(value)
    except Refused:
        return
    if type(read) is int:
        assert Decimal(value) == read


_WORDS = st.sampled_from(["ml.run.start", "ml.run.stop", "ml.trial.start", "ml.run.metric", "running", "failed", "NaN"])
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), _WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_NAMES = st.sampled_from(
    ["state", "status", "trial_id", "run_id", "metric_name", "metric_value", "step", "budget", "tau", "parameters",
     "best_metric", "error", "max_params", "spectral_norm", "own"]
)  # fmt: skip


@given(st.sampled_from([START, STOP, TRIAL, METRIC]), st.dictionaries(_NAMES, _VALUES, max_size=6))
def test_whatever_is_in_it_one_report_is_one_outcome_and_valid_by_its_schema(base: Fields, fields: Fields) -> None:
    outcome = only({**base, **fields})
    if isinstance(outcome, RunReport):
        assert CATALOGUE.check("run_report", outcome.content) is None
    elif isinstance(outcome, Progress):
        assert CATALOGUE.check("trial_progress", outcome.content) is None
    else:
        assert isinstance(outcome, Rejection)
