"""Bytes -> JSON values: quickly where that is safe, else with the care that hostile and sloppy input needs; pure."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from processor.core.messages import Reason
from processor.core.numbers import MAX_PLACES, read_exactly, read_float, read_integer
from processor.core.text import MAX_DEPTH, brief
from processor.decode.refused import Refused
from processor.decode.wrappers import name_bytes

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
#: more digits behind a point than jsonb holds cover one of the places that are this far apart, and what follows it
_STRIDE, _DIGITS = MAX_PLACES // 2, b"0" * 64
#: what lies below an envelope, its list and the deepest report is cut off before `json` has to climb down there
_CUT_DEPTH = MAX_DEPTH + 8
#: strings, and brackets in a row
BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]++|[\]}]++', re.DOTALL)

#: strict JSON's values; raises one of `UNREADABLE` for anything else
read_strictly = read_exactly


def may_need_mending(value: bytes) -> bool:
    """False where JSON that `msgspec` reads, or only skips, holds nothing that Postgres or the schema can't: no NUL, no
    half surrogate pair, no integer beyond 64 bits, no number beyond a double, no endless fraction, no deep nesting,
    nothing but UTF-8.
    """
    flat = value.translate(_FLATTENED, _SIGNS)
    if flat.rfind(_LONG_INTEGER) >= 0 or flat.count(b"}") > MAX_DEPTH:
        return True
    if flat.rfind(b"e000") >= 0 and _LARGE_EXPONENT.search(flat):
        return True
    if len(flat) > _STRIDE and any(flat.startswith(_DIGITS, at) for at in range(0, len(flat), _STRIDE)):
        return True
    return (b"\\" in value and _HALF_OR_NUL.search(value) is not None) or not (value.isascii() or _is_utf8(value))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_fields(value: bytes, texts: Collection[str]) -> dict[str, Any]:
    """An object's fields; those named in `texts` as the text they came as (`msgspec.Raw`), where that is an object.

    For bytes of which `may_need_mending` said no. Raises one of `UNREADABLE`.
    """
    return {
        name: held if name in texts and memoryview(held)[0] == _BRACE else read_strictly(held)
        for name, held in _read_texts(value).items()
    }


_BRACE = ord("{")
_read_texts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_leniently(value: bytes) -> Any:
    """JSON as Python's own writer makes it: NaN, Infinity, lone surrogates, integers of any length.

    Raises `Refused` where it is no JSON at all.
    """
    return scanned(value, _read_whole)


def scanned(value: bytes, scan: Callable[[str], Any]) -> Any:
    """What `scan` makes of the text, which it takes apart with `scan_value`. Raises `Refused` for what is no JSON."""
    try:
        text = value.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        said = name_bytes(value) or f"not UTF-8 at byte {error.start}: {brief(value[:20].hex())}"
        raise Refused(Reason.NOT_JSON, said) from None
    try:
        try:
            return scan(text)
        except RecursionError:
            return scan(_cut(text))
    except NoJson as error:
        raise Refused(Reason.NOT_JSON, name_bytes(value) or _said(text, error)) from None


class NoJson(Exception):  # noqa: N818 - stays inside decode, where it becomes a `Refused`
    """The text is no JSON from this character on; `begun` where whole JSON stands before it."""

    def __init__(self, at: int, begun: bool = False) -> None:
        super().__init__(at)
        self.at, self.begun = at, begun


def scan_value(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at this very character, and where it ends. Raises `NoJson`, `RecursionError`."""
    try:
        value, end = _scan(text, at)
    except StopIteration as error:
        raise NoJson(error.value) from None
    except json.JSONDecodeError as error:
        raise NoJson(error.pos) from None
    return value, end


#: where white space ends; never None
skip_space = re.compile(r"[ \t\n\r]*+").match


def past_space(text: str, at: int) -> int:
    return skip_space(text, at).end()  # type: ignore[union-attr]


def check_end(text: str, at: int) -> None:
    """Raises `NoJson` where anything stands behind the value."""
    end = past_space(text, at)
    if end != len(text):
        raise NoJson(end, begun=True)


def _read_whole(text: str) -> Any:
    document, end = scan_value(text, past_space(text, 0))
    check_end(text, end)
    return document


def _said(text: str, error: NoJson) -> str:
    at, rest = error.at, text[error.at : error.at + 20]
    if error.begun and rest[:1] in ("{", "["):
        return (
            f"a second JSON value begins at character {at}: JSON lines? A record holds one value, or a list of reports"
        )
    if not rest:
        return f"not JSON: it ends too early, at character {at}"
    return f"not JSON from character {at} on: {brief(rest)}"


#: json's own reader of one value, with our numbers
_scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder(parse_float=read_float, parse_int=read_integer))[
    "scan_once"
]


def _cut(text: str) -> str:
    """JSON without what is nested deeper than any valid report, so that the rest of it can be read.

    The report that reached so deep still does reach too deep; the reports beside it are none the worse.
    """
    kept: list[str] = []
    start = level = 0
    for match in BRACKETS.finditer(text):
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
