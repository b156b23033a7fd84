"""TrialReport + revision -> Event; pure. The fields that a body hands on as they are come from `core.fields`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import msgspec

from processor.core.fields import (
    COMPLETE,
    COMPLETE_NAMES,
    FAILED,
    FAILED_NAMES,
    STARTED,
    STARTED_NAMES,
    STOPPED,
    STOPPED_NAMES,
)
from processor.core.life import rest_of
from processor.core.messages import JSON, Event, RunReport, TrialReport
from processor.core.numbers import to_json

#: bodies as msgspec's structs: made and encoded in two thirds of a dictionary's time
CompleteBody = msgspec.defstruct(
    "CompleteBody", ["event", "model_run_id", "trial_id", *COMPLETE_NAMES, "status", "revision"], frozen=True, gc=False
)
FailedBody = msgspec.defstruct(
    "FailedBody",
    ["event", "model_run_id", "trial_id", "error_message", "error_type", *FAILED_NAMES, "status", "revision"],
    frozen=True,
    gc=False,
)
#: `state` is the run's, which a report that comes late does not know
StartedBody = msgspec.defstruct(
    "StartedBody", ["event", "model_run_id", *STARTED_NAMES, "metadata", "revision"], frozen=True, gc=False
)
StoppedBody = msgspec.defstruct(
    "StoppedBody", ["event", "model_run_id", *STOPPED_NAMES, "result", "revision"], frozen=True, gc=False
)
_complete_fields = itemgetter(*COMPLETE_NAMES)
_failed_fields = itemgetter(*FAILED_NAMES)
_started_fields, _stopped_fields = itemgetter(*STARTED_NAMES), itemgetter(*STOPPED_NAMES)

#: type of an event, its body's fields by name -> bytes (an Avro encoder)
BodyEncoder = Callable[[str, Mapping[str, Any]], bytes]


class EventWriter:
    """Makes the events: their bodies are JSON, or what `encode` makes of them, of `content_type`."""

    def __init__(self, *, encode: BodyEncoder | None = None, content_type: str = JSON) -> None:
        self._encode = _encode_json if encode is None else _reading_texts(encode)
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

    def of_run(self, report: RunReport, revision: int, state: str) -> Event:
        """The event of a run's revision, which this report made; `state` is what the run is in by now."""
        kind = STARTED if report.starts else STOPPED
        value, timestamp_ms = self._encode(kind, run_body(report, revision, state)), report.record.timestamp_ms
        return Event(report.run_id, "", revision, kind, timestamp_ms, value, self._content_type)


def _encode_json(_kind: str, body: msgspec.Struct) -> bytes:
    return to_json(body)


def _reading_texts(encode: BodyEncoder) -> Callable[[str, msgspec.Struct], bytes]:
    """For encoders that want values where a report holds JSON text; Avro's numbers are doubles."""
    return lambda kind, body: encode(kind, {name: _read(held) for name, held in msgspec.structs.asdict(body).items()})


def _read(held: Any) -> Any:
    return msgspec.json.decode(held) if type(held) is msgspec.Raw else held


def complete_body(report: TrialReport, revision: int) -> msgspec.Struct:
    """Body of ml.trial.complete; `model_run_id` is the run id that Cerebros sent."""
    fields = _complete_fields(report.content)
    return CompleteBody(COMPLETE, report.run_id, report.trial_id, *fields, "completed", revision)


def failed_body(report: TrialReport, revision: int) -> msgspec.Struct:
    """Body of ml.trial.failed: where the report does not say why, its first warning does."""
    content = report.content
    warnings = content["warnings"]
    message = content["error_message"] or (warnings[0] if warnings else "Trial failed")
    kind = content["error_type"] or "trial_failed"
    fields = _failed_fields(content)
    return FailedBody(FAILED, report.run_id, report.trial_id, message, kind, *fields, "failed", revision)


def run_body(report: RunReport, revision: int, state: str) -> msgspec.Struct:
    """Body of ml.run.started or ml.run.stopped; what has no field of its own is in `metadata` or `result`."""
    content, rest = {**report.content, "state": state}, rest_of(report)
    if report.starts:
        return StartedBody(STARTED, report.run_id, *_started_fields(content), rest, revision)
    return StoppedBody(STOPPED, report.run_id, *_stopped_fields(content), rest, revision)
