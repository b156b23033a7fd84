"""A pooler that drops what a session asks for: PgBouncer with our settings among its `ignore_startup_parameters`."""

from __future__ import annotations

import socket

from tests.support.proxy import Proxy

_KEPT = {b"user", b"database"}
_HEAD = 8  # length and protocol version


class Pooler(Proxy):
    """As a proxy, but Postgres is told of no setting; a session of the server for each, as in session mode."""

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if source.getsockname()[1] == self.port:
            while (message := self._first(source)) and message[4:_HEAD] != b"\x00\x03\x00\x00":
                sink.sendall(message)  # whether TLS is spoken
            sink.sendall(_without_settings(message))
        super()._pump(source, sink)

    @staticmethod
    def _first(source: socket.socket) -> bytes:
        """One message of a session's start, which has no letter before its length."""
        length = source.recv(4, socket.MSG_WAITALL)
        return length + source.recv(int.from_bytes(length) - 4, socket.MSG_WAITALL) if length else b""


def _without_settings(message: bytes) -> bytes:
    words = message[_HEAD:].rstrip(b"\0").split(b"\0")
    pairs = [(name, value) for name, value in zip(words[::2], words[1::2], strict=True) if name in _KEPT]
    body = message[4:_HEAD] + b"".join(name + b"\0" + value + b"\0" for name, value in pairs) + b"\0"
    return (len(body) + 4).to_bytes(4) + body
