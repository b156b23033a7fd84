"""A fuzzer made from the gateway's own OpenAPI document finds nothing: no 5xx, no answer that is not described.

schemathesis makes requests from the document, valid and invalid, by a bounded number of examples. Of its checks one is
left out for reports, that what the document does not describe is refused: normalisation bends most of it on purpose.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from processor.contracts.catalogue import Catalogue
from processor.core.settings import Settings
from processor.gateway.bodies import JSON, MEDIA_TYPES
from processor.gateway.openapi import make_openapi
from processor.local.files import free_ports
from processor.web.tokens import line_for, make_token
from tests.support.processes import Process, wait_until

EXAMPLES = 60
DOCUMENT: dict[str, Any] = json.loads(json.dumps(make_openapi(Catalogue.load(), with_tokens=True)))
NOT_JSON = [name for name, kind in MEDIA_TYPES.items() if kind != JSON]


def operations(*, only_json: bool) -> dict[str, Any]:
    """By method and path. Of lines and Avro the document says nothing but that they are bytes: none of it is valid."""
    document = json.loads(json.dumps(DOCUMENT))
    if only_json:
        for path in document["paths"].values():
            for name in NOT_JSON:
                path.get("post", {"requestBody": {"content": {}}})["requestBody"]["content"].pop(name, None)
    found: Any = schemathesis.openapi.from_dict(document).get_all_operations()
    return {one.ok().label: one.ok() for one in found}


OPERATIONS = {True: operations(only_json=True), False: operations(only_json=False)}
LABELS = list(OPERATIONS[True])


@schemathesis.serializer(*NOT_JSON)
def _as_it_is(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


@pytest.fixture
def served(start: Callable[..., Process], settings: Settings, tmp_path: Any) -> Iterator[tuple[str, str]]:
    """The address of a running gateway, and a token for it; the process has not failed once when all is over."""
    port, token, file = free_ports(1)[0], make_token(), tmp_path / "tokens"
    file.write_text(line_for("fuzzer", token))
    own = {"PROCESSOR_GATEWAY_LISTEN": f"127.0.0.1:{port}", "PROCESSOR_GATEWAY_TOKENS_FILE": str(file)}
    process = start("gateway", **own)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/ready").status_code == 200
        except httpx.HTTPError:
            return False

    wait_until(ready, "the gateway is ready")
    yield url, token
    assert process.stop() == 0
    assert "request_failed" not in process.said()


def test_it_serves_the_document_that_the_fuzzer_is_made_from(served: tuple[str, str]) -> None:
    assert httpx.get(f"{served[0]}/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("label", [label for label in LABELS if label.startswith("POST")])
def test_nothing_is_found_that_is_not_described(label: str, mode: GenerationMode, served: tuple[str, str]) -> None:
    url, token = served
    seen = Counter[int]()
    excluded = [negative_data_rejection] if "reports" in label else []

    @examples(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(OPERATIONS[mode is GenerationMode.POSITIVE][label].as_strategy(generation_mode=mode))
    def fuzz(case: Any) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        if mode is GenerationMode.POSITIVE:  # no schema can say that it has as many times as the body has reports
            case.headers.pop("Cerebros-Reported-At", None)
        answer = case.call_and_validate(base_url=url, headers=headers, excluded_checks=excluded)
        seen[answer.status_code] += 1

    fuzz()
    print(label, mode, dict(seen))
    assert sum(seen.values()) >= EXAMPLES / 2
    assert seen.keys() & ({202, 207} if mode is GenerationMode.POSITIVE else {400, 415, 422})


@pytest.mark.parametrize("label", [label for label in LABELS if label.startswith("GET")])
def test_what_is_asked_is_described(label: str, served: tuple[str, str]) -> None:
    url, token = served

    @examples(max_examples=5, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(OPERATIONS[True][label].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {token}"})

    ask()
