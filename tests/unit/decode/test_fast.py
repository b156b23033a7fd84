"""The short way through decode: it takes most reports, and only those that the thorough way leaves as they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from processor.contracts.avro.fast_type import Needs, fast_type
from processor.contracts.avro.folder import find_released
from processor.contracts.avro.schema import Parsed, parse
from processor.contracts.avro.validator import compile_validator
from processor.contracts.catalogue import Catalogue
from processor.core.messages import Rejection, TrialReport
from processor.decode.decoder import SUBJECT, Decoder
from processor.decode.fast import FastReader
from processor.decode.rawjson import may_need_mending
from tests.factories import record, report
from tests.unit.contracts.test_validator import schemas_with_data

CATALOGUE = Catalogue.load()
DECODE = Decoder(CATALOGUE)
PLAIN = FastReader(CATALOGUE, SUBJECT)


def as_json(value: Any) -> bytes | None:
    try:
        return json.dumps(value).encode()
    except TypeError:  # bytes, which JSON has not
        return None


@settings(max_examples=300, deadline=None)
@given(schemas_with_data())
def test_what_the_plain_type_takes_is_valid_and_stays_as_it_is(case: tuple[Any, Any, Any]) -> None:
    schema, *data = case
    parsed = parse(schema)
    for field in parsed.root["fields"]:
        type_ = fast_type(field["type"], parsed.names)
        validate = compile_validator(Parsed(field["type"], parsed.names))
        for datum in data:
            value = datum.get(field["name"]) if isinstance(datum, dict) else datum
            text = as_json(value)
            if type_ is not None and text is not None and not may_need_mending(text):
                check_plain(type_, validate, value, text)


def check_plain(type_: Any, validate: Any, value: Any, text: bytes) -> None:
    try:
        read = msgspec.json.decode(text, type=type_)
    except msgspec.DecodeError:
        return
    assert validate(value) is None
    assert (read, type(read)) == (value, type(value))


def test_every_field_of_the_latest_schema_has_a_plain_type() -> None:
    parsed = CATALOGUE.latest(SUBJECT).parsed
    missing = [field["name"] for field in parsed.root["fields"] if fast_type(field["type"], parsed.names) is None]
    assert missing == []


@pytest.mark.parametrize(
    ("avro", "needs", "taken", "refused"),
    [
        ("string", Needs(length=1), ['"x"'], ['""', "1", "null"]),
        ("long", Needs(least=0), ["0", "9223372036854775807"], ["-1", "9223372036854775808", "1.0", '"1"', "true"]),
        ("int", Needs(), ["-2147483648"], ["2147483648"]),
        (["null", "string"], Needs(length=1), ["null", '"x"'], ['""', "1"]),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, Needs(), ['"a"'], ['"c"', "null"]),
        ({"type": "array", "items": "string"}, Needs(), ["[]", '["a"]'], ["[1]", "null", '"a"']),
    ],
)
def test_a_plain_type_takes_what_schema_and_needs_allow(
    avro: Any, needs: Needs, taken: list[str], refused: list[str]
) -> None:
    parsed = parse(avro)
    read = msgspec.json.Decoder(fast_type(parsed.root, parsed.names, needs)).decode
    for text in taken:
        read(text.encode())
    for text in refused:
        with pytest.raises(msgspec.ValidationError):
            read(text.encode())


@pytest.mark.parametrize("avro", ["double", "float", "bytes", ["long", "string"], {"type": "map", "values": "long"}])
def test_a_type_that_msgspec_would_bend_has_no_plain_type(avro: Any) -> None:
    parsed = parse(avro)
    assert fast_type(parsed.root, parsed.names) is None


def shortened(value: bytes) -> bool:
    return not may_need_mending(value) and bool(PLAIN.read(value))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"metrics": {"nested": [1, {"a": None}], "text": "naïve", "quote": '"'}},
        {"warnings": ["one", "two"], "status": "failed"},
        {"mlflow_run_id": None, "rank": None, "duration_ms": None, "artifact_uri": None},
        {"metrics": {"small": 1.5e-7, "long": 2**53, "digits": 0.00012345678901234567}},
    ],
)
def test_an_ordinary_report_takes_the_short_way(fields: dict[str, Any]) -> None:
    assert shortened(json.dumps(report(**fields)).encode())


@pytest.mark.parametrize(
    "missing", ["run_id", "status", "metrics", "warnings", "rank", "spectral_norm", "mlflow_run_id"]
)
def test_an_old_or_short_report_takes_the_short_way(missing: str) -> None:
    made = report()
    del made[missing]
    assert shortened(json.dumps(made).encode())


@pytest.mark.parametrize(
    "text",
    [
        b'"metrics": {"a": 1e400}',
        b'"metrics": {"a": -1E+4000}',
        b'"metrics": {"a": 1e309 }',
        b'"metrics": {"a": 9223372036854775808}',
        b'"metrics": {"a": "\\u0000"}',
        b'"metrics": {"a": "\\ud800"}',
        b'"metrics": {"a": "\xff"}',
        b'"metrics": {"a": NaN}',
        b'"metrics": [1]',
        b'"metrics": null',
        b'"status": "COMPLETED"',
        b'"mlflow_run_id": ""',
        b'"rank": -1',
        b'"rank": 1.0',
        b'"spectral_norm": 1',
        b'"warnings": "one"',
        b'"own": 1',
        b'"metrics": ' + b'{"a":' * 201 + b"1" + b"}" * 201,
    ],
)
def test_what_has_to_be_bent_mended_or_refused_does_not_take_the_short_way(text: bytes) -> None:
    assert not shortened(b'{"trial_id": "t", "run_id": "r", %s}' % text)


def test_the_version_is_the_oldest_that_has_all_fields() -> None:
    made = report()
    del made["spectral_norm"], made["mlflow_run_id"]
    for fields, version in (({}, 1), ({"spectral_norm": False}, 2), ({"mlflow_run_id": None}, 2)):
        [one] = DECODE(record({**made, **fields}))
        assert isinstance(one, TrialReport)
        assert (one.schema_version, one.content["spectral_norm"], one.content["mlflow_run_id"]) == (
            version,
            False,
            None,
        )


#: what is said of spectral_norm (... : nothing), and whether that reports it
SAID: list[tuple[Any, bool]] = [
    (..., False), (None, False), ([None], False), ("maybe", False), (2, False), ({}, False), ([], False),
    (False, True), (True, True), (0, True), ("no", True), ([True], True), ("1.0", True),
]  # fmt: skip


@pytest.mark.parametrize(("said", "reported"), SAID)
@pytest.mark.parametrize("more", [{}, {"error_message": "out of memory"}, {"mlflow_run_id": "m"}, {"own": 1}])
def test_whether_spectral_norm_was_reported_goes_by_what_is_said_of_it(
    said: Any, reported: bool, more: dict[str, Any]
) -> None:
    """Not by the schema's version: a report without it has a later one for its error or for its MLflow run."""
    made = {**report(), **more}
    made.pop("spectral_norm")
    if said is not ...:
        made["spectral_norm"] = said
    for value in (made, {"trials": [made]}):
        [one] = DECODE(record(value))
        assert isinstance(one, TrialReport)
        assert one.spectral_norm_reported is reported


