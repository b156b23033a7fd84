"""From a record to its reports: every accepted form, every kind of bad input, and what is kept beside the schema."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processor.contracts.avro.folder import find_released
from processor.contracts.catalogue import Catalogue
from processor.core.messages import Outcome, Reason, Rejection, TrialReport
from processor.decode.decoder import Decoder
from tests.factories import record, report

CATALOGUE = Catalogue.load()
DECODE = Decoder(CATALOGUE, max_report_bytes=1024 * 1024)
GOOD = {"trial_id": "good", "run_id": "run-1"}
ID = '"trial_id": "bad", "run_id": "run-1"'
OBJECT = '{"a":'


def reports_in(value: Any, **fields: Any) -> list[TrialReport]:
    outcomes = DECODE(record(value, **fields))
    assert [type(outcome) for outcome in outcomes] == [TrialReport] * len(outcomes), outcomes
    return outcomes  # type: ignore[return-value] # just looked


def the_report(value: Any, **fields: Any) -> TrialReport:
    [only] = reports_in(value, **fields)
    return only


def the_rejection(value: bytes | None, **fields: Any) -> Rejection:
    [only] = DECODE(msgspec.structs.replace(record(b"", **fields), value=value))
    assert isinstance(only, Rejection)
    return only


@pytest.mark.parametrize("form", ["single", "array", "envelope"])
def test_a_report_means_the_same_in_each_form(form: str) -> None:
    one = report(status="Failed", metrics={"a": [1.5]}, own="kept")
    value = {"single": one, "array": [one], "envelope": {"trials": [one]}}[form]
    expected, actual = the_report(one), the_report(value)
    assert (expected.values, expected.extra, 0) == (actual.values, actual.extra, actual.index)


def test_reports_keep_the_order_and_the_place_they_have_in_their_record() -> None:
    one = record({"run_id": "run-1", "trials": [{"trial_id": f"t{n}"} for n in range(5)]})
    expected = [(f"t{n}", n, one) for n in range(5)]
    assert expected == [(done.trial_id, done.index, done.record) for done in DECODE(one) if type(done) is TrialReport]


@pytest.mark.parametrize("value", [b"[]", b'{"trials": []}', b'{"trials": [], "run_id": "r", "x": 1}'])
def test_a_record_without_reports_is_no_rejection(value: bytes) -> None:
    assert DECODE(record(value)) == []


PLACES = ["report run_id", "report model_run_id", "envelope run_id", "envelope model_run_id", "header", "key"]


@pytest.mark.parametrize("nothing", ["absent", None, ""])
@pytest.mark.parametrize("first", range(len(PLACES)))
def test_the_run_id_comes_from_the_first_of_six_places_that_has_one(first: int, nothing: str | None) -> None:
    found: dict[str, Any] = {place: place if number >= first else nothing for number, place in enumerate(PLACES)}
    one: dict[str, Any] = {"trial_id": "t"}
    envelope: dict[str, Any] = {}
    for place, value in found.items():
        holder, _, name = place.partition(" ")
        if name and value != "absent":
            (one if holder == "report" else envelope)[name] = value
    key, header = (found[place].encode() if found[place] == place else b"" for place in ("key", "header"))
    value = {**envelope, "trials": [one]}
    done = the_report(value, key=key, headers=(("other", b"x"), ("run_id", None), ("run_id", header)))
    assert PLACES[first] == done.run_id == done.values["run_id"]


def test_a_loose_run_id_of_the_envelope_counts_as_bent_and_bytes_of_a_key_do_not() -> None:
    assert the_report({"run_id": 5, "trials": [{"trial_id": "t"}]}).bent == ("run_id",)
    assert the_report({"trial_id": "t"}, key=b"5").bent == ()


@pytest.mark.parametrize("where", ["key", "header"])
@pytest.mark.parametrize("raw", [b"\xff", b"a\x00b", b"\xed\xa0\x80"])
def test_a_run_id_in_bytes_that_are_no_usable_text_is_rejected(where: str, raw: bytes) -> None:
    place: dict[str, Any] = {"key": raw} if where == "key" else {"headers": (("run_id", raw),)}
    rejection = the_rejection(b'{"trial_id": "t"}', **place)
    expected = (Reason.INVALID_ID, "key" if where == "key" else "headers.run_id")
    assert expected == (rejection.reason, rejection.path)


def test_what_the_schema_does_not_know_is_kept_as_it_is() -> None:
    own = {"own": [1, {"a": None}], "": 0, "trialId": "x"}
    assert own == the_report({**GOOD, **own}).extra
    assert the_report(GOOD).extra is None


def test_a_model_run_id_beside_a_run_id_is_kept_and_one_that_was_used_is_not_kept_twice() -> None:
    assert the_report({**GOOD, "model_run_id": "other"}).extra == {"model_run_id": "other"}
    used = the_report({"trial_id": "t", "model_run_id": "mine"})
    assert (used.run_id, used.extra) == ("mine", None)


def test_what_an_envelope_holds_beside_its_reports_is_kept_with_each_of_them() -> None:
    value = {"run_id": "run-1", "model_run_id": "m", "own": {"a": 1}, "trials": [{"trial_id": 1}, {"trial_id": 2}]}
    expected = {"model_run_id": "m", "own": {"a": 1}}
    assert [expected, expected] == [done.envelope for done in reports_in(value)]
    only_ids = {"run_id": "run-1", "trials": [{"trial_id": 1}]}
    assert the_report(only_ids).envelope is None
    other_run = {"run_id": "run-1", "trials": [{"trial_id": 1, "run_id": "run-2"}]}
    assert the_report(other_run).envelope == {"run_id": "run-1"}


def test_an_envelope_is_mended_too() -> None:
    value = b'{"run_id": "r", "own": [NaN, "\\u0000"], "trials": [{"trial_id": "t"}]}'
    assert the_report(value).envelope == {"own": ["NaN", "�"]}


def test_an_envelope_that_would_be_stored_too_often_is_rejected() -> None:
    value = {"run_id": "r", "own": "x" * 1000, "trials": [{"trial_id": n} for n in range(400)]}
    assert [TrialReport] * 400 == [type(done) for done in DECODE(record(value))]
    small = Decoder(CATALOGUE, max_report_bytes=1024 * 16)
    [rejection] = small(record(value))
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.index) == (Reason.TOO_LARGE, -1)


def test_the_schema_version_is_the_oldest_that_has_all_fields_of_the_report() -> None:
    assert the_report({**GOOD, "metrics": {}, "own": 1}).schema_version == 1
    assert the_report({**GOOD, "mlflow_run_id": None}).schema_version == 2
    assert the_report({**GOOD, "spectral_norm": "true"}).schema_version == 2
    assert the_report({**GOOD, "error_message": "out of memory"}).schema_version == 3


def test_a_field_of_a_newer_schema_is_validated_by_its_file_alone(tmp_path: Path) -> None:
    newer = dict(CATALOGUE.latest("trial_report").definition)
    newer["fields"] = [
        *newer["fields"],
        {"name": "notes", "type": ["null", {"type": "array", "items": "string"}], "default": None},
    ]
    shutil.copytree(find_released(), tmp_path, dirs_exist_ok=True)
    (tmp_path / "trial_report" / "v4.avsc").write_text(json.dumps(newer))
    old, good, bad = Decoder(Catalogue.load(tmp_path))(
        record([GOOD, {**GOOD, "notes": ["a"]}, {**GOOD, "notes": ["a", 1]}])
    )
    assert isinstance(old, TrialReport)
    assert isinstance(good, TrialReport)
    assert (old.schema_version, "notes" in old.values) == (1, False)  # a default is not worth storing
    assert (good.schema_version, good.values["notes"]) == (4, ["a"])
    assert isinstance(bad, Rejection)
    assert (bad.reason, bad.path) == (Reason.SCHEMA_MISMATCH, "notes[1]")


def test_a_byte_order_mark_is_no_part_of_the_json() -> None:
    assert the_report(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()).trial_id == "good"


WHOLE: list[tuple[str, bytes | None, Reason]] = [
    ("no value", None, Reason.EMPTY_VALUE),
    ("empty value", b"", Reason.EMPTY_VALUE),
    ("not JSON", b"trial", Reason.NOT_JSON),
    ("white space", b" \n", Reason.NOT_JSON),
    ("cut off", b'{"trial_id": "t"', Reason.NOT_JSON),
    ("two documents", b"{} {}", Reason.NOT_JSON),
    ("not UTF-8", b'{"trial_id": "\xff"}', Reason.NOT_JSON),
    ("a string", b'"trial"', Reason.NOT_OBJECT),
    ("a number", b"12", Reason.NOT_OBJECT),
    ("NaN", b"NaN", Reason.NOT_OBJECT),
    ("null", b"null", Reason.NOT_OBJECT),
    ("trials an object", b'{"trials": {}}', Reason.TRIALS_NOT_LIST),
    ("trials null", b'{"trials": null}', Reason.TRIALS_NOT_LIST),
    ("envelope too deep", b'{"x":%s, "trials": [{"trial_id": 1}]}' % (b"[" * 3000 + b"]" * 3000), Reason.TOO_DEEP),
    ("a report of 5 MB", json.dumps({**GOOD, "x": "x" * 5_000_000}).encode(), Reason.TOO_LARGE),
    ("Avro cut off", b"\xc3\x01\x00", Reason.AVRO_UNREADABLE),
    ("Avro without a registry", b"\x00\x00\x00\x00\x01\x02", Reason.AVRO_UNKNOWN_SCHEMA),
    ("Avro of 5 MB", b"\xc3\x01" + b"x" * 5_000_000, Reason.TOO_LARGE),
]
ALONE: list[tuple[str, str, Reason, str]] = [
    ("a string", '"trial"', Reason.REPORT_NOT_OBJECT, ""),
    ("a list", "[]", Reason.REPORT_NOT_OBJECT, ""),
    ("null", "null", Reason.REPORT_NOT_OBJECT, ""),
    ("empty object", "{}", Reason.MISSING_TRIAL_ID, "trial_id"),
    ("trial_id empty", '{"trial_id": "", "run_id": "r"}', Reason.MISSING_TRIAL_ID, "trial_id"),
    ("NUL in trial_id", '{"trial_id": "a\\u0000", "run_id": "r"}', Reason.INVALID_ID, "trial_id"),
    ("NUL in run_id", '{"trial_id": "a", "run_id": "\\u0000"}', Reason.INVALID_ID, "run_id"),
    ("no run_id", '{"trial_id": "bad"}', Reason.MISSING_RUN_ID, "run_id"),
    ("unknown status", f'{{{ID}, "status": "great"}}', Reason.UNKNOWN_STATUS, "status"),
    ("metrics a list", f'{{{ID}, "metrics": [1]}}', Reason.NOT_A_MAP, "metrics"),
    ("negative duration", f'{{{ID}, "duration_ms": -1}}', Reason.INVALID_NUMBER, "duration_ms"),
    ("mlflow_run_id a number", f'{{{ID}, "mlflow_run_id": 7}}', Reason.INVALID_TYPE, "mlflow_run_id"),
    ("201 levels", f'{{{ID}, "metrics": {{"a": {"[" * 200}{"]" * 200}}}}}', Reason.TOO_DEEP, "metrics"),
    ("3,000 levels", f'{{{ID}, "metrics": {{"a": {"[" * 3000}{"]" * 3000}}}}}', Reason.TOO_DEEP, "metrics"),
    ("100,000 objects", f'{{{ID}, "x": {OBJECT * 100_000}1{"}" * 100_001}', Reason.TOO_DEEP, "x"),
    ("5 MB", f'{{{ID}, "x": "{"x" * 5_000_000}"}}', Reason.TOO_LARGE, ""),
    ("5 MB that is not quite JSON", f'{{{ID}, "x": ["{"x" * 5_000_000}", NaN, "\\ud800"]}}', Reason.TOO_LARGE, ""),
]  # fmt: skip


@pytest.mark.parametrize(("value", "reason"), [case[1:] for case in WHOLE], ids=[case[0] for case in WHOLE])
def test_an_unreadable_record_is_one_rejection_with_a_sentence(value: bytes | None, reason: Reason) -> None:
    rejection = the_rejection(value)
    assert (reason, -1) == (rejection.reason, rejection.index)
    assert 10 < len(rejection.detail) < 250


@pytest.mark.parametrize("form", ["envelope", "array"])
@pytest.mark.parametrize(("bad", "reason", "path"), [case[1:] for case in ALONE], ids=[case[0] for case in ALONE])
def test_a_bad_report_is_rejected_alone_and_its_neighbours_stay(bad: str, reason: Reason, path: str, form: str) -> None:
    good = json.dumps(GOOD)
    text = f"[{good}, {bad}, {good}]"
    first, rejection, last = DECODE(record((text if form == "array" else f'{{"trials": {text}}}').encode()))
    assert isinstance(rejection, Rejection)
    assert (reason, path, 1) == (rejection.reason, rejection.path, rejection.index)
    assert 10 < len(rejection.detail) < 250
    kinds: list[type[Outcome]] = [type(first), type(last)]
    assert kinds == [TrialReport, TrialReport]


def test_numbers_that_no_json_has_are_kept_beside_the_reports_too_whatever_their_name() -> None:
    own = b'"rank":NaN,"duration_ms":Infinity,"other":-Infinity,"study_id":12345678901234567890123'
    for reports in (b'[{"trial_id":"t"}]', b'[{"trial_id":"t"},{"trial_id":"u","x":NaN}]'):
        for one in DECODE(record(b'{"run_id":"r",' + own + b',"trials":' + reports + b"}")):
            assert isinstance(one, TrialReport)
            kept = {"rank": "NaN", "duration_ms": "Infinity", "other": "-Infinity"}
            assert one.envelope == kept | {"study_id": Decimal("12345678901234567890123")}
