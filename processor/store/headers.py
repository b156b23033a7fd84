"""A record's headers as the tables keep them, written and read; pure."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

import msgspec

from processor.core.messages import Headers
from processor.core.text import storable

_encode = msgspec.json.Encoder().encode


def headers_json(headers: Headers) -> bytes:
    """[{"name", "text" | "base64"}, ...]: readable where the bytes are text; a null value has neither."""
    entries = []
    for name, value in headers:
        entry: dict[str, str] = {"name": storable(name)}
        if value is not None:
            text = value.decode("utf-8", "replace")
            if text.encode() == value and "\x00" not in text:
                entry["text"] = text
            else:
                entry["base64"] = b64encode(value).decode()
        entries.append(entry)
    return _encode(entries)


def read_headers(entries: Sequence[dict[str, str]]) -> Headers:
    """What `headers_json` wrote, as it was in the record."""

    def value(entry: dict[str, str]) -> bytes | None:
        if "base64" in entry:
            return b64decode(entry["base64"])
        return entry["text"].encode() if "text" in entry else None

    return tuple((entry["name"], value(entry)) for entry in entries)