@pytest.mark.parametrize(("version", "reported"), [(1, False), (2, True), (3, True)])
def test_a_schema_without_spectral_norm_does_not_report_it(version: int, reported: bool) -> None:
    [one] = DECODE(record(CATALOGUE.single_object(SUBJECT, report(), version)))
    assert isinstance(one, TrialReport)
    assert one.spectral_norm_reported is reported


def test_one_bad_report_of_an_envelope_leaves_its_neighbours_on_the_short_way() -> None:
    reports = [report(trial_id="a", run_id=None), {"trial_id": 7, "status": "nonsense"}, report(trial_id="c"), 3]
    outcomes = DECODE(record({"run_id": 12, "trials": reports}))
    assert [type(one) for one in outcomes] == [TrialReport, Rejection, TrialReport, Rejection]
    first, _, third, _ = outcomes
    assert isinstance(first, TrialReport)
    assert isinstance(third, TrialReport)
    assert (first.run_id, first.bent, third.run_id, third.envelope) == ("12", ("run_id",), "run-1", {"run_id": 12})


def test_a_later_schema_with_a_field_of_a_new_kind_is_read_all_the_same(tmp_path: Path) -> None:
    """A double has no plain type: reports with it take the thorough way, those without it the short one."""
    shutil.copytree(find_released(), tmp_path / "schemas")
    latest = dict(CATALOGUE.latest(SUBJECT).definition)
    added = {"name": "loss_floor", "type": ["null", "double"], "default": None, "doc": "x"}
    (tmp_path / "schemas" / SUBJECT / "v4.avsc").write_text(
        json.dumps({**latest, "fields": [*latest["fields"], added]})
    )
    decode = Decoder(Catalogue.load(tmp_path / "schemas"))
    [old], [new] = decode(record(report())), decode(record(report(loss_floor=0.5)))
    assert isinstance(old, TrialReport)
    assert isinstance(new, TrialReport)
    assert ("loss_floor" in old.content, new.content["loss_floor"]) == (False, 0.5)
    assert (old.schema_version, new.schema_version) == (2, 4)


