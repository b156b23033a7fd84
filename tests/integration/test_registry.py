"""A schema registry over HTTP: writer schemas are asked for once, and no answer of it ends the process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from processor.contracts import registry as registry_module
from processor.contracts.catalogue import Catalogue
from processor.contracts.registry import SchemaRegistry
from processor.core.errors import SetupError, TransientError
from processor.core.messages import Reason, Rejection, TrialReport
from processor.decode.decoder import SUBJECT, Decoder
from processor.events.bodies import EventWriter
from tests.factories import record, report

CATALOGUE = Catalogue.load()
AVRO = json.dumps(dict(CATALOGUE.versions(SUBJECT)[0].definition))
DATUM = {"trial_id": "t", "run_id": "r", "status": "failed", "warnings": ["w"]}


class Stub:
    """Answers /schemas/ids/N from `schemas`, and registrations with `register_code`; `hangs` answers nothing."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.register_code, self.hangs, self.asked = 200, False, 0
        self.code = 0  # of the answer to any question for a schema; 0: whether it is there
        stub = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub.asked += 1
                if stub.hangs:
                    time.sleep(3)
                    return
                number = int(self.path.partition("?")[0].rpartition("/")[2])
                found = stub.schemas.get(number)
                missing = {"error_code": 40403, "message": "Schema not found"}
                self._send(stub.code or (200 if found else 404), found or missing)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                body = {"id": 77} if stub.register_code == 200 else {"error_code": 42201, "message": "Invalid schema"}
                self._send(stub.register_code, body)

            def _send(self, code: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()


def outcome(client: SchemaRegistry, schema_id: int, body: bytes | None = None) -> TrialReport | Rejection:
    data = CATALOGUE.encode(SUBJECT, DATUM, 1) if body is None else body
    [only] = Decoder(CATALOGUE, writer_schemas=client.writer_schema)(
        record(b"\0" + schema_id.to_bytes(4, "big") + data)
    )
    return only


def test_confluent_framed_avro_is_read_by_its_writers_schema_which_is_asked_for_once(stub: Stub) -> None:
    stub.schemas[5] = {"schema": AVRO}
    client = SchemaRegistry(stub.url)
    for _ in range(3):
        read = outcome(client, 5)
        assert isinstance(read, TrialReport)
        assert (read.trial_id, read.schema_version, read.values["spectral_norm"]) == ("t", 1, False)
    assert stub.asked == 1


@pytest.mark.parametrize(
    "found",
    [
        {"schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"},
        {"schema": "{}", "schemaType": "JSON"},
        {"schema": "no json at all"},
        {"schema": '"string"'},
        {"schema": '["null", "string"]'},
    ],
)
def test_a_schema_that_is_no_report_in_avro_is_a_rejection_and_no_crash(stub: Stub, found: dict[str, Any]) -> None:
    stub.schemas[6] = found
    rejection = outcome(SchemaRegistry(stub.url), 6)
    assert isinstance(rejection, Rejection)
    assert rejection.reason.value.startswith("avro_")


def test_an_unknown_id_is_rejected_and_asked_for_again_later(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "ASK_AGAIN_SECONDS", 0.5)
    client = SchemaRegistry(stub.url)
    first = outcome(client, 9)
    assert isinstance(first, Rejection)
    assert first.reason is Reason.AVRO_UNKNOWN_SCHEMA
    stub.schemas[9] = {"schema": AVRO}
    assert isinstance(outcome(client, 9), Rejection)  # a flood of them does not flood the registry
    time.sleep(0.6)
    assert isinstance(outcome(client, 9), TrialReport)


def test_a_registry_that_hangs_or_is_not_there_is_an_outage(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "TIMEOUT_SECONDS", 0.3)
    stub.hangs = True
    with pytest.raises(TransientError, match="does not answer"):
        SchemaRegistry(stub.url).writer_schema(1)
    with pytest.raises(TransientError, match="does not answer"):
        SchemaRegistry("http://127.0.0.1:9").writer_schema(1)


CODES = [*range(300, 309), *range(400, 432), 440, 449, 451, 460, 498, 499, *range(500, 512), 520, 530, 599]
FOR_A_PERSON, WAIT = {401, 403}, {408, 429}


@pytest.mark.parametrize("code", CODES)
def test_each_answer_of_a_registry_is_an_unknown_schema_or_time_or_a_person(code: int, stub: Stub) -> None:
    """No answer about one id may stop ingest for ever; registering is refused by what makes an id unknown."""
    stub.code = stub.register_code = code
    client = SchemaRegistry(stub.url)
    if code in FOR_A_PERSON:
        with pytest.raises(SetupError, match=f"HTTP {code}.*PROCESSOR_SCHEMA_REGISTRY_URL"):
            outcome(client, 9)
    elif 400 <= code < 500 and code not in WAIT:
        rejection = outcome(client, 9)
        assert isinstance(rejection, Rejection)
        assert rejection.reason is Reason.AVRO_UNKNOWN_SCHEMA
    else:
        with pytest.raises(TransientError, match=f"HTTP {code}"):
            outcome(client, 9)
    waits = not 400 <= code < 500 or code in WAIT
    with pytest.raises(TransientError if waits else SetupError, match=f"HTTP {code}"):
        client.body_encoder(CATALOGUE, "events")


def test_events_are_framed_with_the_id_under_which_their_schema_is_registered(stub: Stub) -> None:
    encode = SchemaRegistry(stub.url).body_encoder(CATALOGUE, "events")
    [one] = Decoder(CATALOGUE)(record(report(status="failed", warnings=["diverged"])))
    assert isinstance(one, TrialReport)
    message = EventWriter(encode=encode, content_type="application/avro")(one, 1)
    assert message is not None
    assert message.value is not None
    assert message.value[:5] == b"\0" + (77).to_bytes(4, "big")
    assert b"diverged" in message.value


def test_a_registry_that_refuses_the_events_schema_needs_a_person_and_one_that_is_down_needs_time(stub: Stub) -> None:
    for code, expected in ((422, SetupError), (503, TransientError)):
        stub.register_code = code
        with pytest.raises(expected):
            SchemaRegistry(stub.url).body_encoder(CATALOGUE, "events")
    with pytest.raises(TransientError):
        SchemaRegistry("http://127.0.0.1:9").body_encoder(CATALOGUE, "events")
