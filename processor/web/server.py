"""The application on a socket: served until it is stopped, then drained."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from processor.core.errors import SetupError
from processor.core.settings import PREFIX
from processor.web.connections import bounded
from processor.web.places import Connections

log = structlog.get_logger(__name__)

#: connections that the kernel holds until they are accepted
BACKLOG = 2048
#: files that the process has open beside its connections: Kafka's, the log's, the health server's
OTHER_FILES = 128
#: uvicorn ticks ten times a second
SWEEP_TICKS = 10


class BoundedServer(uvicorn.Server):
    """uvicorn's server, which is stopped by `stopping` instead of signals, and sweeps its connections."""

    def __init__(
        self,
        config: uvicorn.Config,
        connections: Connections,
        stopping: Callable[[], bool],
        on_drain: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._open, self._stopping, self._on_drain = connections, stopping, on_drain
        self._sweeping: asyncio.Task[None] | None = None
        self.last_tick = time.monotonic()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        self.last_tick = time.monotonic()
        if counter % SWEEP_TICKS == 0:
            self._open.sweep()
        self.should_exit = self.should_exit or self._stopping()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_drain()
        self._sweeping = asyncio.create_task(self._sweep_on())
        await super().shutdown(sockets)
        self._sweeping.cancel()

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.last_tick = time.monotonic()
            self._open.sweep()


def configure(app: ASGIApp, connections: Connections, *, idle_s: float, drain_s: float) -> uvicorn.Config:
    """Nothing of uvicorn's that is not wanted: no logs, no sockets of the web, no faith in X-Forwarded-For."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what it would say of a request, `manners` says
    return uvicorn.Config(
        app,
        http=bounded(connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, int(idle_s)),
        timeout_graceful_shutdown=max(1, round(drain_s)),
        backlog=BACKLOG,
    )


def listen(address: str, setting: str) -> socket.socket:
    """A socket that listens on `host:port`, `[::]:port` is IPv4 too. Raises `SetupError`, which names the setting."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # what it is otherwise is the system's to say (net.ipv6.bindv6only)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            opened.bind((host, int(port)))
            opened.listen(BACKLOG)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        raise SetupError(f"{PREFIX}{setting} {address} can't be opened: {error.strerror}") from None
    opened.setblocking(False)
    return opened


def address_of(opened: socket.socket) -> str:
    """host:port as it stands in a URL: an IPv6 address in brackets."""
    host, port = opened.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def most_connections(wanted: int) -> int:
    """As many as wanted, or as the process may have files; it may have more where it only has to ask."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return wanted
    most = max(1, allowed - OTHER_FILES)
    log.warning("few_files", connections=most, wanted=wanted)
    return most


def run(main: Callable[[], Any]) -> Any:
    """A coroutine to its end, on uvloop; not in the main thread, whose signals are ours (`core.stopping`)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
