"""Avro reports: single-object encoding from the files alone, Confluent framing with a registry's schemas."""

from __future__ import annotations

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


@pytest.mark.parametrize("schema_id", [7, 8])
def test_a_schema_of_the_registry_that_is_no_report_is_a_rejection(schema_id: int) -> None:
    assert reason_of(confluent(schema_id, b"\x02")) == Reason.AVRO_UNREADABLE


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
