"""Around every request: a defect is told to its caller and in the log, whatever kind of exception it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from processor.gateway.app import METERS
from processor.web.manners import Manners

SCOPE = {"type": "http", "path": "/x", "headers": []}
START = {"type": "http.response.start", "status": 200, "headers": []}


async def nothing() -> MutableMapping[str, Any]:
    return {"type": "http.request"}


@pytest.mark.parametrize("error", [TimeoutError(), OSError(110, "timed out"), ValueError("x"), KeyError("x")])
def test_a_defect_is_a_500_and_in_the_log(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """Also a timeout of something else: only a caller who reads too slowly is cut off without a word."""

    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Manners(broken, str, METERS, name="it", write_s=5.0)(SCOPE, nothing, send))
    assert (sent[0]["status"], json.loads(sent[1]["body"])["error"]) == (500, "internal")
    assert "request_failed" in "".join(capsys.readouterr())


def test_who_reads_too_slowly_is_cut_off_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    async def answering(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(dict(START))

    async def stuck(_message: Any) -> None:
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(Manners(answering, str, METERS, name="it", write_s=0.05)(SCOPE, nothing, stuck))
    assert "request_failed" not in "".join(capsys.readouterr())
