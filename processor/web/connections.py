"""One connection, bounded: how much of a head it may send, and in which form. On uvicorn's own protocol.

httptools (llhttp) reads the requests rather than h11: three times as fast, and strict about what two readers may read
in two ways (both lengths, a length twice, a coding that does not end in chunked, white space before a colon, bare line
feeds): it refuses them. What it does not bound is bounded here.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any, ClassVar

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from processor.web.closing import end_with_connection
from processor.web.places import Connections
from processor.web.refusals import RETRY_SECONDS
from processor.web.upgrades import new_parser, plain_head

#: as most servers have it: enough for any token, and for what proxies add
MAX_HEAD_BYTES, MAX_HEADERS = 32 * 1024, 100
#: requests that a client may have sent ahead of their answers
MAX_PIPELINED = 16
#: two of these are two meanings
_ONCE = (b"content-type", b"content-encoding", b"authorization")
#: of a target that names a host, the port that need not be named
_PORTS = {b"http": b"80", b"https": b"443"}


class BoundedProtocol(HttpToolsProtocol):
    """One connection; `connections` is set by `bounded`."""

    connections_open: ClassVar[Connections]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        #: when the head that is being waited for was begun, the first one with the connection; None between requests
        self.head_since: float | None = time.monotonic()
        self.head_bytes = self._head_count = 0
        self._in_head = True
        self._why: tuple[int, str, str] | None = None
        if not self.connections_open.admit(self):
            self.connections_open.meters.closed.labels("refused").inc()
            self.refuse(503, "overloaded", "too many connections are open: try again")

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections_open.gone(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.head_since is None and self._in_head:
            self.head_since = time.monotonic()
        if self._in_head:
            self.head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._read(data)
        except HttpParserError:
            self.send_400_response("")
        if self._in_head and self.head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()
        if not self._in_head and not self.transport.is_closing():
            self.connections_open.heard(self)

    def _read(self, data: bytes) -> bytes:
        """What is left to read: behind a head that asks for another protocol, that head anew and all that follows."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as asked:
            version = self.parser.get_http_version()
            head = plain_head(self.parser.get_method(), self.url, version, self.headers)
            self.parser = new_parser(self)
            return head + data[asked.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._fail(400, "bad_request", "too many requests sent ahead")
        self._head_count = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            self._fail(400, "bad_request", "trailers are not read")
        self._count(len(name) + len(value) + 4)
        if len(self.headers) >= MAX_HEADERS:
            self._fail(431, "head_too_large", f"a request may have {MAX_HEADERS} headers")
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_count += size
        if self._head_count > MAX_HEAD_BYTES:
            self._fail(431, "head_too_large", f"the head of a request may have {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        self._check_framing()
        if self.parser.should_upgrade():
            return  # see `_read`
        self._in_head, self.head_since, self.head_bytes = False, None, 0
        self.connections_open.work(self)
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            end_with_connection(self.cycle)

    def _check_framing(self) -> None:
        """Once more what llhttp has looked at, whatever it is lenient about in a later release."""
        names = [name for name, _ in self.headers]
        lengths, codings, hosts = map(names.count, (b"content-length", b"transfer-encoding", b"host"))
        if any(names.count(name) > 1 for name in _ONCE):
            self._fail(400, "bad_request", "a header is there twice of which there is one")
        if lengths > 1 or codings > 1 or (lengths and codings):
            self._fail(400, "bad_request", "the length of the body is said twice")
        if self.parser.get_method() == b"CONNECT":
            self._fail(400, "bad_request", "this is no proxy")
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._fail(400, "bad_request", f"HTTP {version} is not read here: send 1.1")
        if hosts != 1 and (hosts or version == "1.1"):
            self._fail(400, "bad_request", "there must be one Host")
        if not _agrees(self.url, next((value for name, value in self.headers if name == b"host"), None)):
            self._fail(400, "bad_request", "the address that is asked for is not that of Host")
        if any(name == b"transfer-encoding" and value.lower() != b"chunked" for name, value in self.headers):
            self._fail(400, "bad_request", "the only transfer coding is chunked")

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_head = True
        self.connections_open.complete(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self.connections_open.go_on(self)
        else:
            self.connections_open.rest(self)
        super().on_response_complete()
        if not self.pipeline:
            self._unset_keepalive_if_required()  # the sweep sees to it

    def _fail(self, status: int, error: str, details: str) -> None:
        """Ends parsing; `send_400_response` is where uvicorn then ends up."""
        self._why = status, error, details
        raise ValueError(details)

    def _refuse_head(self) -> None:
        self.refuse(431, "head_too_large", f"the head of a request may have {MAX_HEAD_BYTES} bytes")

    def send_400_response(self, msg: str) -> None:
        self.refuse(*(self._why or (400, "bad_request", "this is no HTTP request that is read here")))

    def refuse(self, status: int, error: str, details: str) -> None:
        """Answers by itself, and closes. An answer that was begun is broken off: two would be mistaken for one."""
        if self.transport.is_closing():
            return
        begun = self.cycle is not None and not self.cycle.response_complete
        if not begun:
            self.transport.write(_raw_answer(status, error, details))
        self.transport.close()


def _agrees(url: bytes, host: bytes | None) -> bool:
    """Whether a target that names a host names that of the header.

    RFC 9112, 3.2.2 has the target count, most readers (`guard` too) go by the header: of two that differ each may be
    checked by one reader, and used by the next.
    """
    scheme, mark, rest = url.partition(b"://")
    if url[:1] in (b"/", b"*") or not mark:
        return True
    authority = re.split(rb"[/?#]", rest, maxsplit=1)[0]
    port = _PORTS.get(scheme.lower())
    return port is not None and (host is None or _named(authority, port) == _named(host, port))


def _named(authority: bytes, port: bytes) -> bytes:
    return authority.strip().lower().removesuffix(b":" + port)


def _raw_answer(status: int, error: str, details: str) -> bytes:
    body = json.dumps({"success": False, "error": error, "details": details}).encode()
    retry = f"retry-after: {RETRY_SECONDS}\r\n" if status == 503 else ""
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{retry}connection: close\r\n\r\n"
    return STATUS_LINE[status] + head.encode() + body


def bounded(connections: Connections) -> type[Any]:
    """The protocol of these connections, as uvicorn makes it for each."""
    return type("Bounded", (BoundedProtocol,), {"connections_open": connections})
