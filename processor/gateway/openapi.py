"""The OpenAPI 3.1 document: reports as the .avsc files have them, made at start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processor import __version__
from processor.contracts.catalogue import Catalogue
from processor.decode.rules import RULES
from processor.gateway.bodies import AVRO, LINES, MEDIA_TYPES
from processor.gateway.mlevents import REQUIRED, STATES

SUBJECT = "trial_report"
_NAMES = {"type": "string", "minLength": 1, "pattern": "^[^\\x00]+$"}
_IDS = {**_NAMES, "type": ["string", "integer"]}
_PRIMITIVES: dict[str, dict[str, Any]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "string": {"type": "string"},
    "bytes": {"type": "string"},
}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
#: event -> the schema that its fields are of
SUBJECTS = {
    "ml.run.start": "run_report",
    "ml.run.stop": "run_report",
    "ml.run.metric": "trial_progress",
    "ml.trial.start": "trial_progress",
    "ml.trial.complete": SUBJECT,
    "ml.trial.failed": SUBJECT,
}
#: what an event asks for beyond its field's type
_NARROWER: dict[str, dict[str, Any]] = {
    "model_run_id": _IDS,
    "trial_id": _IDS,
    "state": {"type": "string", "enum": list(STATES)},
    "requested_trials": {"minimum": 0},
    "completed_trials": {"minimum": 0},
    "search_space_version": {"minimum": 1},
    "metric_name": _NAMES,
    "correlation_id": {"type": "string", "format": "uuid"},
}


def make_openapi(catalogue: Catalogue, *, with_tokens: bool) -> dict[str, Any]:
    """The document; `with_tokens` where each request needs one."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Cerebros gateway",
            "version": __version__,
            "summary": "Reports of trials over HTTP: accepted when Kafka has confirmed them",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/reports": {"post": _post("Reports in any form of the raw topic", _reports_bodies(), _parameters())},
            "/api/events/ml": {"post": _post("Events, as Thunderline takes them", _events_bodies(), [])},
            "/openapi.json": {"get": _get("This document", {"200": _said("the document", {"type": "object"})})},
            "/live": {"get": _get("Whether the process works", _probe())},
            "/ready": {"get": _get("Whether reports are taken", _probe())},
            "/metrics": {"get": _get("Metrics, for Prometheus", {"200": _text("metrics"), **_refusals("401", "403")})},
        },
        "components": {
            "schemas": {"Report": report_schema(catalogue), **_event_schemas(catalogue), **_answers()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    if with_tokens:
        for path in ("/v1/reports", "/api/events/ml", "/metrics"):
            for operation in document["paths"][path].values():
                operation["security"] = [{"token": []}]
    return document


def report_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The latest report as JSON Schema, as strict as the .avsc and the ids are; what is bent is taken all the same."""
    definition = catalogue.latest(SUBJECT).definition
    properties = {field["name"]: _field(field) for field in definition["fields"]}
    properties["trial_id"], properties["run_id"] = dict(_IDS), dict(_IDS)
    return {
        "type": "object",
        "description": definition.get("doc", ""),
        "required": ["run_id", "trial_id"],
        "properties": properties,
        # names that decide what a report is: an event's, an envelope's, and those that stand in for others
        "additionalProperties": True,
    }


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    schema = _json_schema(field["type"])
    rule = RULES.get(field["name"])
    if rule is not None:
        for one in schema.get("anyOf", [schema]):
            if rule.needs.least is not None and one.get("type") == "integer":
                one["minimum"] = rule.needs.least
            if rule.needs.length and one.get("type") == "string":
                one["minLength"] = rule.needs.length
    said = {"description": field["doc"]} if field.get("doc") else {}
    return {**schema, **said}


def _json_schema(avro: Any) -> dict[str, Any]:
    """Of an Avro type; a record that is read as its only field, a JSON value inside another, is any value."""
    if isinstance(avro, list):
        return {"anyOf": [_json_schema(one) for one in avro]}
    if isinstance(avro, str):
        return dict(_PRIMITIVES.get(avro, {}))
    kind = avro["type"]
    if kind == "array":
        return {"type": "array", "items": _json_schema(avro["items"])}
    if kind == "map":
        return {"type": "object", "additionalProperties": _json_schema(avro["values"])}
    if kind == "enum":
        return {"type": "string", "enum": list(avro["symbols"])}
    if kind == "record":
        return {} if avro.get("unwrap") else {"type": "object"}
    return _json_schema(kind)


def _event_schemas(catalogue: Catalogue) -> dict[str, Any]:
    schemas = {}
    for event, required in REQUIRED.items():
        types = {one["name"]: one["type"] for one in catalogue.latest(SUBJECTS[event]).definition["fields"]}
        properties = {name: _event_field(types, name) for name in (*required, "correlation_id")}
        properties["event"] = {"const": event}
        schemas[_name(event)] = {"type": "object", "required": ["event", *required], "properties": properties}
    return schemas


def _event_field(types: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Of the .avsc's type, without its null: what is required is there."""
    narrower = _NARROWER.get(name, {})
    if "type" in narrower:
        return dict(narrower)
    [type_] = [one for one in types[name] if one != "null"] if isinstance(types[name], list) else [types[name]]
    return {**_json_schema(type_), **narrower}


def _name(event: str) -> str:
    return "".join(word.capitalize() for word in event.split("."))


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _reports_bodies() -> dict[str, Any]:
    report = _reference("Report")
    several = {"type": "array", "items": report, "minItems": 1}
    envelope = {"type": "object", "required": ["trials"], "properties": {"trials": several}}
    one_of = {"anyOf": [report, several, envelope]}
    return _bodies(one_of, MEDIA_TYPES)


def _events_bodies() -> dict[str, Any]:
    event = {"oneOf": [_reference(_name(one)) for one in REQUIRED]}
    return _bodies(
        {"anyOf": [event, {"type": "array", "items": event, "minItems": 1}]},
        {media: kind for media, kind in MEDIA_TYPES.items() if kind != AVRO},
    )


def _bodies(json_schema: Mapping[str, Any], media_types: Mapping[str, str]) -> dict[str, Any]:
    told = {
        LINES: {"schema": {"type": "string", "description": "a JSON value a line"}},
        AVRO: {"schema": {"type": "string", "contentMediaType": "avro/binary"}},
    }
    return {media: told.get(kind, {"schema": json_schema}) for media, kind in media_types.items()}


def _parameters() -> list[dict[str, Any]]:
    description = "the run of reports that name none, as a record's key would"
    schema = {"type": "string", "minLength": 1}
    run_id = {"name": "run_id", "in": "query", "required": False, "description": description, "schema": schema}
    times = {
        "name": "Cerebros-Reported-At",
        "in": "header",
        "required": False,
        "description": "when each was reported, in milliseconds since the epoch, comma-separated",
        "schema": {"type": "string", "pattern": "^[0-9]{1,15}(,[0-9]{1,15})*$"},
    }
    return [run_id, times]


def _post(summary: str, bodies: Mapping[str, Any], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    told = {
        "202": _said("Kafka has confirmed all of them", _reference("Verdicts")),
        "207": _said("some are accepted, some refused: each has its verdict", _reference("Verdicts")),
        **_refusals("400", "401", "403", "408", "413", "415", "422", "431"),
        "503": _said(
            "not confirmed in time, or no room: send it again, which is harmless",
            _reference("Refusal"),
            {"Retry-After": {"schema": {"type": "integer"}}},
        ),
    }
    body = {"required": True, "content": bodies}
    return {"summary": summary, "parameters": parameters, "requestBody": body, "responses": told}


def _get(summary: str, told: Mapping[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": {**told, **_refusals("400")}}


def _probe() -> dict[str, Any]:
    return {"200": _text("yes"), "503": _text("not now")}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _said(description: str, schema: Mapping[str, Any], headers: Mapping[str, Any] = {}) -> dict[str, Any]:
    told: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {**told, "headers": headers} if headers else told


_WHY = {
    "400": "no request that is understood: nothing is sent",
    "401": "no token, or one that is not known",
    "403": "the token may not do this, or without tokens the Host is another machine's",
    "408": "the request was not there in time",
    "413": "more bytes or reports than a request may have",
    "415": "a type or an encoding that is not read",
    "422": "reports that would be dead letters: nothing is sent",
    "431": "the head is too large",
}


def _refusals(*statuses: str) -> dict[str, Any]:
    return {status: _said(_WHY[status], _reference("Refusal")) for status in statuses}


def _answers() -> dict[str, Any]:
    place = {"topic": _TEXT, "partition": _COUNT, "offset": _COUNT, "event_id": {"type": "string", "format": "uuid"}}
    why = {"reason": _TEXT, "path": _TEXT, "details": {}, "error": _TEXT, "received": _TEXT}
    ids = {"index": _COUNT, "line": _COUNT, "run_id": _TEXT, "trial_id": _TEXT, "success": {"type": "boolean"}}
    event = {"event_name": _TEXT, "correlation_id": _TEXT, "message": _TEXT}
    word = {"type": "string", "enum": ["accepted", "rejected", "unconfirmed"]}
    verdict = {"type": "object", "properties": {**ids, "status": word, **place, **event, **why}}
    counts = dict.fromkeys(("accepted", "rejected", "unconfirmed"), _COUNT)
    lists = {name: {"type": "array", "items": _reference("Verdict")} for name in ("reports", "events")}
    told = {"success": {"type": "boolean"}, **counts, **lists, **place, **event}
    return {
        "Verdict": verdict,
        "Verdicts": {"type": "object", "properties": told},
        "Refusal": {"type": "object", "properties": {**told, **why}},
    }
