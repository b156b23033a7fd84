"""The dashboard's OpenAPI document is true: of each address, each parameter, each status and each name of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema_rs
import pytest

from processor.dashboard.pages.openapi import make_openapi
from tests.support.pages import browse
from tests.support.trials import fill_tables

DOCUMENT: dict[str, Any] = json.loads(make_openapi(with_tokens=False))
IDS = {"run_id": "run-1", "trial_id": "t004"}
GOOD = {
    "q": "status = succeeded", "sort": "-accuracy", "columns": "lr", "limit": "3", "metric": "accuracy",
    "parameter": "optimizer", "reference": "adam", "better": "higher", "validity": "always", "defaulted": "out",
    "by": "time", "x": "lr",
    "x_scale": "log", "metric_scale": "linear",
    "window": "24h", "reason": "not_json", "resolved": "too", "before": "5", "search": "run",
    "after": "", "trial": "run-1/t004",
}  # fmt: skip
#: what a parameter can't be; where it is a name, also what is too long
BAD = {
    "q": ["(", "a = = 3", "\0", "x" * 3000], "sort": ["\0", "(", "x" * 3000], "columns": ['"', "x" * 3000],
    "after": ["junk", "\0", "x" * 5000], "limit": ["0", "-1", "9" * 7, "9" * 5000, "1.5", "\u00b2", "x"],
    "metric": ["(", "\0", "x" * 300], "parameter": ["(", "\0", "x" * 300], "reference": ["\0", "nope", "x" * 300],
    "better": ["x"], "validity": ["x"], "defaulted": ["x"], "by": ["x"], "x": ["(", "\0"], "window": ["x", "1 h"],
    "x_scale": ["x"], "metric_scale": ["1"], "trial": ["x", "a/b/c", "r/" + "x" * 3000],
    "reason": ["x" * 3000], "resolved": ["x"], "before": ["x", "-1", "9" * 5000, "\u00b2"], "search": ["x" * 3000],
}  # fmt: skip


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_what_is_answered_is_what_is_described(path: str, database_url: str) -> None:
    fill_tables(database_url)
    operation = DOCUMENT["paths"][path]["get"]
    address = path.format(**IDS)
    names = [one["name"] for one in operation["parameters"] if one["in"] == "query"]

    async def work(client: httpx.AsyncClient) -> None:
        async def ask(status: int, address: str, query: str = "") -> None:
            answer = await client.get(f"{address}?{query}")
            assert (answer.status_code, query[:60]) == (status, query[:60])
            check(operation, answer)

        await ask(200, address)
        await ask(400, address, "nope=1")
        for name in names:
            known = {"metric": "accuracy"} if name in ("reference", "x") else {}
            beside = "".join(f"&{one}={value}" for one, value in known.items())
            await ask(
                200, address, f"{name}={quote(GOOD[name])}{'&parameter=optimizer' if name == 'reference' else ''}"
            )
            for bad in BAD[name] if path.endswith(".json") else ():
                await ask(400, address, f"{name}={quote(bad)}{beside}")
        for name in IDS:
            if f"{{{name}}}" in path:
                await ask(404, path.format(**{**IDS, name: "nope"}))

    browse(database_url, work)


def check(operation: Mapping[str, Any], answer: httpx.Response) -> None:
    media = answer.headers["content-type"].partition(";")[0]
    schema = operation["responses"][str(answer.status_code)]["content"][media]["schema"]
    if media == "application/json":
        found = answer.json()
        jsonschema_rs.validate({**schema, "components": DOCUMENT["components"]}, found)
        assert sorted(set(undescribed(schema, found))) == []
        if answer.status_code != 200:
            assert found["details"]


def undescribed(schema: Mapping[str, Any], found: Any, where: str = "") -> Iterator[str]:
    """Names that are there and of which the document, which names their neighbours, says nothing."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(found, dict):
        for name, held in found.items():
            if name in schema.get("properties", {}):
                yield from undescribed(schema["properties"][name], held, f"{where}.{name}")
            elif "properties" in schema:
                yield f"{where}.{name}"
    elif isinstance(found, list):
        for one in found:
            yield from undescribed(schema.get("items", {}), one, f"{where}[]")
