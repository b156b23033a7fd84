"""What is reported -> the bytes of one record's value; nothing raises for a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cerebros_client import fields
from cerebros_client.values import Bounds, Walk, is_plain

#: the processor's MAX_REPORT_BYTES is 1 MiB by default; the rest is for what it adds
MAX_BYTES = 1_000_000
#: what is kept of a report that is too large, until it is not: histories become short before names and scalars go
_SMALLER = (
    Bounds(items=1_000, text=20_000),
    Bounds(items=100, text=2_000),
    Bounds(items=10, text=200, values=3_000),
    Bounds(items=3, text=200, values=100, depth=8),
)
_IDS = ("event", "run_id", "trial_id", "status")
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

Document = dict[str, Any]
Build = Callable[[Walk], Document]
Form = Callable[[Any, str, Walk], Any]


def encode(build: Build, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The JSON of what `build` makes, at most `max_bytes` long: cut, and told, where it would be longer."""
    walk = Walk(Bounds())
    document = build(walk)
    value = first = _bytes_of(document, walk.told())
    for bounds in _SMALLER:
        if len(value) <= max_bytes:
            break
        said = f"the report had {len(first)} bytes, more than {max_bytes}: long lists and texts in it are cut"
        walks = {name: Walk(bounds) for name in document if name not in _IDS}
        smaller = {name: walks[name].plain(held, name) if name in walks else held for name, held in document.items()}
        value = _bytes_of(smaller, [said, *(told for walk in walks.values() for told in walk.told())])
    return value


def _bytes_of(document: Document, told: list[str]) -> bytes:
    """What the walk tells comes after the warnings that the report came with."""
    if told:
        document = {**document, "warnings": [*document.get("warnings", []), *told]}
    try:
        return _encode(document).encode()
    except (ValueError, RuntimeError):  # an integer of too many digits, or a map that another thread changes
        careful = Walk(Bounds())
        document = {name: careful.plain(held, name) for name, held in document.items()}
        return _encode({**document, "warnings": [*document.get("warnings", []), *careful.told()]}).encode()


def trial_report(said: Mapping[str, Any]) -> Build:
    """A trial's result: `said` has the arguments of `TrialReporter.report`, its ids and status checked."""

    def build(walk: Walk) -> Document:
        metrics, parameters = said["metrics"], said["parameters"]
        quick = type(metrics) is dict and type(parameters) is dict and is_plain(metrics, parameters)
        document = {
            "run_id": said["run_id"],
            "trial_id": said["trial_id"],
            "status": said["status"],
            "mlflow_run_id": said["mlflow_run_id"],
            "metrics": metrics if quick else _field(fields.as_map, metrics, "metrics", walk) or {},
            "parameters": parameters if quick else _field(fields.as_map, parameters, "parameters", walk) or {},
            "duration_ms": _field(fields.count, said["duration_ms"], "duration_ms", walk),
            "artifact_uri": _field(fields.text, said["artifact_uri"], "artifact_uri", walk),
            "rank": _field(fields.count, said["rank"], "rank", walk),
            "warnings": _field(fields.warnings, said["warnings"], "warnings", walk) or [],
            "candidate_id": said["candidate_id"],
            "pulse_id": said["pulse_id"],
        }
        document |= _switch(said["spectral_norm"], walk)
        for name, form in (("error_message", fields.text), ("error_type", fields.text), ("stacktrace", fields.trace)):
            if said[name] is not None:
                document[name] = _field(form, said[name], name, walk)
        further = {str(name): walk.plain(value, str(name)) for name, value in said.get("extra", {}).items()}
        return further | document

    return build


def _field(form: Form, value: Any, name: str, walk: Walk) -> Any:
    """What `form` makes of it; an object that raises where it is only looked at is told, and left out."""
    if value is None:
        return None
    try:
        return form(value, name, walk)
    except Exception as error:  # noqa: BLE001 - code of whatever object it is
        walk.tell(name, f"left out: it raises {type(error).__name__}")
        return None


def trial_start(run_id: str, trial_id: str, spectral_norm: Any, parameters: Any) -> Build:
    return lambda walk: {
        "event": "ml.trial.start",
        "run_id": run_id,
        "trial_id": trial_id,
        **_switch(spectral_norm, walk),
        "parameters": _field(fields.as_map, parameters, "parameters", walk) or {},
    }


def metric(run_id: str, trial_id: str, step: Any, name: str, value: Any) -> Build:
    """One metric at one step; what is no number is sent as it is, for the processor to say so."""
    return lambda walk: {
        "event": "ml.run.metric",
        "run_id": run_id,
        "trial_id": trial_id,
        "metric_name": name,
        "metric_value": walk.plain(value, name),
        "step": _field(fields.count, step, "step", walk),
    }


def run_event(event: str, run_id: str, said: Mapping[str, Any]) -> Build:
    """`ml.run.start` or `ml.run.stop`, with all that is said and is not None."""

    def build(walk: Walk) -> Document:
        given = {name: walk.plain(value, name) for name, value in said.items() if value is not None}
        return {"event": event, "run_id": run_id, **given}

    return build


def _switch(value: Any, walk: Walk) -> Document:
    """Nothing where nothing was said: a row tells that from a false.

    The processor reads words and numbers for it too, and keeps what it can't read.
    """
    if value is None:
        return {}
    return {"spectral_norm": value if type(value) is bool else walk.plain(value, "spectral_norm")}
