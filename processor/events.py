"""TrialReport + revision -> Event, and a stored rejection -> OutboxMessage; pure.

Events are CloudEvents 1.0 in binary mode (Kafka Protocol Binding, section 3.2): attributes in `ce_` headers, the
body alone in the value. `ce_id` is a UUIDv5 (RFC 9562, 5.5) of run, trial and revision: the same history gives the
same ids.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha1
from typing import Any

import msgspec

from processor.messages import JSON, Destination, Event, OutboxMessage, Rejection, TrialReport, read_text

#: namespace of every ce_id; never changes
EVENT_NAMESPACE = uuid.UUID("5b0f2a64-5d0e-5f0b-9a0c-2f6f1d1b7c11")
COMPLETE = "ml.trial.complete"
FAILED = "ml.trial.failed"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_encode = msgspec.json.Encoder().encode

#: body of an event -> bytes, given its type (an Avro encoder where one is set)
BodyEncoder = Callable[[str, Mapping[str, Any]], bytes]


def event_id(run_id: str, trial_id: str, revision: int) -> str:
    """UUIDv5 of the JSON array [run_id, trial_id, revision]: JSON, so that no two triples share a name."""
    name = _encode((run_id, trial_id, revision))
    digest = sha1(EVENT_NAMESPACE.bytes + name, usedforsecurity=False).hexdigest()  # uuid.uuid5, in a third of the time
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANTS[digest[16]]}{digest[17:20]}-{digest[20:32]}"


def timestamp_text(timestamp_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, as CloudEvents wants it."""
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    return f"{_second_text(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    """The part that many reports of a batch share."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def encode_json(_type: str, body: Mapping[str, Any]) -> bytes:
    return _encode(body)


def reading_texts(encode: BodyEncoder) -> BodyEncoder:
    """For encoders that want values where a report holds JSON text."""
    return lambda kind, body: encode(kind, {name: read_text(held) for name, held in body.items()})


class EventWriter:
    """Makes the events; `encode` turns bodies into bytes of `content_type`."""

    def __init__(self, *, encode: BodyEncoder = encode_json, content_type: str = JSON) -> None:
        self._encode = encode if encode is encode_json else reading_texts(encode)
        self._content_type = content_type

    def __call__(self, report: TrialReport, revision: int) -> Event | None:
        """The event of this revision; None where the status has none (skipped, cancelled)."""
        status = report.content["status"]
        if status == "succeeded":
            kind, body = COMPLETE, complete_body(report, revision)
        elif status == "failed":
            kind, body = FAILED, failed_body(report, revision)
        else:
            return None
        value, timestamp_ms = self._encode(kind, body), report.record.timestamp_ms
        return Event(report.run_id, report.trial_id, revision, kind, timestamp_ms, value, self._content_type)


def cloud_event_headers(event: Event, source: bytes) -> list[tuple[str, bytes]]:
    """The headers that an event is published with; `source` is ce_source."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_source", source),
        ("ce_id", event_id(event.run_id, event.trial_id, event.revision).encode()),
        ("ce_type", event.kind.encode()),
        ("ce_subject", event.subject.encode()),
        ("ce_time", timestamp_text(event.timestamp_ms).encode()),
        ("content-type", event.content_type.encode()),
    ]


def complete_body(report: TrialReport, revision: int) -> dict[str, Any]:
    """Body of ml.trial.complete/v1; `model_run_id` is the run id that Cerebros sent."""
    content = report.content
    return {
        "event": COMPLETE,
        "model_run_id": report.run_id,
        "trial_id": report.trial_id,
        "spectral_norm": content["spectral_norm"],
        "mlflow_run_id": content["mlflow_run_id"],
        "metrics": content["metrics"],
        "parameters": content["parameters"],
        "duration_ms": content["duration_ms"],
        "status": "completed",
        "artifact_uri": content["artifact_uri"],
        "rank": content["rank"],
        "warnings": content["warnings"],
        "candidate_id": content["candidate_id"],
        "pulse_id": content["pulse_id"],
        "revision": revision,
    }


def failed_body(report: TrialReport, revision: int) -> dict[str, Any]:
    """Body of ml.trial.failed/v1."""
    content = report.content
    warnings = content["warnings"]
    return {
        "event": FAILED,
        "model_run_id": report.run_id,
        "trial_id": report.trial_id,
        "error_message": warnings[0] if warnings else "Trial failed",
        "error_type": "trial_failed",
        "spectral_norm": content["spectral_norm"],
        "mlflow_run_id": content["mlflow_run_id"],
        "parameters": content["parameters"],
        "warnings": warnings,
        "duration_ms": content["duration_ms"],
        "status": "failed",
        "revision": revision,
    }


def dead_letter_message(rejection: Rejection, dead_letter_id: int) -> OutboxMessage:
    """The rejected record as it came, with `dead_letter_*` headers that say why and where it is stored."""
    record = rejection.record
    facts = {
        "id": dead_letter_id,
        "reason": rejection.reason.value,
        "detail": rejection.detail,
        "path": rejection.path,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": timestamp_text(record.timestamp_ms),
        "report_index": rejection.index,
    }
    headers = record.headers + tuple(
        (f"dead_letter_{name}", str(fact).encode("utf-8", "replace")) for name, fact in facts.items()
    )
    return OutboxMessage(Destination.DEAD_LETTERS, f"dead-letter/{dead_letter_id}", record.key, record.value, headers)
