"""A request's body, read within bounds of size, time and memory, and unpacked within the same."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from processor.core.metrics import GATEWAY_INFLIGHT
from processor.core.numbers import read_count
from processor.web.refusals import Gone, NotTaken

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
JSON, LINES, AVRO = "json", "lines", "avro"
#: media type -> how the body is read
MEDIA_TYPES = {
    "application/json": JSON,
    "application/x-ndjson": LINES,
    "application/ndjson": LINES,
    "application/jsonl": LINES,
    "avro/binary": AVRO,
    "application/avro": AVRO,
    "application/octet-stream": AVRO,
}
#: what a request costs beside its body, so that empty ones count too
REQUEST_BYTES = 4096
#: gzip streams in one body: each one more is 20 bytes to whoever sends it, and a new decompressor here
MAX_MEMBERS = 100
_GZIP = 16 + zlib.MAX_WBITS
_PIECE_BYTES = 256 * 1024


class Budget:
    """Bytes of all bodies that are being read, judged or sent. For one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit, self.held = limit, 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A request's part, given back at the end. Raises `NotTaken` as `Share.take` does."""
        share = Share(self)
        try:
            share.take(REQUEST_BYTES)
            yield share
        finally:
            self.add(-share.held)

    def add(self, size: int) -> bool:
        """False, and nothing is added, where there is no room."""
        if self.held + size > self._limit:
            return False
        self.held += size
        GATEWAY_INFLIGHT.set(self.held)
        return True


class Share:
    """What one request holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self.held = budget, 0

    def take(self, size: int) -> None:
        """Raises `NotTaken` where there is no room for it."""
        if not self._budget.add(size):
            raise NotTaken(503, "overloaded", "too many bytes are in flight: try again")
        self.held += size


def media_of(headers: Mapping[str, str]) -> str:
    """How the body is to be read. Raises `NotTaken` for a type, a character set or an encoding that is not read."""
    said = headers.get("content-type", "")
    kind, *parameters = (word.strip() for word in said.lower().split(";"))
    media = MEDIA_TYPES.get(kind)
    if media is None:
        known = ", ".join(MEDIA_TYPES)
        raise NotTaken(
            415, "unsupported_media_type", f"Content-Type is {said[:60] or 'missing'}; it must be of {known}"
        )
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise NotTaken(415, "unsupported_media_type", "the only character set is UTF-8")
    if _encoding_of(headers) not in ("identity", "gzip"):
        raise NotTaken(415, "unsupported_encoding", "Content-Encoding must be gzip, or missing")
    return media


def _encoding_of(headers: Mapping[str, str]) -> str:
    said = headers.get("content-encoding", "").strip().lower()
    return {"": "identity", "x-gzip": "gzip"}.get(said, said)


async def read_body(
    receive: Receive, headers: Mapping[str, str], share: Share, *, max_bytes: int, timeout_s: float
) -> bytes:
    """The body, unpacked. Raises `NotTaken` (413 before and while it is read, 408, 400, 503), `Gone`."""
    length = headers.get("content-length", "")
    announced = read_count(length)
    if length.isdecimal() and (announced is None or announced > max_bytes):
        raise _too_large(max_bytes)
    unpack = _Unpacker(max_bytes) if _encoding_of(headers) == "gzip" else None
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in _chunks(receive):
                for number, piece in enumerate(unpack.feed(chunk) if unpack else (chunk,)):
                    if number:  # some kilobytes may unpack to all that is allowed: others have their turn meanwhile
                        await asyncio.sleep(0)
                    size += len(piece)
                    if size > max_bytes:
                        raise _too_large(max_bytes)
                    share.take(len(piece))
                    pieces.append(piece)
    except TimeoutError:
        raise NotTaken(408, "timeout", f"the body was not there after {timeout_s:g} s") from None
    if unpack:
        unpack.check_end()
    return b"".join(pieces)


async def _chunks(receive: Receive) -> Any:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


def _too_large(max_bytes: int) -> NotTaken:
    return NotTaken(413, "too_large", f"a body may have {max_bytes} bytes, also once unpacked")


class _Unpacker:
    """gzip, piece by piece: a bomb is noticed before it has gone off."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._packed, self._members = max_bytes, 0, 1
        self._stream = zlib.decompressobj(_GZIP)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self._packed += len(chunk)
        if self._packed > self._max_bytes:
            raise _too_large(self._max_bytes)
        while chunk:
            if self._stream.eof:
                self._begin_next()
            try:
                piece = self._stream.decompress(chunk, _PIECE_BYTES)
            except zlib.error:
                raise _no_gzip("the body is no gzip") from None
            if piece:
                yield piece
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def _begin_next(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise _no_gzip(f"the body holds more than {MAX_MEMBERS} gzip streams")
        self._stream = zlib.decompressobj(_GZIP)

    def check_end(self) -> None:
        if not self._stream.eof:
            raise _no_gzip("the gzip breaks off")


def _no_gzip(details: str) -> NotTaken:
    return NotTaken(400, "not_gzip", details)
