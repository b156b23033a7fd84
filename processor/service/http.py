"""A few short answers over HTTP to whoever may ask, bounded: so many connections, so many bytes and seconds each."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

log = structlog.get_logger(__name__)

#: probes and scrapers ask one at a time; more than this is somebody who holds connections open
MAX_CONNECTIONS = 32
#: from the first to the last byte of question and answer, however slowly they come: a probe's own limit is below it
CONNECTION_SECONDS = 5.0
MAX_HEAD_BYTES = 8192
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Reply(NamedTuple):
    status: int
    body: bytes
    kind: str = "text/plain"


class _Connection(socketserver.BaseRequestHandler):
    """One question, one answer, and it is closed."""

    server: Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # gone, or over its time
            self.request.settimeout(CONNECTION_SECONDS)
            method, path = self._question()
            if method in ("GET", "HEAD"):
                reply = self.server.answer(path)
            else:
                reply = Reply(405, b"GET or HEAD\n") if method else Reply(400, b"this is no HTTP\n")
            head = (
                f"HTTP/1.1 {reply.status} {_PHRASES[reply.status]}\r\nContent-Type: {reply.kind}\r\n"
                f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n"
            )
            self.request.sendall(head.encode() + (b"" if method == "HEAD" else reply.body))

    def _question(self) -> tuple[str, str]:
        """Method and path; empty where it is none."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.request.recv(MAX_HEAD_BYTES)
            head += piece
            if not piece or len(head) > MAX_HEAD_BYTES:
                return "", ""
        words = head.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return "", ""
        return words[0].decode("latin-1"), words[1].partition(b"?")[0].decode("latin-1")


class Server(socketserver.ThreadingTCPServer):
    """Answers by `answer(path)`, each connection in a thread of its own."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, answer: Callable[[str], Reply]) -> None:
        """Listens; host "" is every address of IPv6 and IPv4. Raises `OSError`."""
        self.answer = answer
        self._since: dict[Any, float] = {}
        self._lock = threading.Lock()
        self._told = False
        self._both = not host and socket.has_dualstack_ipv6()
        if self._both:
            self.address_family = socket.AF_INET6
        elif host:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _Connection)

    def server_bind(self) -> None:
        if self._both:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._since) >= MAX_CONNECTIONS
            if not full:
                self._since[request] = time.monotonic()
        if full:
            if not self._told:
                log.warning("health_refuses", connections=MAX_CONNECTIONS)
            self._told = True
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called about twice a second: ends what takes too long, whatever it still sends."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, since in self._since.items() if now - since > CONNECTION_SECONDS]
            self._told = self._told and bool(self._since)
        for request in late:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A traceback on stderr would be no sentence."""
        log.debug("health_failed", exc_info=True)
