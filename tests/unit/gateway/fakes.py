"""A gateway on a sender that is no Kafka: in this process, or on a real socket in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from processor.contracts.catalogue import Catalogue
from processor.core.errors import TransientError
from processor.core.messages import Headers
from processor.decode.decoder import Decoder
from processor.gateway.app import METERS, Gateway, Limits, make_app
from processor.gateway.bodies import Budget
from processor.gateway.judging import Judge
from processor.gateway.sending import Dispatch
from processor.gateway.values import Outcome
from processor.kafka.confirmed import Failure, Receipt
from processor.web.connections import BoundedProtocol
from processor.web.guard import Guard
from processor.web.places import Connections, Times
from processor.web.server import BoundedServer, configure, listen, run
from processor.web.unread import Unread

TOPIC = "raw"
CATALOGUE = Catalogue.load()
DECODER = Decoder(CATALOGUE)


class Sent(NamedTuple):
    key: bytes
    value: bytes
    timestamp_ms: int
    headers: Headers


class Sender:
    """Confirms at once, from a thread of its own, what `answer` lets it; None: never, `TransientError`: no room."""

    topic = TOPIC

    def __init__(self, answer: Callable[[Sent], Outcome | TransientError | None] | None = None) -> None:
        self.sent: list[Sent] = []
        self._answer = answer

    def send(
        self, key: bytes, value: bytes, timestamp_ms: int, headers: Headers, settle: Callable[[Outcome], None]
    ) -> None:
        message = Sent(key, value, timestamp_ms, headers)
        answer = self._answer(message) if self._answer else Receipt(0, len(self.sent))
        if isinstance(answer, TransientError):
            raise answer
        self.sent.append(message)
        if answer is not None:
            threading.Thread(target=settle, args=(answer,)).start()


def refused(_: Sent) -> Outcome:
    return Failure("Broker: Message size too large (MSG_SIZE_TOO_LARGE)", forever=True)


class Setup(NamedTuple):
    """What a test may want otherwise."""

    guard: Guard = Guard(None)
    max_body_bytes: int = 256 * 1024
    max_reports: int = 1000
    inflight: int = 1024 * 1024
    delivery_s: float = 5.0
    body_s: float = 5.0
    decoder: Decoder = DECODER
    most: int = 100
    times: Times = Times(5.0, 5.0, 30.0)
    openapi: bytes = b"{}"
    #: what the kernel keeps of an answer; 0: as much as it likes, some megabytes
    kernel_bytes: int = 0


USUAL = Setup()


def gateway_of(sender: Sender, setup: Setup) -> tuple[Gateway, Any]:
    judge = Judge(setup.decoder, TOPIC, max_report_bytes=1024 * 1024, max_reports=setup.max_reports)
    limits = Limits(setup.max_body_bytes, setup.body_s, setup.delivery_s)
    dispatch = Dispatch(sender, delivery_s=setup.delivery_s)
    gateway = Gateway(judge, dispatch, setup.guard, Budget(setup.inflight), limits, TOPIC)
    app = make_app(
        gateway, alive=lambda: True, ready=lambda: not dispatch.in_outage, openapi=setup.openapi, write_s=5.0
    )
    return gateway, app


def post(sender: Sender, path: str, *, setup: Setup = USUAL, drain: bool = False, **what: Any) -> httpx.Response:
    """One request to an application in this process."""

    async def work() -> httpx.Response:
        gateway, app = gateway_of(sender, setup)
        gateway.draining = drain
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            method = what.pop("method", "POST")
            return await client.request(method, path, **what)

    return asyncio.run(work())


def post_json(sender: Sender, path: str, content: str | bytes, **what: Any) -> httpx.Response:
    return post(sender, path, content=content, headers={"content-type": "application/json"}, **what)


class Served(NamedTuple):
    port: int
    connections: Connections
    stop: threading.Event

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def ask(self, raw: bytes) -> bytes:
        """All that comes for these bytes, until the connection is closed."""
        with self.connect() as opened:
            opened.sendall(raw)
            return read_all(opened)


def read_all(opened: socket.socket) -> bytes:
    found = b""
    try:
        while piece := opened.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


@contextmanager
def serving(sender: Sender, setup: Setup = USUAL, unread: Unread[BoundedProtocol] | None = None) -> Iterator[Served]:
    """uvicorn and our protocol on a real socket."""
    with serving_app(lambda: gateway_of(sender, setup), setup, unread) as served:
        yield served


@contextmanager
def serving_app(
    make: Callable[[], tuple[Any, Any]], setup: Setup = USUAL, unread: Unread[BoundedProtocol] | None = None
) -> Iterator[Served]:
    """Any application; `make` is called in the event loop, and gives what drains and the application."""
    opened, stop = listen("127.0.0.1:0", "GATEWAY_LISTEN"), threading.Event()
    if setup.kernel_bytes:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, setup.kernel_bytes)  # those that it accepts have it too
    connections = Connections(setup.most, setup.times, METERS, unread)

    async def main() -> None:
        drained, app = make()
        config = configure(app, connections, idle_s=setup.times.idle, drain_s=5.0)

        def drain() -> None:
            drained.draining = True

        await BoundedServer(config, connections, stop.is_set, drain).serve(sockets=[opened])

    thread = threading.Thread(target=run, args=(main,))
    thread.start()
    try:
        yield Served(opened.getsockname()[1], connections, stop)
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive()
