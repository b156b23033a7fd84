"""HTTP/1.0 knows no chunks: an answer to it has a length, or ends with its connection, and a part is never a whole."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from processor.gateway.app import METERS
from processor.web.manners import Manners
from tests.unit.gateway.fakes import Sender, Served, serving, serving_app

PORTIONS = [b"a,b\n", b"", b"1,2\n" * 50_000]


async def _stream(scope: Any, receive: Any, send: Any) -> None:
    """Portions of which nobody knew how many there would be, as exports and pages that wait are answered."""
    headers = [(b"content-type", b"text/csv")]
    if scope["path"] == "/sized":
        headers.append((b"Content-Length", str(sum(map(len, PORTIONS))).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for portion in PORTIONS:
        await send({"type": "http.response.body", "body": portion, "more_body": True})
    if scope["path"] == "/broken":
        raise OSError("the database went away")
    await send({"type": "http.response.body", "body": b""})


def _app() -> tuple[Any, Any]:
    return SimpleNamespace(), Manners(_stream, lambda _: "x", METERS, name="it", write_s=5.0)


def _read(served: Served, path: str, method: str = "GET", version: str = "1.0") -> tuple[bytes, bytes]:
    with served.connect() as opened:
        opened.sendall(f"{method} {path} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        found = b""
        while piece := opened.recv(65536):
            found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.mark.parametrize("path", ["/", "/sized"])
def test_an_answer_to_http_1_0_is_its_bytes_and_nothing_else(path: str) -> None:
    with serving_app(_app) as served:
        head, body = _read(served, path)
        assert (b"transfer-encoding" in head, b"connection: close" in head) == (False, True)
        assert body == b"".join(PORTIONS)
        head, body = _read(served, path, "HEAD")
        assert (b"transfer-encoding" in head, body) == (False, b"")
        assert (b"chunked" in _read(served, path, version="1.1")[0]) is (path == "/")


def test_an_answer_to_http_1_0_that_breaks_off_is_an_error_and_no_shorter_answer() -> None:
    with serving_app(_app) as served, pytest.raises(ConnectionResetError):
        _read(served, "/broken")


def test_http_1_0_is_not_asked_for_a_body_that_it_sends_anyway() -> None:
    """A caller of 1.0 takes 100 for its answer (RFC 9110, 10.1.1)."""
    head = (
        b"POST /v1/reports HTTP/1.0\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    )
    with serving(Sender()) as served, served.connect() as opened:
        opened.sendall(head + b"\r\n")
        opened.settimeout(0.5)
        with pytest.raises(socket.timeout):
            opened.recv(100)
        opened.settimeout(10)
        opened.sendall(b"[]")
        assert opened.recv(100).startswith(b"HTTP/1.1 400 ")
