"""Numbers with all the digits that were written, as far as jsonb holds them; pure.

A number that a double or a 64-bit integer says in full is a `float` or an `int`, any other one a `Decimal`: so the
digits of the rare long number are kept, and the common one costs nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any

import msgspec

LONG_MAX = 2**63 - 1
LONG_MIN = -(2**63)
#: what Postgres' numeric, and so jsonb, holds at the most: digits before and behind the point
MAX_DIGITS, MAX_PLACES = 131_072, 16_383
#: digits that one report's numbers may stand for beyond a double: "1e99999" is 7 bytes, and 100,000 digits for
#: everybody who selects it. A report of 1 MiB could otherwise be 16 GB of text, which Postgres can't even send
MAX_WRITTEN = 2**20
#: with so many characters, point included, and no exponent a double says all the digits (DBL_DIG is 15)
_SURE_LENGTH = 16
#: digits and a sign that go to `int`, which takes quadratic time. Python's own limit is the same, but the environment
#: of a process (PYTHONINTMAXSTRDIGITS) may lift it
_INTEGER_LENGTH = 4300
_COUNT_LENGTH = len(str(LONG_MAX))
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_LAST_PLACE = Decimal((0, (1,), -MAX_PLACES))


def read_float(text: str) -> float | Decimal:
    """JSON's text of a number with a point or an exponent."""
    number = float(text)
    if (len(text) <= _SURE_LENGTH and "e" not in text and "E" not in text) or repr(number) == text:
        return number
    try:
        exact = Decimal(text)
    except InvalidOperation:  # an exponent of more than 18 digits: infinite, or nothing
        return number
    return number if math.isfinite(number) and Decimal(repr(number)) == exact else exact


def read_integer(digits: str) -> int | Decimal:
    """JSON's text of an integer; one of more than 4300 digits is a decimal, which takes linear time to read."""
    return int(digits) if len(digits) <= _INTEGER_LENGTH else Decimal(digits)


def read_count(text: str) -> int | None:
    """A text of ASCII digits as an integer; None where it is no such text, or the integer has more than 64 bits."""
    if not (text.isascii() and text.isdigit() and len(text) <= _COUNT_LENGTH):
        return None
    number = int(text)
    return number if number <= LONG_MAX else None


#: strict JSON -> values; raises what msgspec raises
read_exactly = msgspec.json.Decoder(float_hook=read_float).decode


def read_stored(text: bytes) -> Any:
    """jsonb's text -> values; msgspec refuses integers of over 4300 digits, which jsonb writes out."""
    try:
        return read_exactly(text)
    except msgspec.ValidationError:
        return json.loads(text, parse_float=read_float, parse_int=read_integer)


#: values -> JSON; decimals are numbers there
to_json = msgspec.json.Encoder(decimal_format="number").encode


def storable_number(value: Decimal) -> Decimal | int | str:
    """As jsonb holds it: rounded to its last place, an infinity's name where it is too large."""
    if not value:
        return 0
    if value.adjusted() >= MAX_DIGITS:
        return "Infinity" if value > 0 else "-Infinity"
    if places(value) > MAX_PLACES:
        return value.quantize(_LAST_PLACE, context=_EXACT) or 0
    return value


def places(value: Decimal) -> int:
    """Digits behind the point when it is written without an exponent."""
    digits, _, exponent = str(value).partition("E")
    return max(0, len(digits.partition(".")[2]) - int(exponent or 0))


def written(value: Any) -> int:
    """The digits that the decimals in a storable JSON value stand for."""
    return sum(max(one.adjusted() + 1, 1) + places(one) for one in _decimals(value))


def _decimals(value: Any) -> Iterator[Decimal]:
    """Every decimal in it; without recursion, because most of what is looked through holds none."""
    left = [value]
    while left:
        one = left.pop()
        if type(one) is Decimal:
            yield one
        elif type(one) is dict:
            left += one.values()
        elif type(one) is list:
            left += one
