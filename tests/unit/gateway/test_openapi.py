"""The OpenAPI document says what the .avsc files say, and every path of the application is in it."""

from __future__ import annotations

import json
from typing import Any

from processor.gateway.mlevents import REQUIRED
from processor.gateway.openapi import make_openapi
from tests.unit.gateway.fakes import CATALOGUE, Sender, Setup, post

DOCUMENT: dict[str, Any] = json.loads(json.dumps(make_openapi(CATALOGUE, with_tokens=False)))
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_the_report_has_the_fields_of_the_latest_schema_each_with_its_type_and_words() -> None:
    properties = SCHEMAS["Report"]["properties"]
    assert sorted(properties) == sorted(CATALOGUE.fields("trial_report"))
    docs = {field["name"]: field["doc"] for field in CATALOGUE.latest("trial_report").definition["fields"]}
    told = {name: one["description"] for name, one in properties.items() if name not in ("run_id", "trial_id")}
    assert told.items() <= docs.items()
    assert properties["status"]["enum"] == ["succeeded", "failed", "skipped", "cancelled"]
    assert {"type": "null"} in properties["duration_ms"]["anyOf"]
    assert [one["minimum"] for one in properties["duration_ms"]["anyOf"] if one["type"] == "integer"] == [0]


def test_every_event_has_what_it_requires() -> None:
    for event, required in REQUIRED.items():
        schema = SCHEMAS["".join(word.capitalize() for word in event.split("."))]
        assert schema["required"] == ["event", *required]
        assert schema["properties"].keys() == {"event", "correlation_id", *required}


def test_every_reference_leads_somewhere_and_every_path_is_served() -> None:
    references = [part.partition('"')[0] for part in json.dumps(DOCUMENT).split('"#/components/schemas/')[1:]]
    assert set(references) <= SCHEMAS.keys()
    setup = Setup(openapi=json.dumps(DOCUMENT).encode())
    for path, operations in DOCUMENT["paths"].items():
        for method in operations:
            assert post(Sender(), path, method=method.upper(), setup=setup).status_code not in (404, 405)


def test_a_token_is_asked_for_where_there_are_tokens() -> None:
    guarded = make_openapi(CATALOGUE, with_tokens=True)["paths"]
    asked = {path for path, operations in guarded.items() for one in operations.values() if "security" in one}
    assert asked == {"/v1/reports", "/api/events/ml", "/metrics"}
    assert "security" not in json.dumps({**DOCUMENT, "components": {}})
