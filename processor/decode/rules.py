"""The normalisation rules of raw reports, one function a kind of field; pure.

A rule takes what the report holds under a field and returns what the schema wants, the very same object where
nothing had to be bent. What no rule can bend is `Refused`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, NamedTuple

from processor.contracts.catalogue import NO_NEEDS, Needs
from processor.core.fields import FIELDS
from processor.core.messages import Reason
from processor.core.numbers import LONG_MAX, read_float
from processor.core.text import UNSTORABLE, TooDeep, as_text, brief, kind_of
from processor.decode.endings import STATUSES as STATUSES
from processor.decode.endings import ended_as
from processor.decode.refused import Refused

_NUMERIC = re.compile(r"\s*[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?\s*", re.ASCII)
#: more digits than a duration of 64 bits has, and what stands behind its point
_MILLISECONDS = Context(prec=60)
_TRUE, _FALSE = frozenset(("true", "yes", "on", "t", "y")), frozenset(("false", "no", "off", "f", "n"))

#: what a rule returns for a value that it can't read and does not refuse: the field gets its default, and the value as
#: it came is kept beside the fields
DEFAULT: Any = object()


class Rule(NamedTuple):
    """How a field is normalised: a value whose type is exactly `plain` needs no bending at all.

    What the schema allows and `needs` does too is left as it is: the short way of decode does not ask the rule then.
    A value of a `scalar` may come in a box.
    """

    plain: type | None
    bend: Callable[[Any], Any]
    needs: Needs = NO_NEEDS
    scalar: bool = True


def identifier(value: Any) -> str:
    """A string, or an integer in decimal; never empty, never with NUL or half a surrogate pair."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise Refused(Reason.INVALID_ID, f"an id is a string or an integer, not {kind_of(value)}: {brief(value)}")
    if not value:
        raise Refused(Reason.INVALID_ID, "an id must not be empty")
    if UNSTORABLE.search(value):
        raise Refused(Reason.INVALID_ID, f"an id must not hold NUL or half a surrogate pair: {brief(value)}")
    return value


def loose_boolean(value: Any) -> Any:
    """true and false, 1 and 0 in any numeric form, and the words for them in any case."""
    if type(value) is bool:
        return value
    if value is None:
        return False
    if type(value) is str:
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        value = _number_in(word)
    return value == 1 if type(value) in (int, float, Decimal) and value in (0, 1) else DEFAULT


def mlflow_run_id(value: Any) -> Any:
    if value is None or (type(value) is str and value):
        return value
    if value == "" and type(value) is str:
        return DEFAULT
    raise Refused(Reason.INVALID_TYPE, f"an MLflow run id is a string or null, not {kind_of(value)}: {brief(value)}")


def json_map(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if type(value) is dict:
        return value
    raise Refused(Reason.NOT_A_MAP, f"must be an object, not {kind_of(value)}: {brief(value)}")


def warnings(value: Any) -> list[str]:
    if value is None:
        return []
    if type(value) is not list:
        return [_as_text(value)]
    return value if all(type(item) is str for item in value) else [_as_text(item) for item in value]


def _as_text(value: Any) -> str:
    try:
        return as_text(value)
    except TooDeep as error:
        raise Refused(Reason.TOO_DEEP, str(error)) from None


def count(value: Any) -> Any:
    """A non-negative integer of 64 bits; fractions are rounded, halves up, and numeric strings are read."""
    if value is None or (type(value) is int and 0 <= value <= LONG_MAX):
        return value
    return _whole(value, value)


def seconds(value: Any) -> Any:
    """Seconds -> milliseconds, as `count`."""
    number: Any = _number_in(value) if type(value) is str else value
    if type(number) is float and math.isfinite(number):
        number = Decimal(repr(number))
    if type(number) in (int, Decimal) and -LONG_MAX <= number <= LONG_MAX:
        number = _MILLISECONDS.multiply(Decimal(number), Decimal(1000))
    return None if value is None else _whole(number, value)


def _whole(number: Any, came: Any) -> Any:
    """The number, which `came` in some form, as an integer; pandas writes a missing one as NaN."""
    if type(number) is str:
        number = _number_in(number)
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


def _number_in(text: str) -> int | float | Decimal | None:
    """The number that a text is, NaN for pandas' and Python's ways of writing it."""
    if not _NUMERIC.fullmatch(text):
        return float("nan") if text.strip().lower() == "nan" else None
    try:
        return int(text)
    except ValueError:
        return read_float(text.strip())


def optional_text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise Refused(Reason.INVALID_TYPE, f"must be a string, an integer or null, not {kind_of(value)}: {brief(value)}")


def free_text(value: Any) -> str | None:
    """What somebody says: a text, or the JSON of whatever it is; saying it in another form rejects nothing."""
    return None if value is None else _as_text(value)


#: by the name that `core.fields` uses
KINDS: dict[str, Rule] = {
    "status": Rule(None, ended_as),
    "loose_boolean": Rule(bool, loose_boolean),
    "mlflow_run_id": Rule(None, mlflow_run_id, Needs(length=1)),
    "json_map": Rule(dict, json_map, scalar=False),
    "warnings": Rule(None, warnings, scalar=False),
    "count": Rule(None, count, Needs(least=0)),
    "seconds": Rule(None, seconds),
    "optional_text": Rule(str, optional_text),
    "free_text": Rule(str, free_text),
}
#: by field of trial_report; a field without a column needs none: it is validated as it came
RULES: dict[str, Rule] = {field.name: KINDS[field.rule] for field in FIELDS}
#: by field: the names that stand in for it where it is missing, each with its rule
ALIASES = {field.name: [(alias, KINDS[rule]) for alias, rule in field.aliases] for field in FIELDS}
