"""Bytes -> JSON values: quickly where that is safe, else with the care that hostile and sloppy input needs; pure."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import msgspec

from processor.core.messages import Reason
from processor.core.text import MAX_DEPTH, brief
from processor.decode.refused import Refused

#: what msgspec and Python raise for JSON that they don't take
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)

#: digits become 0, what may stand before a number a comma, brackets that close a brace: one search finds any long
#: integer, one any large exponent, one count any nesting. All from the right: CPython then looks for the needle's first
#: character, which is rarer than its last
_FLATTENED = bytes.maketrans(b"123456789E:[ \t\n\r]", b"000000000e,,,,,,}")
_SIGNS = b"+-"
_LARGE_EXPONENT = re.compile(rb"0e0000*[,}]")
_HALF_OR_NUL = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_LONG_INTEGER = b"," + b"0" * 19  # the shortest one beyond 64 bits has 19 digits
#: what lies below an envelope, its list and the deepest report is cut off before `json` has to climb down there
_CUT_DEPTH = MAX_DEPTH + 8
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]++|[\]}]++', re.DOTALL)

#: strict JSON's values; raises one of `UNREADABLE` for anything else
read_strictly = msgspec.json.Decoder().decode


def may_need_mending(value: bytes) -> bool:
    """False where JSON that `msgspec` reads, or only skips, holds nothing that Postgres or the schema can't: no NUL, no
    half surrogate pair, no integer beyond 64 bits, no number beyond a double, no deep nesting, nothing but UTF-8.
    """
    flat = value.translate(_FLATTENED, _SIGNS)
    if flat.rfind(_LONG_INTEGER) >= 0 or flat.count(b"}") > MAX_DEPTH:
        return True
    if flat.rfind(b"e000") >= 0 and _LARGE_EXPONENT.search(flat):
        return True
    return (b"\\" in value and _HALF_OR_NUL.search(value) is not None) or not (value.isascii() or _is_utf8(value))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_leniently(value: bytes) -> Any:
    """JSON as Python's own writer makes it: NaN, Infinity, lone surrogates, integers of any length.

    Raises `Refused` where it is no JSON at all.
    """
    try:
        text = value.removeprefix(codecs.BOM_UTF8).decode()
        try:
            return _lenient.decode(text)
        except RecursionError:
            return _lenient.decode(_cut(text))
    except UnicodeDecodeError as error:
        raise Refused(Reason.NOT_JSON, f"not UTF-8 at byte {error.start}: {brief(value[:20].hex())}") from None
    except json.JSONDecodeError as error:
        raise Refused(Reason.NOT_JSON, f"not JSON: {error.msg} at character {error.pos}") from None


def _read_integer(digits: str) -> int | float:
    """Python refuses integers of over 4300 digits, because they take quadratic time: a double will do."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


#: made once: `json.loads` with an option makes one for each call
_lenient = json.JSONDecoder(parse_int=_read_integer)


def _cut(text: str) -> str:
    """JSON without what is nested deeper than any valid report, so that the rest of it can be read.

    The report that reached so deep still does reach too deep; the reports beside it are none the worse.
    """
    kept: list[str] = []
    start = level = 0
    for match in _BRACKETS.finditer(text):
        at, number = match.start(), match.end() - match.start()
        if text[at] in "[{":
            if level <= _CUT_DEPTH < level + number:
                kept += text[start : at + _CUT_DEPTH - level], "[]"
            level += number
        elif text[at] in "]}":
            if level - number <= _CUT_DEPTH < level:
                start = at + level - _CUT_DEPTH
            level -= number
    if level <= _CUT_DEPTH:
        kept.append(text[start:])
    return "".join(kept)
