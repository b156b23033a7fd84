"""Avro reports: single-object encoding from the files alone, Confluent framing with a registry's schemas."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.errors import TransientError
from processor.core.messages import Outcome, Reason, Rejection, TrialReport
from processor.decode.decoder import Decoder
from tests.factories import record

CATALOGUE = Catalogue.load()
SUBJECT = "trial_report"
REPORT: dict[str, Any] = {
    "trial_id": "trial-1",
    "run_id": "run-1",
    "status": "failed",
    "metrics": {"loss": 0.25, "layers": [1, {"k": [None, True]}]},
    "warnings": ["diverged"],
    "duration_ms": 2**40,
}
#: what stands behind each schema id of the test's registry
REGISTRY: dict[int, Any] = {schema.version: schema.definition for schema in CATALOGUE.versions(SUBJECT)} | {
    7: {"type": "record", "name": "Other", "fields": [{"name": "x", "type": "int"}]},
    8: {"type": "nonsense"},
}
FRAMINGS = ["single-object", "Confluent"]


def framed(framing: str, report: Mapping[str, Any], version: int) -> bytes:
    if framing == "single-object":
        return CATALOGUE.single_object(SUBJECT, report, version)
    return confluent(version, CATALOGUE.encode(SUBJECT, report, version))


def confluent(schema_id: int, body: bytes) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + body


def decode(value: bytes, **fields: Any) -> Outcome:
    [only] = Decoder(CATALOGUE, writer_schemas=REGISTRY.get)(record(value, **fields))
    return only


def reason_of(value: bytes) -> Reason:
    rejection = decode(value)
    assert isinstance(rejection, Rejection)
    assert len(rejection.detail) > 10
    return rejection.reason


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_report_of_any_version_is_read_as_the_latest_with_its_defaults(framing: str, version: int) -> None:
    newer = {} if version == 1 else {"spectral_norm": True, "mlflow_run_id": "m"}
    newer |= {"error_message": "out of memory"} if version == 3 else {}
    report = decode(framed(framing, REPORT | newer, version))
    assert isinstance(report, TrialReport)
    rest: dict[str, Any] = {
        "parameters": {},
        "rank": None,
        "artifact_uri": None,
        "pulse_id": None,
        "candidate_id": None,
        "error_message": None,
        "error_type": None,
        "stacktrace": None,
    }
    expected = REPORT | rest | ({"spectral_norm": False, "mlflow_run_id": None} | newer)
    assert (expected, version, (), None) == (report.values, report.schema_version, report.bent, report.extra)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_report_that_is_cut_off_anywhere_is_one_rejection(framing: str) -> None:
    value = framed(framing, REPORT, 2)
    shortest = 10 if framing == "single-object" else 5  # before it there is no schema to read it by
    expected = {Reason.AVRO_UNREADABLE}
    assert expected == {reason_of(value[:end]) for end in range(shortest, len(value))}
    assert expected == {reason_of(value[:end]) for end in range(2, shortest)}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_bytes_after_the_end_of_a_report_are_not_ignored(framing: str) -> None:
    assert reason_of(framed(framing, REPORT, 2) + b"\x00") == Reason.AVRO_UNREADABLE


def test_a_fingerprint_or_an_id_that_nobody_knows_is_a_rejection() -> None:
    value = framed("single-object", REPORT, 2)
    expected = Reason.AVRO_UNKNOWN_SCHEMA
    assert expected == reason_of(value[:2] + bytes(8) + value[10:])
    assert expected == reason_of(confluent(99, value[10:]))


def test_a_schema_of_the_registry_that_is_no_report_is_a_mismatch_and_no_schema_is_an_unknown_one() -> None:
    rejection = decode(confluent(7, b"\x02"))
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.path) == (Reason.SCHEMA_MISMATCH, "trial_id")
    assert reason_of(confluent(8, b"\x02")) == Reason.AVRO_UNKNOWN_SCHEMA


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_registry_that_is_down_is_an_outage_for_the_records_that_need_it_and_no_others(framing: str) -> None:
    def down(schema_id: int) -> None:
        raise TransientError(f"nobody knows what {schema_id} is just now")

    one = record(framed(framing, REPORT, 2))
    decoder = Decoder(CATALOGUE, writer_schemas=down)
    if framing == "Confluent":
        with pytest.raises(TransientError, match="what 2 is"):
            decoder(one)
    else:
        assert [TrialReport] == [type(outcome) for outcome in decoder(one)]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_avro_can_hold_and_postgres_cannot_is_mended_as_in_json(framing: str) -> None:
    loose = REPORT | {"metrics": {"a": float("nan"), "b\0": float("-inf")}, "warnings": ["\0"], "duration_ms": None}
    report = decode(framed(framing, loose, 2))
    assert isinstance(report, TrialReport)
    assert report.values["metrics"] == {"a": "NaN", "b�": "-Infinity"}
    assert report.values["warnings"] == ["�"]
    assert sorted(report.bent) == ["metrics", "warnings"]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("trial_id", "", Reason.MISSING_TRIAL_ID),
        ("trial_id", "\0", Reason.INVALID_ID),
        ("run_id", "", Reason.MISSING_RUN_ID),
        ("rank", -1, Reason.INVALID_NUMBER),
    ],
)
def test_what_the_avro_schema_allows_and_the_rules_refuse_is_rejected(
    framing: str, field: str, value: Any, reason: Reason
) -> None:
    rejection = decode(framed(framing, REPORT | {field: value}, 1))
    assert isinstance(rejection, Rejection)
    assert (reason, field) == (rejection.reason, rejection.path)


def test_an_avro_report_without_a_run_takes_that_of_its_key() -> None:
    report = decode(framed("single-object", REPORT | {"run_id": ""}, 2), key=b"run-of-key")
    assert isinstance(report, TrialReport)
    assert report.run_id == report.values["run_id"] == "run-of-key"


@pytest.mark.parametrize(("levels", "fits"), [(199, True), (200, True), (201, False), (3000, False)])
def test_avro_may_nest_as_deep_as_json_and_no_deeper(levels: int, fits: bool) -> None:
    deep: bytes = b"\x0a" + b"\x02\x0a" * (levels - 2) + b"\x00" * (levels - 1)  # lists of one list, the last one empty
    body = b"\x02t\x02r\x00" + b"\x02\x02a" + deep + b"\x00" + b"\x00" * 9
    value = CATALOGUE.single_object(SUBJECT, REPORT, 2)[:10] + body
    outcome = decode(value)
    if fits:
        assert isinstance(outcome, TrialReport)
        text = str(outcome.values["metrics"])
        assert levels == text.count("[") + text.count("{")
    else:
        assert isinstance(outcome, Rejection)
        assert outcome.reason == Reason.TOO_DEEP


# ---- Avro takes the same rules as JSON


def foreign(fields: list[tuple[str, Any]], body: bytes, *, union: bool = False) -> Outcome:
    """What becomes of a body that a writer of its own kind wrote, behind the two ids."""
    ids = [("trial_id", "string"), ("run_id", "string")]
    schema: Any = {"type": "record", "name": "R", "fields": [{"name": n, "type": t} for n, t in [*ids, *fields]]}
    body = (b"\x02" if union else b"") + b"\x02t\x02r" + body
    [only] = Decoder(CATALOGUE, writer_schemas=lambda _: {"type": ["null", schema]} if union else schema)(
        record(confluent(9, body))
    )
    return only


NULLABLE = ["null", "string"]
STATES = {"type": "enum", "name": "State", "symbols": ["RUNNING", "COMPLETE", "FAIL"]}
SAME: list[tuple[str, list[tuple[str, Any]], bytes, dict[str, Any], Any]] = [
    ("status null", [("status", NULLABLE)], b"\0", {"status": "succeeded"}, None),
    ("status null and an error", [("status", NULLABLE), ("error", "string")], b"\0\x02x", {"status": "failed"}, None),
    ("status a string", [("status", "string")], b"\x0cFAILED", {"status": "failed"}, None),
    ("status an enum", [("status", STATES)], b"\4", {"status": "failed"}, None),
    ("no status, an event", [("event", "string")], b"\x1eml.trial.failed", {"status": "failed"}, ...),
    ("a norm that is null", [("spectral_norm", ["null", "boolean"])], b"\0", {"spectral_norm": False}, None),
    ("a norm that is 1", [("spectral_norm", "int")], b"\2", {"spectral_norm": True}, None),
    ("a norm that is 1.0", [("spectral_norm", "double")], b"\0\0\0\0\0\0\xf0\x3f", {"spectral_norm": True}, None),
    ("a norm that is yes", [("spectral_norm", "string")], b"\6yes", {"spectral_norm": True}, None),
    ("a norm that is maybe", [("spectral_norm", "string")], b"\x0amaybe", {"spectral_norm": False},
     {"spectral_norm": "maybe"}),
    ("a fraction for a rank", [("rank", "double")], struct.pack("<d", 2.5), {"rank": 3}, None),
    ("NaN for a rank", [("rank", "double")], struct.pack("<d", float("nan")), {"rank": None}, {"rank": "NaN"}),
    ("a decimal for a rank", [("rank", {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2})],
     b"\4\0\xfa", {"rank": 3}, None),
    ("a moment", [("at", {"type": "long", "logicalType": "timestamp-millis"})], b"\x0e", {}, {"at": 7}),
    ("params", [("params", {"type": "map", "values": "int"})], b"\2\2a\2\0", {"parameters": {"a": 1}}, None),
    ("fields of its own", [("own", {"type": "array", "items": "string"}), ("more", "bytes")], b"\2\2x\0\2y", {},
     {"own": ["x"], "more": "y"}),
    ("one warning", [("warnings", "string")], b"\x02w", {"warnings": ["w"]}, None),
    ("warnings null", [("warnings", ["null", "string"])], b"\0", {"warnings": []}, None),
    ("metrics null", [("metrics", ["null", {"type": "map", "values": "double"}])], b"\0", {"metrics": {}}, None),
    ("metrics a record", [("metrics", {"type": "record", "name": "M", "fields": [{"name": "a", "type": "int"}]})],
     b"\2", {"metrics": {"a": 1}}, None),
]  # fmt: skip


@pytest.mark.parametrize("union", [False, True])
@pytest.mark.parametrize(("fields", "body", "expected", "extra"), [case[1:] for case in SAME], ids=[c[0] for c in SAME])
def test_avro_takes_the_rules_of_json(
    fields: list[tuple[str, Any]], body: bytes, expected: dict[str, Any], extra: Any, union: bool
) -> None:
    report = foreign(fields, body, union=union)
    assert isinstance(report, TrialReport), report
    assert expected == {name: report.values[name] for name in expected}
    if extra is not ...:
        assert extra == report.extra


@pytest.mark.parametrize("kind", ["int", "long"])
def test_an_integer_is_an_id_in_avro_too(kind: str) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": n, "type": kind} for n in ("trial_id", "run_id")]}
    [report] = Decoder(CATALOGUE, writer_schemas=lambda _: schema)(record(confluent(9, b"\x0e\x10")))
    assert isinstance(report, TrialReport)
    assert (report.trial_id, report.run_id, report.bent) == ("7", "8", ("trial_id", "run_id"))


DIFFERENT: list[tuple[str, list[tuple[str, Any]], bytes, Reason, str]] = [
    ("progress", [("event", "string")], b"\x1aml.run.metric", Reason.MISSING_METRIC, "metric_name"),
    ("running", [("status", STATES)], b"\0", Reason.NOT_FINAL, "status"),
    ("metrics a list", [("metrics", {"type": "array", "items": "int"})], b"\0", Reason.NOT_A_MAP, "metrics"),
    ("rank a record", [("rank", {"type": "record", "name": "M", "fields": []})], b"", Reason.INVALID_NUMBER, "rank"),
    ("items of no bytes", [("own", {"type": "array", "items": "null"})], b"\2\0", Reason.SCHEMA_MISMATCH, "own"),
    ("cut off", [("own", "string")], b"\x0aab", Reason.AVRO_UNREADABLE, ""),
]


@pytest.mark.parametrize(
    ("fields", "body", "reason", "path"), [case[1:] for case in DIFFERENT], ids=[case[0] for case in DIFFERENT]
)
def test_what_avro_holds_that_is_no_report_is_refused_as_in_json(
    fields: list[tuple[str, Any]], body: bytes, reason: Reason, path: str
) -> None:
    rejection = foreign(fields, body)
    assert isinstance(rejection, Rejection)
    assert (reason, path) == (rejection.reason, rejection.path)


def test_many_reports_in_avro_are_many_reports() -> None:
    one = {"type": "record", "name": "One", "fields": [{"name": "trial_id", "type": "string"}]}
    trials = {"name": "trials", "type": {"type": "array", "items": one}}
    envelope = {"type": "record", "name": "E", "fields": [{"name": "run_id", "type": "string"}, trials]}
    outcomes = Decoder(CATALOGUE, writer_schemas=lambda _: envelope)(record(confluent(9, b"\2r\4\2a\2b\0")))
    assert [(each.run_id, each.trial_id, each.index) for each in outcomes if isinstance(each, TrialReport)] == [
        ("r", "a", 0),
        ("r", "b", 1),
    ]


@pytest.mark.parametrize("body", [b"\0", b"\2\2x"])
def test_a_datum_that_is_no_record_is_told(body: bytes) -> None:
    [one] = Decoder(CATALOGUE, writer_schemas=lambda _: {"type": ["null", "string"]})(record(confluent(9, body)))
    assert isinstance(one, Rejection)
    assert (one.reason, one.index) == (Reason.NOT_OBJECT, -1)


def test_avro_that_begins_and_ends_like_json_is_avro() -> None:
    """-62 and -63, whose bytes are those of a brace."""
    fields = [
        {"name": "number", "type": "long"},
        {"name": "study_name", "type": "string"},
        {"name": "z", "type": "long"},
    ]
    schema = {"type": "record", "name": "R", "fields": fields}
    [report] = Decoder(CATALOGUE, writer_schemas=lambda _: schema)(record(confluent(9, b"{\2s}")))
    assert isinstance(report, TrialReport)
    assert (report.run_id, report.trial_id, report.extra) == ("s", "-62", {"study_name": "s", "z": -63})


LONG = "n" * 20_000
#: items of one byte that their schema makes much of
LARGE_ITEMS: dict[str, Any] = {
    "fields without bytes": {
        "type": "record",
        "name": "R",
        "fields": [*({"name": f"f{n}", "type": "null"} for n in range(1000)), {"name": "x", "type": "int"}],
    },
    "a long name": {"type": "record", "name": "R", "fields": [{"name": LONG, "type": "int"}]},
    "a long symbol": {"type": "enum", "name": "E", "symbols": [LONG]},
}


@pytest.mark.parametrize("items", LARGE_ITEMS)
@pytest.mark.parametrize("kind", ["array", "map"])
def test_bytes_that_come_to_far_more_by_the_names_of_their_schema_are_refused(kind: str, items: str) -> None:
    """A few kilobytes would be hundreds of megabytes, in memory and in the database; a few of them are none."""
    own = {"type": kind, "items": LARGE_ITEMS[items], "values": LARGE_ITEMS[items]}
    fields = [
        {"name": "trial_id", "type": "string"},
        {"name": "run_id", "type": "string"},
        {"name": "own", "type": own},
    ]
    decode = Decoder(CATALOGUE, writer_schemas=lambda _: {"type": "record", "name": "report", "fields": fields})
    for number, fits in ((50, True), (2000, False)):
        item = b"\0\0" if kind == "map" else b"\0"
        count = bytes([number << 1 & 127 | 128, number >> 6])
        [one] = decode(record(confluent(9, b"\2t\2r" + count + item * number + b"\0")))
        assert isinstance(one, TrialReport) is fits
        if isinstance(one, Rejection):
            assert one.reason is Reason.TOO_LARGE
