"""A schema registry over HTTP: writer schemas are asked for once, and no answer of it ends the process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from processor.contracts import registry as registry_module
from processor.contracts.catalogue import Catalogue
from processor.contracts.registry import SchemaRegistry
from processor.core.errors import SetupError, TransientError
from processor.core.messages import Outcome, Reason, Rejection, TrialReport
from processor.decode.decoder import SUBJECT, Decoder
from processor.events.bodies import EventWriter
from tests.factories import record, report

CATALOGUE = Catalogue.load()
AVRO = json.dumps(dict(CATALOGUE.versions(SUBJECT)[0].definition))
DATUM = {"trial_id": "t", "run_id": "r", "status": "failed", "warnings": ["w"]}


class Stub:
    """Answers /schemas/ids/N from `schemas`, /subjects/NAME/versions/N from `versions` (503 where it is `broken`), and
    registrations with `register_code`; `hangs` answers nothing.
    """

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.versions: dict[tuple[str, int], dict[str, Any]] = {}
        self.register_code, self.hangs, self.asked = 200, False, 0
        self.code = 0  # of the answer to any question for a schema; 0: whether it is there
        self.broken = False
        stub = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub.asked += 1
                if stub.hangs:
                    time.sleep(3)
                    return
                parts = self.path.partition("?")[0].split("/")
                number = int(parts[-1])
                found = stub.schemas.get(number)
                if parts[1] == "subjects":
                    found = stub.versions.get((unquote(parts[2]), number))
                missing = {"error_code": 40403, "message": "Schema not found"}
                code = stub.code or (503 if stub.broken else 200 if found else 404)
                self._send(code, found if code == 200 and found else missing)

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


def outcome(client: SchemaRegistry, schema_id: int, body: bytes | None = None) -> Outcome:
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


def referred(stub: Stub, name: str, fields: list[dict[str, Any]], *to: str) -> dict[str, Any]:
    """A schema under its own name, registered as a version 1 of that subject, that refers to others."""
    schema = json.dumps({"type": "record", "name": name, "namespace": "a", "fields": fields})
    references = [{"name": f"a.{one}", "subject": one, "version": 1} for one in to]
    made = {"schema": schema, "references": references, "subject": name, "version": 1, "id": 100 + len(stub.versions)}
    stub.versions[name, 1] = made
    return made


def test_a_schema_that_refers_to_others_is_read_with_them(stub: Stub) -> None:
    """Outer refers to Middle and Inner, Middle to Inner: each is asked for once, and stands before who names it."""
    referred(stub, "Inner", [{"name": "x", "type": "int"}])
    referred(stub, "Middle", [{"name": "inner", "type": "a.Inner"}], "Inner")
    ids = [{"name": name, "type": "string"} for name in ("trial_id", "run_id")]
    fields = [*ids, {"name": "middle", "type": "Middle"}, {"name": "inner", "type": "a.Inner"}]
    stub.schemas[8] = referred(stub, "Outer", fields, "Middle", "Inner")
    client = SchemaRegistry(stub.url)
    for _ in range(2):
        read = outcome(client, 8, b"\2t\2r\2\4")
        assert isinstance(read, TrialReport)
        assert read.extra == {"middle": {"inner": {"x": 1}}, "inner": {"x": 2}}
    assert stub.asked == 3


def test_references_without_an_end_are_bounded_and_what_is_missing_is_asked_for_again(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        referred(stub, f"N{number}", [{"name": "next", "type": f"a.N{number + 1}"}], f"N{number + 1}")
    stub.schemas[1] = stub.versions["N0", 1]
    endless = outcome(SchemaRegistry(stub.url), 1, b"\0")
    assert isinstance(endless, Rejection)
    assert endless.reason is Reason.AVRO_UNKNOWN_SCHEMA
    assert stub.asked < 70
    monkeypatch.setattr(registry_module, "ASK_AGAIN_SECONDS", 0.0)
    ids = [{"name": name, "type": "string"} for name in ("trial_id", "run_id")]
    stub.schemas[2] = referred(stub, "R", [*ids, {"name": "late", "type": "a.Late"}], "Late")
    client = SchemaRegistry(stub.url)
    early = outcome(client, 2, b"\2t\2r\2")
    assert isinstance(early, Rejection)
    assert early.reason is Reason.AVRO_UNKNOWN_SCHEMA
    referred(stub, "Late", [{"name": "x", "type": "int"}])
    assert isinstance(outcome(client, 2, b"\2t\2r\2"), TrialReport)


def test_schemas_that_refer_to_each_other_end(stub: Stub) -> None:
    """No registry takes them; one that gives them all the same does no harm."""
    referred(stub, "A", [{"name": "b", "type": ["null", "a.B"]}], "B")
    referred(stub, "B", [{"name": "a", "type": ["null", "a.A"]}], "A")
    stub.schemas[3] = stub.versions["A", 1]
    rejection = outcome(SchemaRegistry(stub.url), 3, b"\0")
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.AVRO_UNKNOWN_SCHEMA


def test_a_registry_that_goes_away_between_a_schema_and_what_it_refers_to_is_an_outage(stub: Stub) -> None:
    stub.schemas[4] = referred(stub, "A", [{"name": "b", "type": "a.B"}], "B")
    client = SchemaRegistry(stub.url)
    stub.broken = True
    with pytest.raises(TransientError):
        outcome(client, 4, b"\0")


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
