"""One caller's many reports never hold the event loop: everybody else is answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from processor.gateway import app, sending
from processor.gateway.answers import Answer
from processor.gateway.judging import Judge
from processor.gateway.sending import Dispatch
from processor.gateway.values import Ids, Parcel
from processor.kafka.confirmed import Receipt
from tests.unit.gateway.fakes import Sender, Setup, post

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


def test_a_few_reports_are_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judging, answering = threads_of(monkeypatch)
    body = "[" + ",".join([GOOD] * 50) + "]"
    assert post(Sender(), "/v1/reports", content=body, headers={"content-type": JSON}).status_code == 202
    assert (judging, answering) == ({threading.get_ident()}, {threading.get_ident()})


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
