"""The events: exact bodies and headers, ids that never change, none where the status has none; dead letters."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Destination, Event, RawRecord, Reason, Rejection, TrialReport
from processor.core.times import timestamp_text
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.events.headers import EVENT_NAMESPACE, cloud_event_headers, dead_letter_message, event_id
from tests.factories import record

CATALOGUE = Catalogue.load()
CONTENT: dict[str, Any] = {
    "trial_id": "trial-1",
    "run_id": "run-1",
    "spectral_norm": True,
    "mlflow_run_id": "m-1",
    "metrics": {"accuracy": 0.5, "layers": [1, {"k": None}]},
    "parameters": {"lr": 0.001, "flags": [True, "é"]},
    "duration_ms": 1500,
    "artifact_uri": "s3://models/1",
    "rank": 2,
    "warnings": ["diverged", "slow"],
    "candidate_id": "c-1",
    "pulse_id": "p-1",
}


def decoded(timestamp_ms: int = 1_700_000_000_123, **fields: Any) -> TrialReport:
    [one] = Decoder(CATALOGUE)(record({**CONTENT, **fields}, timestamp_ms=timestamp_ms))
    assert isinstance(one, TrialReport)
    return one


def event(report: TrialReport, revision: int = 3) -> Event:
    message = EventWriter()(report, revision)
    assert message is not None
    return message


def test_a_success_is_published_as_complete_with_all_it_measured() -> None:
    message = event(decoded(status="succeeded"))
    expected = {
        "event": "ml.trial.complete",
        "model_run_id": "run-1",
        "trial_id": "trial-1",
        "spectral_norm": True,
        "mlflow_run_id": "m-1",
        "metrics": {"accuracy": 0.5, "layers": [1, {"k": None}]},
        "parameters": {"lr": 0.001, "flags": [True, "é"]},
        "duration_ms": 1500,
        "status": "completed",
        "artifact_uri": "s3://models/1",
        "rank": 2,
        "warnings": ["diverged", "slow"],
        "candidate_id": "c-1",
        "pulse_id": "p-1",
        "revision": 3,
    }
    body = json.loads(message.value or b"")
    assert expected == body
    assert CATALOGUE.check("ml.trial.complete", body) is None


def test_a_failure_is_published_as_failed_with_its_first_warning_as_the_error() -> None:
    message = event(decoded(status="failed"))
    expected = {
        "event": "ml.trial.failed",
        "model_run_id": "run-1",
        "trial_id": "trial-1",
        "error_message": "diverged",
        "error_type": "trial_failed",
        "stacktrace": None,
        "metrics": {"accuracy": 0.5, "layers": [1, {"k": None}]},
        "spectral_norm": True,
        "mlflow_run_id": "m-1",
        "parameters": {"lr": 0.001, "flags": [True, "é"]},
        "warnings": ["diverged", "slow"],
        "duration_ms": 1500,
        "status": "failed",
        "revision": 3,
    }
    body = json.loads(message.value or b"")
    assert expected == body
    assert CATALOGUE.check("ml.trial.failed", body) is None


def test_a_failure_that_says_why_is_published_with_its_own_words() -> None:
    said: dict[str, Any] = {"error_message": "CUDA out of memory", "error_type": "OOM", "stacktrace": "line 1\nline 2"}
    body = json.loads(event(decoded(status="failed", **said)).value or b"")
    assert said == {name: body[name] for name in said}
    assert CATALOGUE.check("ml.trial.failed", body) is None


def test_a_failure_without_a_warning_has_an_error_message_all_the_same() -> None:
    assert json.loads(event(decoded(status="failed", warnings=[])).value or b"")["error_message"] == "Trial failed"


@pytest.mark.parametrize("status", ["skipped", "cancelled"])
def test_a_trial_without_a_result_has_no_event(status: str) -> None:
    assert EventWriter()(decoded(status=status), 1) is None


@pytest.mark.parametrize(("status", "kind"), [("succeeded", b"ml.trial.complete"), ("failed", b"ml.trial.failed")])
def test_the_headers_are_those_of_a_cloud_event_in_binary_mode(status: str, kind: bytes) -> None:
    message = event(decoded(status=status))
    expected = {
        "ce_specversion": b"1.0",
        "ce_id": event_id("run-1", "trial-1", 3).encode(),
        "ce_source": b"/here",
        "ce_type": kind,
        "ce_subject": b"run-1/trial-1",
        "ce_time": b"2023-11-14T22:13:20.123Z",
        "content-type": b"application/json",
    }
    headers = cloud_event_headers(message, b"/here")
    assert expected == dict(headers)
    assert len(expected) == len(headers)
    assert (message.destination, message.id, message.key) == (Destination.EVENTS, "run-1/trial-1#3", b"run-1")


def test_the_body_can_be_encoded_otherwise() -> None:
    def encode(kind: str, body: Mapping[str, Any]) -> bytes:
        return CATALOGUE.encode(kind, body)

    message = EventWriter(encode=encode, content_type="application/avro")(decoded(status="failed"), 1)
    assert message is not None
    assert cloud_event_headers(message, b"/here")[-1] == ("content-type", b"application/avro")
    assert b"diverged" in (message.value or b"")


def test_the_id_of_an_event_is_the_same_for_ever() -> None:
    assert event_id("run-1", "trial-1", 1) == "e4a6d38a-90a6-57a7-9598-86d05064addc"


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])), st.integers(1)
)
def test_the_id_of_an_event_is_the_uuid5_of_its_run_trial_and_revision(run_id: str, trial_id: str, number: int) -> None:
    number = number % 2**63
    name = msgspec.json.encode([run_id, trial_id, number]).decode()
    expected = uuid.uuid5(EVENT_NAMESPACE, name)
    actual = uuid.UUID(event_id(run_id, trial_id, number))
    assert (expected, 5, uuid.RFC_4122, str(expected)) == (
        actual,
        actual.version,
        actual.variant,
        event_id(run_id, trial_id, number),
    )


def test_ids_that_could_be_confused_make_different_events() -> None:
    triples = [
        ("a", "b", 1),
        ("b", "a", 1),
        ("a/b", "c", 1),
        ("a", "b/c", 1),
        ('a","b', "c", 1),
        ("a", "b", 11),
        ("a", "b1", 1),
    ]
    assert len(triples) == len({event_id(*triple) for triple in triples})


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_written_as_rfc_3339_to_the_millisecond(timestamp_ms: int) -> None:
    text = timestamp_text(timestamp_ms)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    parsed = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    assert timestamp_ms == parsed.days * 86_400_000 + parsed.seconds * 1000 + parsed.microseconds // 1000


def test_a_dead_letter_is_the_record_as_it_came_and_says_why_and_where_it_is_stored() -> None:
    one = RawRecord("raw", 3, 42, 1_700_000_000_000, b"\xffkey", b"\x00\xff not json", (("run_id", b"r"), ("x", None)))
    rejection = Rejection(one, 7, Reason.UNKNOWN_STATUS, "half a pair: \ud800", "status")
    message = dead_letter_message(rejection, 99)
    expected = (
        ("run_id", b"r"),
        ("x", None),
        ("dead_letter_id", b"99"),
        ("dead_letter_reason", b"unknown_status"),
        ("dead_letter_detail", b"half a pair: ?"),
        ("dead_letter_path", b"status"),
        ("dead_letter_topic", b"raw"),
        ("dead_letter_partition", b"3"),
        ("dead_letter_offset", b"42"),
        ("dead_letter_timestamp", b"2023-11-14T22:13:20.000Z"),
        ("dead_letter_report_index", b"7"),
    )
    assert expected == message.headers
    actual = (message.destination, message.id, message.key, message.value)
    assert (Destination.DEAD_LETTERS, "dead-letter/99", one.key, one.value) == actual


def test_an_empty_record_makes_a_dead_letter_too() -> None:
    rejection = Rejection(RawRecord("raw", 0, 0, 0, None, None), -1, Reason.EMPTY_VALUE, "the record has no value")
    message = dead_letter_message(rejection, 1)
    assert (message.key, message.value) == (None, None)
    assert dict(message.headers)["dead_letter_report_index"] == b"-1"
