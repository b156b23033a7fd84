"""TrialReport + revision -> Event; pure. The fields that a body hands on as they are come from `core.fields`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import msgspec

from processor.core.fields import COMPLETE_NAMES, FAILED_NAMES
from processor.core.messages import JSON, Event, TrialReport, read_text

COMPLETE = "ml.trial.complete"
FAILED = "ml.trial.failed"
_encode = msgspec.json.Encoder().encode
_complete_fields = itemgetter(*COMPLETE_NAMES)
_failed_fields = itemgetter(*FAILED_NAMES)

#: body of an event -> bytes, given its type (an Avro encoder where one is set)
BodyEncoder = Callable[[str, Mapping[str, Any]], bytes]


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


def complete_body(report: TrialReport, revision: int) -> dict[str, Any]:
    """Body of ml.trial.complete; `model_run_id` is the run id that Cerebros sent."""
    return {
        "event": COMPLETE,
        "model_run_id": report.run_id,
        "trial_id": report.trial_id,
        **dict(zip(COMPLETE_NAMES, _complete_fields(report.content), strict=True)),
        "status": "completed",
        "revision": revision,
    }


def failed_body(report: TrialReport, revision: int) -> dict[str, Any]:
    """Body of ml.trial.failed: the error is the first warning."""
    content = report.content
    warnings = content["warnings"]
    return {
        "event": FAILED,
        "model_run_id": report.run_id,
        "trial_id": report.trial_id,
        "error_message": warnings[0] if warnings else "Trial failed",
        "error_type": "trial_failed",
        **dict(zip(FAILED_NAMES, _failed_fields(content), strict=True)),
        "status": "failed",
        "revision": revision,
    }
