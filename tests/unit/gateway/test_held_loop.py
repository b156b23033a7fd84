"""One caller's many reports never hold the event loop: everybody else is answered meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading

import pytest

from processor.core.metrics import REGISTRY
from processor.decode import apart
from processor.gateway import answers, app, mlevents, sending
from processor.gateway.answers import Answer
from processor.gateway.bodies import Budget, read_body
from processor.gateway.judging import Judge
from processor.gateway.sending import Dispatch
from processor.gateway.values import Ids, Parcel
from processor.kafka.confirmed import Receipt
from processor.web.refusals import NotTaken
from tests.unit.gateway.fakes import DECODER, TOPIC, Sender, Setup, post

GOOD = json.dumps({"run_id": "run", "trial_id": "t1"})
JSON, LINES = "application/json", "application/x-ndjson"
MANY = {
    "numbers": (JSON, b"[" + b"1," * 8000 + b"1]"),
    "objects": (JSON, b"[" + b"{}," * 5000 + b"{}]"),
    "an envelope": (JSON, b'{"run_id":"r","trials":[' + b"{}," * 5000 + b"{}]}"),
    "lines": (LINES, b"1\n" * 8000),
    "broken lines": (LINES, b"{\n" * 8000),
    "lines that are no text": (LINES, b"\xff\n" * 8000),
    "good ones": (JSON, ("[" + ",".join([GOOD] * 400) + "]").encode()),
    "events": (JSON, b'[{"event":"x"}' + b',{"event":"x"}' * 1000 + b"]"),
}


@pytest.mark.parametrize("path", ["/v1/reports", "/api/events/ml"])
@pytest.mark.parametrize("name", MANY)
def test_many_reports_are_judged_and_answered_beside_the_loop(
    name: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few bytes they are: each costs what a report costs, and has a verdict of its own."""
    judging, answering = threads_of(monkeypatch)
    media, body = MANY[name]
    assert len(body) < app.AT_ONCE_BYTES
    answer = post(Sender(), path, setup=Setup(max_reports=10_000), content=body, headers={"content-type": media})
    assert answer.status_code in (202, 400, 422)
    assert threading.get_ident() not in judging
    assert threading.get_ident() not in answering


