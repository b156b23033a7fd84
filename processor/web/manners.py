"""Around every request: it is counted, what goes wrong is told, and an answer is neither cut off nor waits for ever."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from processor.web.meters import Meters
from processor.web.refusals import Gone

log = structlog.get_logger(__name__)

#: how long and how much of a body that nobody wants is read on: a connection that is closed with bytes unread is reset,
#: and the caller may never see the answer
LINGER_SECONDS, LINGER_BYTES = 1.0, 1024 * 1024
#: as the path of a request that has none of ours: labels must not be the caller's to make
OTHER = "other"
#: an answer that began before its end was known puts its status here, in the request's scope: it is counted as that
TOLD = "processor.status"
_LENGTH, _CODING = b"content-length", b"transfer-encoding"
Message = MutableMapping[str, Any]


class Manners:
    """ASGI middleware, the outermost. `label` makes of a path what it is counted as: few words, of ours."""

    def __init__(
        self, application: ASGIApp, label: Callable[[str], str], meters: Meters, *, name: str, write_s: float
    ) -> None:
        self._application, self._label, self._meters, self._write_s = application, label, meters, write_s
        said = {"success": False, "error": "internal", "details": f"{name} failed; its log says how"}
        self._failed = json.dumps(said).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, receive, send, self._write_s)
        began = time.monotonic()
        try:
            await self._application(scope, exchange.receive, exchange.send)
        except Gone:
            exchange.status = 499  # as others log it: nobody is left to be answered
        except Exception:
            if exchange.cut_off:
                raise
            log.error("request_failed", path=scope["path"][:200], exc_info=True)
            if not exchange.status:
                await exchange.fail(self._failed)
        finally:
            self._meters.requests.labels(self._label(scope["path"]), scope.get(TOLD, exchange.status)).inc()
            self._meters.seconds.observe(time.monotonic() - began)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, write_s: float) -> None:
        self._receive, self._send, self._write_s = receive, send, write_s
        headers = dict(scope["headers"])
        self._unread = _CODING in headers or headers.get(_LENGTH, b"0").strip(b"0") != b""
        self._expects = b"expect" in headers
        self.status = 0
        #: whoever reads its answer too slowly is: no other timeout may be taken for that
        self.cut_off = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._write_s):
                await self._send_on(message)
        except TimeoutError:
            self.cut_off = True
            raise

    async def _send_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._unread:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        elif self._unread and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _linger(self) -> None:
        """Reads on what is not wanted, for a while. One that waits to be asked for its body sends none."""
        if self._expects:
            return
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while self._unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass

    async def fail(self, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
