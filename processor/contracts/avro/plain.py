"""Avro's bytes in what JSON can hold: text, decimals, UUIDs ("Logical Types")."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any
from uuid import UUID

from processor.contracts.avro import wire

_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
#: a decimal of more bytes is text: making a number of it would take time that grows with its square
_MOST_DECIMAL_BYTES = 1024
#: as many places as a double may have; with thousands of them a byte would be pages of zeros in the database
_MOST_SCALE = 400


def plain_bytes(kind: str, type_: Any) -> wire.Read:
    """The function that reads `bytes` or a `fixed` type of a schema; other logical types are what they are made of."""
    definition: Mapping[str, Any] = type_ if isinstance(type_, Mapping) else {}
    read = wire.fixed_reader(definition["size"]) if kind == "fixed" else wire.read_bytes
    logical, scale = definition.get("logicalType"), definition.get("scale", 0)
    if logical == "decimal" and type(scale) is int and 0 <= scale <= _MOST_SCALE:
        return wire.converted(read, lambda value: _decimal(value, scale))
    if logical == "uuid" and definition.get("size") == 16:
        return wire.converted(read, lambda value: str(UUID(bytes=value)))
    return wire.converted(read, _text)


def _decimal(value: bytes, scale: int) -> Decimal | str:
    if len(value) > _MOST_DECIMAL_BYTES:
        return _text(value)
    return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-scale, context=_EXACT)


def _text(value: bytes) -> str:
    """Text where it is UTF-8, as Avro promotes bytes to strings; else base64, marked as the client does it.

    What holds a NUL is UTF-8 by chance only, and as text would lose it: Postgres' text has none.
    """
    try:
        if b"\0" not in value:
            return value.decode()
    except UnicodeDecodeError:
        pass
    return f"base64:{b64encode(value).decode()}"
