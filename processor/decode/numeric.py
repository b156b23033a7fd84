"""The rules of fields that are numbers, one function a kind of field; pure."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from processor.core.messages import Reason
from processor.core.numbers import LONG_MAX, read_float
from processor.core.text import brief
from processor.decode.refused import DEFAULT, Refused

_NUMERIC = re.compile(r"\s*[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?\s*", re.ASCII)
#: more digits than a duration of 64 bits has, and what stands behind its point
_MILLISECONDS = Context(prec=60)
INT_MAX = 2**31 - 1
#: as Python, JavaScript, Java and this processor itself write them
_NON_FINITE = {
    **dict.fromkeys(("nan", "-nan"), math.nan),
    **dict.fromkeys(("infinity", "inf"), math.inf),
    **dict.fromkeys(("-infinity", "-inf"), -math.inf),
}
#: every integer up to here is a double
_EXACT = 2**53


def count(value: Any) -> Any:
    """A non-negative integer of 64 bits; fractions are rounded, halves up, and numeric strings are read."""
    if value is None or (type(value) is int and 0 <= value <= LONG_MAX):
        return value
    return _whole(value, value)


def small_count(value: Any) -> Any:
    """As `count`, of 32 bits: more no column of a run holds."""
    whole = count(value)
    if type(whole) is int and whole > INT_MAX:
        raise Refused(Reason.INVALID_NUMBER, f"must be a non-negative 32-bit integer, not {brief(value)}")
    return whole


def step(value: Any) -> Any:
    """A non-negative integer of 64 bits, in whatever form; never rounded: two steps must not become one."""
    number: Any = number_in(value) if type(value) is str else value
    fraction = type(number) is float and math.isfinite(number) and not number.is_integer()
    if fraction or (type(number) is Decimal and number != number.to_integral_value()):
        raise Refused(Reason.INVALID_NUMBER, f"a step is a whole number, not {brief(value)}")
    return count(value)


def metric_value(value: Any) -> Any:
    """A double; NaN and the infinities, in any spelling, are values: that a curve left the page is worth knowing."""
    if type(value) is float or (type(value) is int and -_EXACT <= value <= _EXACT):
        return value
    if value is None:
        raise Refused(Reason.MISSING_METRIC, "ml.run.metric needs the metric's value")
    return _double(value)


def finite(value: Any) -> Any:
    """A double; one that is not finite is none, and is kept as it came."""
    if value is None or (type(value) is int and -_EXACT <= value <= _EXACT):
        return value
    number = value if type(value) is float else _double(value)
    return number if math.isfinite(number) else DEFAULT


def _double(value: Any) -> float:
    number: Any = value
    if type(value) is str:
        number = _NON_FINITE.get(value.strip().lower().lstrip("+"), number_in(value))
    if type(number) not in (int, float, Decimal):
        raise Refused(Reason.INVALID_NUMBER, f"must be a number, not {brief(value)}")
    try:
        return float(number)
    except OverflowError:  # an integer of 310 digits
        return math.inf if number > 0 else -math.inf


def seconds(value: Any) -> Any:
    """Seconds -> milliseconds, as `count`."""
    number: Any = number_in(value) if type(value) is str else value
    if type(number) is float and math.isfinite(number):
        number = Decimal(repr(number))
    if type(number) in (int, Decimal) and -LONG_MAX <= number <= LONG_MAX:
        number = _MILLISECONDS.multiply(Decimal(number), Decimal(1000))
    return None if value is None else _whole(number, value)


def _whole(number: Any, came: Any) -> Any:
    """The number, which `came` in some form, as an integer; pandas writes a missing one as NaN."""
    if type(number) is str:
        number = number_in(number)
    if type(number) is float and math.isnan(number):
        return DEFAULT
    if type(number) is float and math.isfinite(number) and number >= 0:
        whole = math.floor(number)
        number = whole + (number - whole >= 0.5)  # adding 0.5 to the float itself would round what needs no rounding
    elif type(number) is Decimal and 0 <= number < LONG_MAX + 1:
        number = int(number.to_integral_value(ROUND_HALF_UP))
    if type(number) is not int or not 0 <= number <= LONG_MAX:
        raise Refused(Reason.INVALID_NUMBER, f"must be a non-negative 64-bit integer, not {brief(came)}")
    return number


def number_in(text: str) -> int | float | Decimal | None:
    """The number that a text is, NaN for pandas' and Python's ways of writing it."""
    if not _NUMERIC.fullmatch(text):
        return float("nan") if text.strip().lower() == "nan" else None
    try:
        return int(text)
    except ValueError:
        return read_float(text.strip())
