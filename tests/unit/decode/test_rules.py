"""Each row of the normalisation table: what is accepted and as what, what is refused, and what counts as bent."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Outcome, Reason, Rejection, TrialReport
from processor.core.numbers import read_float, to_json
from processor.core.text import brief, storable
from processor.decode.decoder import Decoder
from processor.decode.endings import NOT_FINAL, STATUSES
from processor.decode.numeric import count
from tests.factories import record


class Given(Enum):
    """Its name is the same in each of the processes that run the tests."""

    MISSING = 1


MISSING: Any = Given.MISSING
DECODE = Decoder(Catalogue.load())
NAN, INFINITY = float("nan"), float("inf")


def outcome(**fields: Any) -> Outcome:
    """What becomes of a report that has these fields and, unless they say otherwise, ids and nothing else.

    Bytes are JSON as they are.
    """
    report = {"trial_id": "trial-1", "run_id": "run-1", **fields}
    members = [
        json.dumps(name).encode() + b":" + (value if isinstance(value, bytes) else json.dumps(value).encode())
        for name, value in report.items()
        if value is not MISSING
    ]
    [only] = DECODE(record(b"{" + b",".join(members) + b"}"))
    return only


def accepted(field: str, given: Any) -> tuple[Any, tuple[str, ...]]:
    report = outcome(**{field: given})
    assert isinstance(report, TrialReport), report
    return report.values[field], report.bent


Case = tuple[str, Any, Any]
SAY_NOTHING: list[Any] = [None, "", " ", [], {}, False, 0, float("nan"), [""], [None]]
FORMS: list[Callable[[str], str]] = [str, str.upper, str.title, " {}\n".format]
#: a value of each scalar that is kept as it is
SCALARS: dict[str, Any] = {
    "trial_id": "t",
    "run_id": "r",
    "status": "skipped",
    "spectral_norm": True,
    "mlflow_run_id": "m",
    "duration_ms": 5,
    "rank": 6,
    "artifact_uri": "a",
    "pulse_id": "p",
    "candidate_id": "c",
    "error_type": "OOM",
    "stacktrace": "line 1",
}
MAPS = "metrics parameters"
NUMBERS = "duration_ms rank"
TEXTS = "artifact_uri pulse_id candidate_id"
ERRORS = "error_message error_type stacktrace"


def same(fields: str, *values: Any) -> list[Case]:
    """Cases of values that stay as they are."""
    return [(field, value, value) for field in fields.split() for value in values]


def all_to(expected: Any, fields: str, *values: Any) -> list[Case]:
    """Cases of values that all come to the same."""
    return [(field, value, expected) for field in fields.split() for value in values]


STRAIGHT: list[Case] = [
    *same("trial_id run_id", "trial-9", "ünï/коде", " ", "x" * 10_000),
    *same("status", "succeeded", "failed", "skipped", "cancelled"),
    *all_to("succeeded", "status", MISSING),
    *same("spectral_norm", True, False),
    *all_to(False, "spectral_norm", MISSING),
    *same("mlflow_run_id", "abc", None),
    *same(MAPS, {}, {"a": [1, 2.5, True, None, "x", {"b": [[]]}]}, {"a": 2**63 - 1, "b": -(2**63)}),
    *all_to({}, MAPS, MISSING),
    *same("warnings", ["slow", ""], []),
    *all_to([], "warnings", MISSING),
    *same(NUMBERS, 0, 7, 2**63 - 1, None),
    *same(TEXTS, "x", "", None),
    *same("error_type stacktrace", "out of memory", "", None),
    *same("error_message", "", None),
    *all_to({"a": Decimal(2**70 + 1), "b": Decimal(10**400)}, MAPS, {"a": 2**70 + 1, "b": 10**400}),
    *all_to(
        {"a": Decimal("0.12345678901234567890"), "b": Decimal("1E-400"), "c": Decimal("123456789.12345678901")},
        MAPS,
        b'{"a": 0.12345678901234567890, "b": 1e-400, "c": 123456789.12345678901}',
    ),
    *all_to({"a": Decimal("9" * 131_072)}, MAPS, b'{"a": %s}' % (b"9" * 131_072)),
    *all_to(None, f"{NUMBERS} {TEXTS} {ERRORS} mlflow_run_id", MISSING),
]
BENT: list[Case] = [
    *all_to("7", f"trial_id run_id {TEXTS}", 7),
    *all_to("0", f"trial_id run_id {TEXTS}", 0),
    *all_to("-3", f"trial_id run_id {TEXTS}", -3),
    *all_to(str(2**128), f"trial_id run_id {TEXTS}", 2**128),
    *all_to("succeeded", "status", None),
    *[("status", word, status) for word, status in STATUSES.items() if word != status],
    *[("status", word.upper(), status) for word, status in STATUSES.items()],
    *all_to("failed", "status", " Failed\n"),
    *[("status", f"TrialState.{word.upper()}", status) for word, status in STATUSES.items()],
    *all_to("failed", "status", "timed out", "TIMED-OUT", "optuna.trial.TrialState.FAIL", ["failed"], ["FAIL"]),
    *all_to(True, "spectral_norm", 1, 1.0, 1e0, "1", "1.0", "1e0", "+1", " 1 ", "10e-1", [1], ["1.0"], [True], ["Yes"]),
    *[("spectral_norm", form(word), True) for word in ("true", "yes", "on", "t", "y") for form in FORMS],
    *all_to(False, "spectral_norm", 0, 0.0, -0.0, "0", "0.0", "-0", "0e5", None, [0], ["no"], [False], [None]),
    *[("spectral_norm", form(word), False) for word in ("false", "no", "off", "f", "n") for form in FORMS],
    *[(field, [value], value) for field, value in SCALARS.items()],
    *all_to({}, MAPS, None),
    *all_to({"a": ["NaN", "Infinity", {"b": "-Infinity"}]}, MAPS, {"a": [NAN, INFINITY, {"b": -INFINITY}]}),
    *all_to({"a�": "b��c"}, MAPS, {"a\0": "b\0\ud800c"}),
    *all_to({"a": "Infinity", "b": "-Infinity", "c": 0}, MAPS, b'{"a": 1e131072, "b": -1e999999999, "c": 1e-16384}'),
    *all_to({"a": Decimal("0." + "3" * 16383)}, MAPS, b'{"a": 0.%s}' % (b"3" * 17_000)),
    *all_to([], "warnings", None),
    *all_to(["slow"], "warnings", "slow"),
    *all_to(["5"], "warnings", 5),
    *all_to(['{"a":1}'], "warnings", {"a": 1}),
    *all_to(["a", "1", "null", "true", '["b",{}]'], "warnings", ["a", 1, None, True, ["b", {}]]),
    *all_to(["NaN"], "warnings", NAN, [NAN]),
    *all_to(["�"], "warnings", "\0", ["\ud800"]),
    *all_to(0, NUMBERS, -0.0, 0.4, 0.49999999999999994, "0", "-0", "0.4"),
    *all_to(1, NUMBERS, 0.5, 1.4, "1", " 1\n", "+1", "1.4", ".5", "1e0"),
    *all_to(3, NUMBERS, 2.5, 3.0, "2.5", "300e-2"),
    *all_to(4503599627370497, NUMBERS, 4503599627370497.0, "4503599627370497"),
    *all_to(2**63 - 1, NUMBERS, "9223372036854775807"),
    *all_to("s3://�", TEXTS, "s3://\0", "s3://\udfff"),
    *all_to('{"code":137}', "error_type stacktrace", {"code": 137}),
    *all_to('["a",null]', "error_type stacktrace", ["a", None]),
    *all_to("137", "error_type stacktrace", 137),
    *all_to("false", ERRORS, False),
    *all_to("NaN", ERRORS, NAN),
    *all_to("a�", "error_type stacktrace", "a\0", "a\ud800"),
]
REFUSED: list[Case] = [
    *all_to(Reason.MISSING_TRIAL_ID, "trial_id", MISSING, None, ""),
    *all_to(Reason.MISSING_RUN_ID, "run_id", MISSING, None, ""),
    *all_to(
        Reason.INVALID_ID, "trial_id run_id", "a\0", "a\ud800", 1.5, 1e400, True, False, [["a"]], ["a", "b"], [], {}
    ),
    *all_to(
        Reason.INVALID_ID, "trial_id run_id", {}, NAN, b"1e400", b"12345678901234567890.5", b"9" * 5000, "a\u2028\0b"
    ),
    *all_to(Reason.UNKNOWN_STATUS, "status", "done", "", "succeede", "suc ceeded", "failed\0", 1, True, [], {}, ["x"]),
    *all_to(Reason.UNKNOWN_STATUS, "status", "TrialState.", ".FAIL", "3.FAIL", "fail.", "x" * 10**6, "a." * 10**5, NAN),
    *all_to(
        Reason.NOT_FINAL, "status", *sorted(NOT_FINAL), "RUNNING", "TrialState.WAITING", ["running"], "in progress"
    ),
    *all_to(Reason.INVALID_TYPE, f"mlflow_run_id {TEXTS}", 1.5, True, [], {}, NAN, INFINITY, 1e300),
    *all_to(Reason.NOT_A_MAP, MAPS, [], "a", "", "{}", 1, 1.5, False, NAN),
    *all_to(Reason.INVALID_NUMBER, NUMBERS, -1, -0.1, "-1", True, [], {}, 2**63, 1e19, INFINITY, -INFINITY),
    *all_to(Reason.INVALID_NUMBER, NUMBERS, [1, 2], [["1"]], b"1e400", b"-0.500000000000000000001", b"9" * 5000),
    *all_to(Reason.INVALID_NUMBER, NUMBERS, "", "x", "1 2", "1_000", "Infinity", "0x1", "٣", "1e999", "9" * 41),
    *all_to(Reason.INVALID_NUMBER, NUMBERS, "9223372036854775808", "1e", ".", "--1"),
    *all_to(Reason.INVALID_TYPE, "mlflow_run_id", 5, 2**70),
]


@pytest.mark.parametrize(("field", "given", "expected"), STRAIGHT)
def test_a_value_as_the_schema_wants_it_is_kept_and_is_not_bent(field: str, given: Any, expected: Any) -> None:
    assert (expected, ()) == accepted(field, given)


@pytest.mark.parametrize(("field", "given", "expected"), BENT)
def test_a_loose_value_is_bent_and_counted_once(field: str, given: Any, expected: Any) -> None:
    value, bent = accepted(field, given)
    assert (expected, type(expected), (field,)) == (value, type(value), bent)


@pytest.mark.parametrize(("field", "given", "reason"), REFUSED)
def test_what_cannot_be_bent_is_rejected_with_its_field_and_a_sentence(field: str, given: Any, reason: Reason) -> None:
    rejection = outcome(**{field: given})
    assert isinstance(rejection, Rejection)
    assert (reason, field, 0) == (rejection.reason, rejection.path, rejection.index)
    assert 10 < len(rejection.detail) < 250


def test_every_field_of_the_schema_is_in_the_content_and_a_missing_one_has_its_default() -> None:
    report = outcome()
    assert isinstance(report, TrialReport)
    expected = {
        "trial_id": "trial-1",
        "run_id": "run-1",
        "status": "succeeded",
        "spectral_norm": False,
        "mlflow_run_id": None,
        "metrics": {},
        "parameters": {},
        "warnings": [],
        "duration_ms": None,
        "rank": None,
        "artifact_uri": None,
        "pulse_id": None,
        "candidate_id": None,
        "error_message": None,
        "error_type": None,
        "stacktrace": None,
    }
    assert expected == report.values


Fields = dict[str, Any]
#: what a report holds, what its fields come to, what is left over
MORE: list[tuple[str, Fields, Fields, Any]] = [
    # nothing is lost that was bent to a default
    *[
        (f"spectral_norm {value!r:.20}", {"spectral_norm": value}, {"spectral_norm": False}, {"spectral_norm": value})
        for value in ("maybe", "", 2, -1, 1.5, "1.5", [], [1, 1], ["x"], {"a": 1}, "null", "yess")
    ],
    ("spectral_norm NaN", {"spectral_norm": NAN}, {"spectral_norm": False}, {"spectral_norm": "NaN"}),
    ("a huge norm", {"spectral_norm": b"1e400"}, {"spectral_norm": False}, {"spectral_norm": Decimal("1e400")}),
    ("a NUL for a norm", {"spectral_norm": "\0"}, {"spectral_norm": False}, {"spectral_norm": "�"}),
    ("rank NaN", {"rank": NAN}, {"rank": None}, {"rank": "NaN"}),
    ("rank [NaN]", {"rank": [NAN]}, {"rank": None}, {"rank": ["NaN"]}),
    ("rank 'nan'", {"rank": "nan"}, {"rank": None}, {"rank": "nan"}),
    ("duration NaN", {"duration_ms": NAN}, {"duration_ms": None}, {"duration_ms": "NaN"}),
    ("duration_s NaN", {"duration_s": NAN}, {"duration_ms": None}, {"duration_s": "NaN"}),
    ("no mlflow run", {"mlflow_run_id": ""}, {"mlflow_run_id": None}, {"mlflow_run_id": ""}),
    # null says nothing that could be lost
    ("nulls", {"spectral_norm": None, "rank": None, "metrics": None}, {"spectral_norm": False, "metrics": {}}, None),
    # how a trial without a status ended: by its event, its state, its error
    *[
        (f"event {event}, status {given!r}", {"event": event, "status": given}, {"status": status}, {"event": event})
        for event, status in (("ml.trial.complete", "succeeded"), ("ml.trial.failed", "failed"))
        for given in (MISSING, None, [None])
    ],
    ("a status before the event", {"event": "ml.trial.complete", "status": "x.FAIL"}, {"status": "failed"}, ...),
    ("the event before a state", {"event": "ml.trial.failed", "state": "COMPLETE"}, {"status": "failed"}, ...),
    ("a boxed event", {"event": ["ml.trial.failed"]}, {"status": "failed"}, {"event": ["ml.trial.failed"]}),
    *[(f"state {word}", {"state": word}, {"status": status}, {"state": word}) for word, status in STATUSES.items()],
    ("state TrialState.FAIL", {"state": "TrialState.FAIL"}, {"status": "failed"}, {"state": "TrialState.FAIL"}),
    ("state before an error", {"state": "PRUNED", "error": "x"}, {"status": "skipped", "error_message": "x"}, ...),
    ("state null", {"state": None}, {"status": "succeeded"}, {"state": None}),
    ("error_message", {"error_message": "oom"}, {"status": "failed", "error_message": "oom"}, None),
    ("error_message and null", {"error_message": "oom", "status": None}, {"status": "failed"}, None),
    ("error", {"error": "oom"}, {"status": "failed", "error_message": "oom"}, None),
    ("exception", {"exception": "oom"}, {"status": "failed", "error_message": "oom"}, None),
    ("error {}", {"error": {"code": 137}}, {"status": "failed", "error_message": '{"code":137}'}, None),
    ("a boxed error", {"error": ["oom"]}, {"status": "failed", "error_message": "oom"}, None),
    ("success with an error", {"error": "x", "status": "ok"}, {"status": "succeeded", "error_message": "x"}, None),
    ("two errors", {"error": "a", "exception": "b"}, {"error_message": "a"}, {"exception": "b"}),
    ("error beside error_message", {"error": "a", "error_message": "b"}, {"error_message": "b"}, {"error": "a"}),
    *[
        (f"{name} {value!r}", {name: value}, {"status": "succeeded"}, ...)
        for name in ("error", "error_message", "exception")
        for value in SAY_NOTHING
    ],
    # other names
    *[
        (name, {name: {"lr": 1}}, {"parameters": {"lr": 1}}, None)
        for name in ("params", "hyperparameters", "hyperparams")
    ],
    ("params and null", {"params": {"a": 1}, "parameters": None}, {"parameters": {"a": 1}}, None),
    ("params beside parameters", {"params": {"a": 1}, "parameters": {}}, {"parameters": {}}, {"params": {"a": 1}}),
    ("params null", {"params": None}, {"parameters": {}}, {"params": None}),
    ("two of them", {"params": {"a": 1}, "hyperparams": {}}, {"parameters": {"a": 1}}, {"hyperparams": {}}),
    ("value", {"value": 0.5}, {"metrics": {"value": 0.5}}, None),
    ("values", {"values": [1, 2]}, {"metrics": {"values": [1, 2]}}, None),
    ("value and metrics", {"value": 1, "metrics": {"a": 2}}, {"metrics": {"a": 2, "value": 1}}, None),
    ("value twice", {"value": 1, "metrics": {"value": 2}}, {"metrics": {"value": 2}}, {"value": 1}),
    ("value null", {"value": None}, {"metrics": {}}, {"value": None}),
    ("value and null", {"value": NAN, "metrics": None}, {"metrics": {"value": "NaN"}}, None),
    *[
        (f"{name} {value!r}", {name: value}, {"duration_ms": expected}, None)
        for name in ("duration_s", "duration_seconds", "training_time_sec")
        for value, expected in ((2, 2000), (1.5, 1500), (0.0004, 0), (0.0005, 1), ("12.5", 12500), ([3], 3000))
    ],
    ("duration_ms first", {"duration_s": 1, "duration_ms": 7}, {"duration_ms": 7}, {"duration_s": 1}),
    ("duration_s and null", {"duration_s": 1, "duration_ms": None}, {"duration_ms": 1000}, None),
    ("number of a study", {"trial_id": MISSING, "run_id": "s", "number": 3, "study_name": "s"}, {"trial_id": "3"}, ...),
    ("boxed number", {"trial_id": MISSING, "run_id": "s", "number": [3], "study_name": ["s"]}, {"trial_id": "3"}, ...),
    ("Optuna", {"trial_id": MISSING, "run_id": MISSING, "number": 0, "study_name": "s"}, {"run_id": "s"}, ...),
    ("study_name", {"run_id": MISSING, "study_name": "s"}, {"run_id": "s"}, {"study_name": "s"}),
    ("study_id", {"run_id": MISSING, "study_id": 4}, {"run_id": "4"}, {"study_id": 4}),
    ("study_name last", {"study_name": "s"}, {"run_id": "run-1"}, {"study_name": "s"}),
]


@pytest.mark.parametrize(("fields", "expected", "extra"), [case[1:] for case in MORE], ids=[case[0] for case in MORE])
def test_a_field_is_read_wherever_it_stands_and_what_came_is_kept(fields: Fields, expected: Fields, extra: Any) -> None:
    report = outcome(**fields)
    assert isinstance(report, TrialReport), report
    values = report.values
    assert {name: (values[name], type(values[name])) for name in expected} == {
        name: (value, type(value)) for name, value in expected.items()
    }
    if extra is not ...:
        assert extra == report.extra


ODD_EVENTS: list[Any] = ["ml.trial.completed", "ML.TRIAL.COMPLETE", "", 1, {}, ["a", "b"], True]
WRONG: list[tuple[str, Fields, Reason, str]] = [
    *[(f"event {other!r}", {"event": other}, Reason.UNKNOWN_EVENT, "event") for other in ODD_EVENTS],
    ("state running", {"state": "RUNNING"}, Reason.NOT_FINAL, "state"),
    ("state unknown", {"state": "CA"}, Reason.UNKNOWN_STATUS, "state"),
    ("state 3", {"state": 3}, Reason.UNKNOWN_STATUS, "state"),
    ("state ''", {"state": ""}, Reason.UNKNOWN_STATUS, "state"),
    *[(f"{name} a list", {name: [1]}, Reason.NOT_A_MAP, name) for name in ("params", "hyperparams")],
    ("duration_s -1", {"duration_s": -1}, Reason.INVALID_NUMBER, "duration_s"),
    ("duration_s inf", {"duration_s": INFINITY}, Reason.INVALID_NUMBER, "duration_s"),
    ("duration_s x", {"duration_s": "x"}, Reason.INVALID_NUMBER, "duration_s"),
    ("duration_s too long", {"duration_s": 2**62}, Reason.INVALID_NUMBER, "duration_s"),
    ("a number alone", {"trial_id": MISSING, "number": 3}, Reason.MISSING_TRIAL_ID, "trial_id"),
    ("of another study", {"trial_id": MISSING, "number": 3, "study_name": "s"}, Reason.MISSING_TRIAL_ID, "trial_id"),
    ("a broken number", {"trial_id": None, "number": 1.5, "study_name": "run-1"}, Reason.INVALID_ID, "number"),
    ("study_name {}", {"run_id": None, "study_name": {}}, Reason.INVALID_ID, "study_name"),
]


@pytest.mark.parametrize(("fields", "reason", "path"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_read_elsewhere_is_refused_with_the_name_of_that_place(
    fields: Fields, reason: Reason, path: str
) -> None:
    rejection = outcome(**fields)
    assert isinstance(rejection, Rejection), rejection
    assert (reason, path) == (rejection.reason, rejection.path)


def test_an_unknown_status_names_the_four_and_stays_one_line() -> None:
    rejection = outcome(status="gre\nat\u2028")
    assert isinstance(rejection, Rejection)
    assert rejection.detail.endswith("is no status; they are succeeded, failed, skipped, cancelled")
    assert len(rejection.detail) < 100
    assert len(rejection.detail.splitlines()) == 1


def test_several_bent_fields_are_each_counted_once() -> None:
    report = outcome(trial_id=2**70, warnings=NAN, metrics={"a": NAN}, rank="1", status=None, own="\0")
    assert isinstance(report, TrialReport)
    expected = ["metrics", "rank", "status", "trial_id", "warnings"]
    assert expected == sorted(report.bent)


@pytest.mark.parametrize(("levels", "fits"), [(199, True), (200, True), (201, False), (3000, False)])
@pytest.mark.parametrize("field", ["metrics", "own"])
def test_a_value_may_nest_200_levels_and_no_more(field: str, levels: int, fits: bool) -> None:
    value = b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    [only] = DECODE(record(b'{"trial_id": "t", "run_id": "r", "%s": %s}' % (field.encode(), value)))
    if fits:
        assert isinstance(only, TrialReport)
        assert json.loads(value) == (only.values.get(field) or (only.extra or {})[field])
    else:
        assert isinstance(only, Rejection)
        assert (Reason.TOO_DEEP, field) == (only.reason, only.path)


@given(st.floats(0, 2.0**53))
def test_a_float_is_rounded_to_the_nearest_integer(number: float) -> None:
    rounded = count(number)
    assert rounded is not None
    assert abs(Fraction(rounded) - Fraction(number)) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NAN, '"NaN"'),
        (10**30, "1" + "0" * 30),
        ("a\ud800", '"a�"'),
        (["x" * 100], '["' + "x" * 57 + "…"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
    ],
)
def test_a_sentence_names_any_value_in_brief(value: Any, expected: str) -> None:
    assert expected == brief(value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**300])
def test_an_integer_beyond_64_bits_keeps_its_digits(number: int) -> None:
    assert (number, Decimal) == (storable(number), type(storable(number)))
    assert str(number).encode() == to_json(storable(number))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.50", 1.5),
        ("1e5", 100000.0),
        ("0.1", 0.1),
        ("-0.0", 0.0),
        ("1E+308", 1e308),
        ("5e-324", 5e-324),
        ("0.30000000000000004", 0.1 + 0.2),
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        ("12345678901234567.5", Decimal("12345678901234567.5")),
        ("1e309", Decimal("1e309")),
        ("1e-325", Decimal("1e-325")),
        ("1.5e131071", Decimal("1.5e131071")),
        ("1e131072", "Infinity"),
        ("-1e131072", "-Infinity"),
        ("1e9999999999999999999999", "Infinity"),
        ("1e-16383", Decimal("1e-16383")),
        ("1e-16384", 0),
        ("1.00000000005e-16383", Decimal("1e-16383")),
        ("1e-9999999999999999999999", 0),
        ("0e-99999999999999999999999", 0),
    ],
)
def test_a_number_has_all_its_digits_where_jsonb_holds_them(text: str, expected: Any) -> None:
    value = storable(read_float(text))
    assert (expected, type(expected) if expected else value) == (value, type(value) if expected else value)


def test_numbers_that_stand_for_more_digits_than_anybody_could_read_reject_their_report() -> None:
    """131,072 digits in 8 bytes: a report of 1 MiB would be 16 GB of text for everybody who selects it."""
    few, many = (outcome(metrics=b'{"a": [%s]}' % b",".join([b"1e131071"] * number)) for number in (7, 9))
    assert isinstance(few, TrialReport)
    assert isinstance(many, Rejection)
    assert (many.reason, "stand for 1179648 digits" in many.detail) == (Reason.TOO_LARGE, True)


def test_a_storable_value_is_not_changed() -> None:
    value = {"a": [1, -(2**63), 2.5, "é😀", True, None, {"": []}]}
    assert json.dumps(value) == json.dumps(storable(value))
