"""What a record holds that is no report: names for what people send by mistake, so that a rejection says it; pure.

Nothing is read by these names. They stand in the sentence of what was refused for other reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from processor.core.numbers import read_exactly

#: how the bytes begin that are no JSON and no Avro of ours ("magic numbers" of each format)
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe", "UTF-16 or UTF-32"),
    (b"\xfe\xff", "UTF-16"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"Obj\x01", "an Avro container file (it holds its own schema; a record is one datum behind a schema id)"),
    (b"\x1f\x8b", "gzip (compress by the producer's own setting, which readers undo)"),
    (b"\x28\xb5\x2f\xfd", "zstd (compress by the producer's own setting, which readers undo)"),
    (b"\x04\x22\x4d\x18", "lz4 (compress by the producer's own setting, which readers undo)"),
    (b"\x82SNAPPY", "snappy (compress by the producer's own setting, which readers undo)"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy (compress by the producer's own setting, which readers undo)"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "a zip file"),
    (b"PAR1", "a Parquet file"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"\x80\x05\x95", "a Python pickle"),
)
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
#: the first character of JSON and a zero byte, in either order; as a schema id that would be over 500 million
_WIDE_LITTLE, _WIDE_BIG = re.compile(rb'[{\["]\x00'), re.compile(rb'\x00[{\["](?:\x00|\Z)')


def name_bytes(value: bytes) -> str:
    """A sentence that says what the bytes are, "" where they can't be told."""
    for beginning, name in _BEGINNINGS:
        if value.startswith(beginning):
            return f"the value is {name}, neither JSON in UTF-8 nor Avro behind a schema id"
    if _WIDE_LITTLE.match(value) or is_wide(value):
        return "the value is JSON in UTF-16 or UTF-32; it must be in UTF-8"
    if _ZLIB.match(value):
        return "the value is zlib, neither JSON in UTF-8 nor Avro behind a schema id"
    return ""


def is_wide(value: bytes) -> bool:
    """Whether bytes that begin with 0 are big-endian UTF-16, and not Avro."""
    return _WIDE_BIG.match(value) is not None


def name_object(report: Mapping[str, Any]) -> str:
    """What an object without a trial_id looks like, "" where it looks like nothing known."""
    names = report.keys()
    if "specversion" in names and not names.isdisjoint(("data", "data_base64", "type")):
        return "a CloudEvents envelope in structured mode: send its data alone, the attributes as headers (binary mode)"
    if {"schema", "payload"} <= names:
        inner = report["payload"]
        debezium = type(inner) is dict and _is_change(inner)
        name = "a Debezium change event in a Connect envelope" if debezium else "a Kafka Connect envelope"
        return f"{name} (schema and payload): send the payload alone (schemas.enable=false)"
    if _is_change(report):
        return "a Debezium change event (before, after, op): send the new row alone (ExtractNewRecordState)"
    for name, value in report.items():
        first = value[0] if type(value) is list and value else value
        if type(first) is dict and "trial_id" in first:
            return f"a wrapper: there is a trial_id in {name[:60]}"
    return ""


def _is_change(report: Mapping[str, Any]) -> bool:
    return "op" in report and ("after" in report or "before" in report)


def name_text(value: str) -> str:
    """What a JSON string at the top of a record is, "" where it is just a string."""
    if value.lstrip()[:1] in ("{", "["):
        try:
            read_exactly(value)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return ""
        return "JSON in a JSON string: it was encoded twice"
    return ""
