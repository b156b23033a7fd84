"""A request that asks for another protocol, read as what it is without that.

`curl --http2` and Java's HttpClient ask so with every first request, its body behind it as always; whoever does not
speak the other protocol goes on in this one (RFC 9110, 7.8). llhttp ends reading at such a head, and the body is
nothing to it: the head is read once more by another parser, without what asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httptools


def new_parser(protocol: object) -> Any:
    """As uvicorn makes its own."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def plain_head(method: bytes, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The same head without `Upgrade`; that `Connection` names it still asks for nothing by itself."""
    lines = [b"%s %s HTTP/%s" % (method, url, version.encode())]
    lines += [b"%s: %s" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])
