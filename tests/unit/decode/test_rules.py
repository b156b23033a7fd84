"""Each row of the normalisation table: what is accepted and as what, what is refused, and what counts as bent."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Reason, Rejection, TrialReport
from processor.core.text import brief, storable
from processor.decode.decoder import Decoder
from processor.decode.rules import STATUSES, count
from tests.factories import record

MISSING: Any = object()
DECODE = Decoder(Catalogue.load())
NAN, INFINITY = float("nan"), float("inf")


def outcome(**fields: Any) -> TrialReport | Rejection:
    """What becomes of a report that has these fields and, unless they say otherwise, ids and nothing else."""
    report = {"trial_id": "trial-1", "run_id": "run-1", **fields}
    [only] = DECODE(record({name: value for name, value in report.items() if value is not MISSING}))
    return only


def accepted(field: str, given: Any) -> tuple[Any, tuple[str, ...]]:
    report = outcome(**{field: given})
    assert isinstance(report, TrialReport), report
    return report.values[field], report.bent


Case = tuple[str, Any, Any]
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
    *same(ERRORS, "out of memory", "", None),
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
    *all_to(True, "spectral_norm", 1, "true", "TRUE", "True"),
    *all_to(False, "spectral_norm", 0, "false", "FALSE", None, "", "yes", 2, 1.0, -1, [], [True], {"a": 1}, NAN),
    *all_to(None, "mlflow_run_id", ""),
    *all_to({}, MAPS, None),
    *all_to({"a": ["NaN", "Infinity", {"b": "-Infinity"}]}, MAPS, {"a": [NAN, INFINITY, {"b": -INFINITY}]}),
    *all_to({"a�": "b��c"}, MAPS, {"a\0": "b\0\ud800c"}),
    *all_to({"a": 2.0**70, "b": "Infinity", "c": "-Infinity"}, MAPS, {"a": 2**70 + 1, "b": 10**400, "c": -(10**400)}),
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
    *all_to('{"code":137}', ERRORS, {"code": 137}),
    *all_to('["a",null]', ERRORS, ["a", None]),
    *all_to("137", ERRORS, 137),
    *all_to("false", ERRORS, False),
    *all_to("NaN", ERRORS, NAN),
    *all_to("a�", ERRORS, "a\0", "a\ud800"),
]
REFUSED: list[Case] = [
    *all_to(Reason.MISSING_TRIAL_ID, "trial_id", MISSING, None, ""),
    *all_to(Reason.MISSING_RUN_ID, "run_id", MISSING, None, ""),
    *all_to(Reason.INVALID_ID, "trial_id run_id", "a\0", "a\ud800", 1.5, 1e400, True, False, ["a"], [], {}, NAN),
    *all_to(Reason.UNKNOWN_STATUS, "status", "done", "", "succeede", "suc ceeded", "failed\0", 1, True, ["failed"]),
    *all_to(Reason.INVALID_TYPE, f"mlflow_run_id {TEXTS}", 1.5, True, [], {}, NAN, INFINITY, 1e300),
    *all_to(Reason.NOT_A_MAP, MAPS, [], "a", "", "{}", 1, 1.5, False, NAN),
    *all_to(Reason.INVALID_NUMBER, NUMBERS, -1, -0.1, "-1", True, [], {}, 2**63, 1e19, NAN, INFINITY, -INFINITY),
    *all_to(Reason.INVALID_NUMBER, NUMBERS, "", "x", "1 2", "1_000", "NaN", "Infinity", "0x1", "٣", "1e999", "9" * 41),
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
        (10**30, "1e30"),
        ("a\ud800", '"a�"'),
        (["x" * 100], '["' + "x" * 57 + "…"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
    ],
)
def test_a_sentence_names_any_value_in_brief(value: Any, expected: str) -> None:
    assert expected == brief(value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**300])
def test_the_first_integer_beyond_64_bits_becomes_a_double(number: int) -> None:
    assert (float(number), float) == (storable(number), type(storable(number)))


def test_a_storable_value_is_not_changed() -> None:
    value = {"a": [1, -(2**63), 2.5, "é😀", True, None, {"": []}]}
    assert json.dumps(value) == json.dumps(storable(value))
