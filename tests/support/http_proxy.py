"""An HTTP proxy between a mirror and its tracking server that answers in its place, waits, or loses answers."""

from __future__ import annotations

import contextlib
import http.client
import random
import ssl
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

_DROPPED = {"connection", "transfer-encoding", "content-length", "date", "server"}


class HttpProxy:
    """`status`: every request (or this `share` of them, the same one at most `in_row` times in a row) is answered so;
    `wait_s` before each; `lose` this share of answers after the server has done what was asked; `poison`: whatever
    holds these bytes is answered by 500. With a `certificate` (a PEM file, its key with it) it speaks TLS alone."""

    def __init__(self, port: int, certificate: Path | None = None) -> None:
        self.target, self.status, self.share, self.wait_s, self.lose = port, 0, 1.0, 0.0, 0.0
        self.in_row, self.poison = 1_000_000, b""
        self.refused = self.lost = self.slowed = 0
        self._random, self._lock = random.Random(7), threading.Lock()
        self._rows: Counter[tuple[str, str, bytes]] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                proxy.answer(self)

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - http.server's names

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # a client that does not trust us, or has gone
                    super().handle()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "https" if certificate else "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # the handshake belongs to the thread of its connection: nobody waits for one that never ends
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers.get("content-length") or 0))
        wait_s = self.wait_s
        time.sleep(wait_s)
        self.slowed += wait_s > 0
        poisoned = bool(self.poison) and self.poison in body
        if poisoned or (self.status and self._refuses((asked.command, asked.path, body))):
            self.refused += 1
            self._send(asked, 500 if poisoned else self.status, b"the proxy says no", {"retry-after": "1"})
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        try:
            headers = {name: value for name, value in asked.headers.items() if name.lower() != "host"}
            connection.request(asked.command, asked.path, body, headers)
            reply = connection.getresponse()
            content, kept = reply.read(), {k: v for k, v in reply.getheaders() if k.lower() not in _DROPPED}
        except OSError:
            self._send(asked, 502, b"nobody behind the proxy", {})
            return
        finally:
            connection.close()
        if self._random.random() < self.lose:
            self.lost += 1
            asked.close_connection = True
            asked.connection.close()
            return
        self._send(asked, reply.status, content, kept)

    def _refuses(self, request: tuple[str, str, bytes]) -> bool:
        with self._lock:
            refuses = self._rows[request] < self.in_row and self._random.random() < self.share
            self._rows[request] = self._rows[request] + 1 if refuses else 0
            return refuses

    def _send(self, asked: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        asked.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            asked.send_header(name, value)
        asked.end_headers()
        asked.wfile.write(body)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