@pytest.mark.parametrize("path", ["/v1/reports", "/api/events/ml"])
@pytest.mark.parametrize("held", [b'{"a":' * 190 + b"1" + b"}" * 190, b'"' + b"x" * 8000 + b'"'])
def test_what_stands_around_many_reports_is_judged_with_each_of_them_beside_the_loop(
    held: bytes, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging, _ = threads_of(monkeypatch)
    body = b'{"run_id":' + held + b',"trials":[' + b"{}," * 180 + b"{}]}"
    assert body.count(b",") < app.AT_ONCE_SEPARATORS
    answer = post(Sender(), path, content=body, headers={"content-type": JSON})
    assert answer.status_code in (400, 422)
    assert judging
    assert threading.get_ident() not in judging


def test_an_envelope_of_a_report_is_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judging, _ = threads_of(monkeypatch)
    body = b'{"run_id":"run","trials":[{"trial_id":"t1","metrics":{"accuracy":0.97,"loss":0.05},"duration_ms":840}]}'
    assert post(Sender(), "/v1/reports", content=body, headers={"content-type": JSON}).status_code == 202
    assert judging == {threading.get_ident()}


def test_a_few_reports_are_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judging, answering = threads_of(monkeypatch)
    body = "[" + ",".join([GOOD] * 50) + "]"
    assert post(Sender(), "/v1/reports", content=body, headers={"content-type": JSON}).status_code == 202
    assert (judging, answering) == ({threading.get_ident()}, {threading.get_ident()})


@pytest.mark.parametrize("path", ["/v1/reports", "/api/events/ml"])
def test_what_became_of_many_reports_is_told_apart_beside_the_loop(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settling = set[int]()
    settle = answers.settle

    def told(*what: object) -> object:
        settling.add(threading.get_ident())
        return settle(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(answers, "settle", told)
    counted = REGISTRY.get_sample_value("processor_gateway_reports_total", {"result": "rejected"}) or 0.0
    body = b"[" + b",".join([b"{}"] * 900) + b"]"
    assert post(Sender(), path, content=body, headers={"content-type": JSON}).status_code in (400, 422)
    assert settling
    assert threading.get_ident() not in settling
    now = REGISTRY.get_sample_value("processor_gateway_reports_total", {"result": "rejected"})
    assert now == counted + 900


def test_while_a_body_is_unpacked_others_have_their_turn() -> None:
    packed = gzip.compress(b" " * 4_000_000)
    turns = 0

    async def work() -> int:
        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": packed}

        task = asyncio.create_task(others())
        with Budget(8_000_000).share() as share:
            headers = {"content-encoding": "gzip"}
            body = await read_body(receive, headers, share, max_bytes=4_000_000, timeout_s=60.0)
        task.cancel()
        return len(body)

    assert asyncio.run(work()) == 4_000_000
    assert turns >= 10


def threads_of(monkeypatch: pytest.MonkeyPatch) -> tuple[set[int], set[int]]:
    """Which threads judge, and which write answers."""
    judging, answering = set[int](), set[int]()
    pieces, write = Judge.pieces, app._response

    def judge(self: Judge, body: bytes, *, lines: bool) -> object:
        judging.add(threading.get_ident())
        return pieces(self, body, lines=lines)

    def response(answer: Answer) -> object:
        answering.add(threading.get_ident())
        return write(answer)

    monkeypatch.setattr(Judge, "pieces", judge)
    monkeypatch.setattr(app, "_response", response)
    return judging, answering


def test_while_many_are_queued_others_have_their_turn() -> None:
    async def work() -> tuple[int, list[object]]:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        parcels = [Parcel(at, b"{}", b"run", [Ids("run", f"t{at}")]) for at in range(10 * sending.AT_ONCE)]
        found: list[object] = list(await Dispatch(Inside(), delivery_s=5.0).send(parcels))
        task.cancel()
        return turns, found

    turns, found = asyncio.run(work())
    assert turns >= 10
    assert found == [Receipt(0, at) for at in range(10 * sending.AT_ONCE)]


class Inside(Sender):
    """Confirms in the call itself: no thread for each of thousands."""

    def send(self, key: bytes, value: bytes, timestamp_ms: int, headers: object, settle: object) -> None:
        settle(Receipt(0, len(self.sent)))  # type: ignore[operator]
        self.sent.append((key, value, timestamp_ms, headers))  # type: ignore[arg-type]


#: what is sent as many empty things, in a body of the largest size
FLOODS = {
    "empty lists": b"[" + b"[]," * 200_000 + b"[]]",
    "nested empty lists": b"[" + b"[[[[]]]]," * 200_000 + b"[]]",
    "numbers": b"[" + b"1," * 200_000 + b"1]",
    "an envelope": b'{"run_id":"r","trials":[' + b"{}," * 200_000 + b"{}]}",
}


@pytest.mark.parametrize("body", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_empty_values_is_refused_at_the_first_one_too_many(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading all of it in one go would stop every other thread meanwhile, the event loop's too."""
    read = list[int]()
    at_once = apart._read_list

    def counted(value: bytes) -> object:
        read.append(bytes(value).count(b","))
        return at_once(value)

    monkeypatch.setattr(apart, "_read_list", counted)
    judge = Judge(DECODER, TOPIC, max_report_bytes=1024 * 1024, max_reports=1000)
    with pytest.raises(NotTaken, match="1,000 reports"):
        judge.pieces(body, lines=False)
    assert max(read, default=0) < 50 * 1000


def test_lines_are_taken_apart_until_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = list[bytes]()
    take = apart.take_apart

    def counted(value: bytes, *limits: int) -> object:
        taken.append(value)
        return take(value, *limits)

    monkeypatch.setattr("processor.gateway.judging.take_apart", counted)
    judge = Judge(DECODER, TOPIC, max_report_bytes=1024 * 1024, max_reports=1000)
    lines = b"\n".join([b"[" + b"{}," * 600 + b"{}]"] * 100)
    with pytest.raises(NotTaken, match="1,000 reports"):
        judge.pieces(lines, lines=True)
    assert len(taken) == 2
    assert len(judge.pieces(b"\n".join([b"{}"] * 1000), lines=True)) == 1000


@pytest.mark.parametrize("large", [b"[" + b"[]," * 1000 + b"[]]", b"[NaN," + b"[]," * 1000 + b"[]]"])
@pytest.mark.parametrize("around", [b'{"event": "ml.trial.start", "metrics": {"a": %b}}', b'{"event": %b}'])
def test_of_an_event_what_holds_much_is_not_read_to_check_its_fields(around: bytes, large: bytes) -> None:
    fields = mlevents._read(around % large)
    assert isinstance(fields, dict)
    assert fields.get("metrics", {"…": "…"}) == {"…": "…"}
    assert fields["event"] in ("ml.trial.start", ["…"])


def test_an_event_may_hold_a_number_of_any_length() -> None:
    long = {"metric_value": "0." + "123456789" * 5, "completed_trials": "1" + "0" * 5000}
    for name, digits in long.items():
        fields = mlevents._read(b'{"event": "x", "metrics": [NaN], "%b": %b}' % (name.encode(), digits.encode()))
        assert isinstance(fields, dict)
        assert type(fields[name]) is float
