"""Text and JSON values as they are stored and shown: what Postgres can hold, what a terminal may be given; pure."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

from processor.core.numbers import LONG_MAX, LONG_MIN, storable_number, to_json

#: levels of nesting in a report at the most
MAX_DEPTH = 200
_REPLACEMENT = "�"
#: NUL: Postgres text and jsonb refuse it; surrogates are not UTF-8
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DIGITS = re.compile("([0-9]+)")


class TooDeep(Exception):  # noqa: N818 - nobody's error: who stored the value says what becomes of it
    """The value nests deeper than `MAX_DEPTH` levels."""

    def __init__(self) -> None:
        super().__init__(f"nested deeper than {MAX_DEPTH} levels")


def storable(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A copy of a JSON value that Postgres can hold.

    NaN and infinities become strings, NUL and lone surrogates U+FFFD; integers beyond 64 bits become decimals, and
    those what jsonb holds of them.
    Raises `TooDeep` where it nests deeper than `depth` levels.
    """
    kind = type(value)
    if kind is str:
        return _storable_text(value)
    if kind is float:
        return value if math.isfinite(value) else _name_of(value)
    if kind is int and not LONG_MIN <= value <= LONG_MAX:
        return Decimal(value)  # at most 4300 digits, see `numbers.read_integer`
    if kind is dict or kind is list:
        if depth == 0:
            raise TooDeep
        if kind is dict:
            return {_storable_text(key): storable(item, depth - 1) for key, item in value.items()}
        return [storable(item, depth - 1) for item in value]
    return storable_number(value) if kind is Decimal else value


def _storable_text(text: str) -> str:
    # most text is plain, which is seen in a third of the time that a search takes
    return text if text.isascii() and "\0" not in text else UNSTORABLE.sub(_REPLACEMENT, text)


def _name_of(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def as_text(value: Any) -> str:
    """A text as it is, any other JSON value as its JSON. Raises `TooDeep`."""
    mended = storable(value)  # a bare NaN comes as it is, and would be null
    return mended if type(mended) is str else to_json(mended).decode()


def brief(value: object, limit: int = 60) -> str:
    """The value as it stands in a sentence for people: JSON, cut to `limit` characters."""
    try:
        text = to_json(storable(value)).decode()
    except TooDeep:
        text = "…"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def kind_of(value: object) -> str:
    """The JSON name of the value's type."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def printable(text: str) -> str:
    """The text with everything invisible (controls, bidirectional marks, surrogates) as an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def printable_json(text: str) -> str:
    """A line of JSON with everything invisible, which only its strings hold, as JSON's own escape: the same value."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def one_line(text: str) -> str:
    """The text without line breaks, tabs and the like: a sentence is one line of a table."""
    return " ".join(text.split())


def natural_order(name: str) -> tuple[list[Any], str]:
    """What to sort names by for people: without case, and numbers in them by size ("layer2" before "layer10")."""
    parts: list[Any] = _DIGITS.split(name.casefold())  # numbers stand at the odd places, so that like meets like
    parts[1::2] = [(len(digits), digits) for digits in (part.lstrip("0") for part in parts[1::2])]
    return parts, name
