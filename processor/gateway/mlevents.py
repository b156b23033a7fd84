"""Thunderline's events of machine learning: which there are, and what each must hold; pure.

Presence is a matter of validation, what a field holds a matter of construction: so it answers, and so do we.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from processor.core.text import brief, kind_of
from processor.decode.refused import Refused
from processor.decode.split import field_texts
from processor.gateway.judging import Judge, Piece
from processor.gateway.values import Judged, Refusal

#: event -> the fields that must be there
REQUIRED: dict[str, tuple[str, ...]] = {
    "ml.run.start": ("model_run_id", "requested_trials", "search_space_version"),
    "ml.run.stop": ("model_run_id", "state", "completed_trials"),
    "ml.run.metric": ("model_run_id", "trial_id", "metric_name", "metric_value"),
    "ml.trial.start": ("model_run_id", "trial_id", "spectral_norm"),
    "ml.trial.complete": ("model_run_id", "trial_id", "spectral_norm", "metrics"),
    "ml.trial.failed": ("model_run_id", "trial_id", "error_message"),
}
STATES = ("completed", "failed", "cancelled")
_FIELDS = ("event", "correlation_id", "trials", *sorted({name for names in REQUIRED.values() for name in names}))
#: what a field is said to hold that is only looked at where it must be there
_SHAPES: dict[str, tuple[str, Any]] = {
    "search_space_version": ("an integer above 0", lambda held: _is_whole(held) and held > 0),
    "requested_trials": ("an integer", lambda held: _is_whole(held)),
    "completed_trials": ("an integer", lambda held: _is_whole(held)),
    "model_run_id": ("a string or an integer", lambda held: type(held) in (str, int)),
    "trial_id": ("a string or an integer", lambda held: type(held) in (str, int)),
    "state": (f"one of {', '.join(STATES)}", lambda held: type(held) is str and held in STATES),
    "metric_name": ("a string that is not empty", lambda held: type(held) is str and held != ""),
    "metric_value": ("a number", lambda held: type(held) in (int, float)),
    "spectral_norm": ("true or false", lambda held: type(held) is bool),
    "metrics": ("an object", lambda held: type(held) is dict),
    "error_message": ("a string", lambda held: type(held) is str),
}
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", re.ASCII)
#: a value that holds others is read where it is no longer; of a larger one only its kind matters here, and
#: reading a megabyte of empty lists would stop every other thread for a quarter of a second
_READ_CHARACTERS = 1024
_NOT_READ: dict[str, Any] = {"{": {"…": "…"}, "[": ["…"]}
_Head = msgspec.defstruct("_Head", [(name, msgspec.Raw, msgspec.UNSET) for name in _FIELDS])
_read_head = msgspec.json.Decoder(_Head).decode
_ABSENT: Any = msgspec.UNSET


def judge_events(judge: Judge, pieces: Sequence[Piece]) -> Iterator[Judged]:
    """Every event, in order: checked as Thunderline checks it, then decoded as the record that it becomes."""
    for place, piece in enumerate(pieces):
        checked = _check(place, piece)
        if isinstance(checked, Refusal):
            yield checked
            continue
        event, correlation_id = checked
        headers = (("correlation_id", correlation_id.encode()),)
        for one in judge.judge([piece], None):
            if isinstance(one, Refusal):
                yield _unconstructed(place, one)
            else:
                said = {"event": event, "correlation_id": correlation_id, "headers": headers}
                yield msgspec.structs.replace(one, place=place, **said)


def _unconstructed(place: int, refusal: Refusal) -> Refusal:
    error = "validation_failed" if refusal.whole else "event_construction_failed"
    details: str | list[str] = [str(refusal.details)] if refusal.whole else refusal.details
    return Refusal(place, error, details, refusal.reason, refusal.path, refusal.line)


def _check(place: int, piece: Piece) -> Refusal | tuple[str, str]:
    """The event's name and its correlation id, or what is wrong with it."""

    def refused(error: str, details: str | list[str], path: str = "", received: str | None = None) -> Refusal:
        return Refusal(place, error, details, path=path, line=piece.line, received=received)

    # one of a list may stand in a list of its own (`decode.apart`)
    value = piece.value[1:-1] if piece.value[:1] == b"[" else piece.value
    fields = _read(value) if value.strip() else "the list is empty"
    if isinstance(fields, str):
        return refused("validation_failed", [fields])
    event = fields.get("event")
    if event is None:
        return refused("validation_failed", ["missing event field"], "event")
    if type(event) is not str:
        return refused("validation_failed", ["event must be a string"], "event")
    if event not in REQUIRED:
        said = f"Supported events: {', '.join(REQUIRED)}"
        return refused("unknown_event_type", said, "event", event[:100])
    missing = [name for name in REQUIRED[event] if name not in fields]
    if missing:
        return refused("validation_failed", [f"missing required field: {name}" for name in missing], missing[0])
    for name in REQUIRED[event]:
        shape = _SHAPES.get(name)
        if shape is not None and not shape[1](fields[name]):
            return refused("event_construction_failed", f"{name} must be {shape[0]}, not {brief(fields[name])}", name)
    if "trials" in fields:  # an envelope: one verdict could not say what became of each
        return refused("event_construction_failed", "an event is of one trial: send trials to /v1/reports", "trials")
    correlation_id = fields.get("correlation_id")
    if correlation_id is None:
        return event, str(uuid7())
    if type(correlation_id) is not str or not _UUID.fullmatch(correlation_id):
        said = f"correlation_id must be a UUID, not {brief(correlation_id)}"
        return refused("event_construction_failed", said, "correlation_id")
    return event, correlation_id


def _read(value: bytes) -> dict[str, Any] | str:
    """The fields that matter; a sentence where it is no object. NaN is read too, as Python writes it."""
    try:
        head = _read_head(value)
        found = {name: raw for name in _FIELDS if (raw := getattr(head, name)) is not _ABSENT}
        return {name: _held(bytes(raw).decode()) for name, raw in found.items()}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        texts = field_texts(value)
        if texts is None:
            return f"an event is an object, not {kind_of(_held(value.decode().strip()))}"
        return {name: _held(texts[name]) for name in _FIELDS if name in texts}
    except RecursionError:
        return "the event is nested too deep"
    except Refused as error:
        return f"the event is {error.detail}"
    except ValueError as error:
        return f"the event is no JSON: {str(error)[:100]}"


def _held(text: str) -> Any:
    """The value, or what stands for a large one. Raises `ValueError` or `RecursionError`."""
    stand_in = _NOT_READ.get(text[:1]) if len(text) > _READ_CHARACTERS else None
    return json.loads(text, parse_int=_integer) if stand_in is None else stand_in


def _is_whole(held: Any) -> bool:
    """JSON tells 3 and 3.0 apart in nothing."""
    return type(held) is int or (type(held) is float and held.is_integer())


def _integer(digits: str) -> int | float:
    """Python refuses integers of more than 4300 digits."""
    return int(digits) if len(digits) < 400 else float(digits)


def uuid7() -> uuid.UUID:
    """RFC 9562: 48 bits of Unix time in ms, then randomness."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return uuid.UUID(int=value)
