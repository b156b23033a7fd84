"""Answers to HTTP/1.0, which knows no chunks: without a length, the end of the connection is that of the answer."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

_AT_ONCE = struct.pack("ii", 1, 0)


def end_with_connection(cycle: Any) -> None:
    """Has uvicorn's `cycle` write no chunks, and ask for no body with 100: what is older than 1.1 reads neither."""
    write, sized = cycle.send, True

    async def send(message: Any) -> None:
        nonlocal sized
        if message["type"] == "http.response.start":
            sized = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            if not sized:
                cycle.chunked_encoding = False
        elif not sized:
            cycle.expected_content_length = len(message.get("body", b""))
        await write(message)

    cycle.send, cycle.waiting_for_100_continue = send, False
    cycle.transport = _Whole(cycle)


class _Whole:
    """A transport that is reset where it is closed in the middle of an answer, or a part would be taken for all."""

    def __init__(self, cycle: Any) -> None:
        self._cycle, self._transport = cycle, cycle.transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if self._cycle.response_complete or not self._cycle.response_started:
            self._transport.close()
        else:
            reset(self._transport)


def reset(transport: Any) -> None:
    """Ends the connection with an error at its other side, whatever of it is still to be sent."""
    if (opened := transport.get_extra_info("socket")) is not None and (descriptor := opened.fileno()) >= 0:
        with socket.socket(fileno=os.dup(descriptor)) as ours:  # uvloop's own takes no options
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