@pytest.mark.parametrize("run_id", ["\0", "\ud800", 2**63, {"a": 1}, [[1]], 1.5, True])
def test_what_stands_around_the_reports_is_mended_as_ever(run_id: Any) -> None:
    """A report with a run of its own keeps what its envelope says, and that must be storable too."""
    reports = [report(trial_id="a"), report(trial_id="b")]
    one = json.dumps({"run_id": run_id, "trials": reports}).encode()
    mark = b"\xef\xbb\xbf"  # which only the thorough way reads
    quick, thorough = DECODE(record(one)), DECODE(record(mark + one))
    assert [getattr(outcome, "envelope", outcome) for outcome in quick] == [
        getattr(outcome, "envelope", outcome) for outcome in thorough
    ]


def test_an_envelope_whose_ids_would_be_stored_too_often_is_rejected() -> None:
    reports = [{"trial_id": f"t{number}", "run_id": "r"} for number in range(200)]
    for run_id in ("x" * 900_000, {"a": "x" * 900_000}):
        [one] = DECODE(record({"run_id": run_id, "trials": reports}))
        assert isinstance(one, Rejection)
        assert one.reason == "too_large"


CONTAINERS = [{"type": "array", "items": "JsonValue"}, {"type": "map", "values": "JsonValue"}]


@pytest.mark.parametrize(
    ("type_", "default", "value", "kept"),
    [
        ("parameters", {}, {}, False),
        ("parameters", {}, {"a": [1]}, True),
        ("list", [], [{"a": 1}], True),
        ("list", [], [], False),
    ],
)
def test_a_later_field_of_any_json_is_kept_unless_it_is_the_default(
    type_: str, default: Any, value: Any, kept: bool, tmp_path: Path
) -> None:
    shutil.copytree(find_released(), tmp_path / "schemas")
    latest = dict(CATALOGUE.latest(SUBJECT).definition)
    any_map = {"type": "map", "values": ["null", "boolean", "long", "double", "string", *CONTAINERS]}
    field = any_map if type_ == "parameters" else {"type": "array", "items": any_map}
    newer = {**latest, "fields": [*latest["fields"], {"name": "tags", "type": field, "default": default, "doc": "x"}]}
    (tmp_path / "schemas" / SUBJECT / "v4.avsc").write_text(json.dumps(newer))
    decode = Decoder(Catalogue.load(tmp_path / "schemas"))
    [old], [new], [bad] = decode(record(report())), decode(record(report(tags=value))), decode(record(report(tags=[5])))
    assert isinstance(old, TrialReport)
    assert isinstance(new, TrialReport)
    assert isinstance(bad, Rejection)
    assert ("tags" in old.content, "tags" in new.content) == (False, kept)
    assert not kept or new.values["tags"] == value
