"""The normalisation rules of raw reports, one function a kind of field; pure.

A rule takes what the report holds under a field and returns what the schema wants, the very same object where
nothing had to be bent. What no rule can bend is `Refused`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from processor.contracts.catalogue import NO_NEEDS, Needs
from processor.core.fields import FIELDS
from processor.core.messages import Reason
from processor.core.text import LONG_MAX, UNSTORABLE, TooDeep, as_text, brief, kind_of
from processor.decode.refused import Refused

_NUMERIC = re.compile(r"\s*[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?\s*", re.ASCII)

STATUSES = {
    "succeeded": "succeeded",
    "complete": "succeeded",
    "completed": "succeeded",
    "success": "succeeded",
    "failed": "failed",
    "error": "failed",
    "timeout": "failed",
    "skipped": "skipped",
    "pruned": "skipped",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_BOOLEANS = {"true": True, "false": False}


class Rule(NamedTuple):
    """How a field is normalised: a value whose type is exactly `plain` needs no bending at all.

    What the schema allows and `needs` does too is left as it is: the short way of decode does not ask the rule then.
    """

    plain: type | None
    bend: Callable[[Any], Any]
    needs: Needs = NO_NEEDS


def identifier(value: Any) -> str:
    """A string, or an integer in decimal; never empty, never with NUL or half a surrogate pair."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise Refused(Reason.INVALID_ID, f"an id is a string or an integer, not {kind_of(value)}: {brief(value)}")
    if not value:
        raise Refused(Reason.INVALID_ID, "an id must not be empty")
    if UNSTORABLE.search(value):
        raise Refused(Reason.INVALID_ID, f"an id must not hold NUL or half a surrogate pair: {value!r:.60}")
    return value


def status(value: Any) -> str:
    if value is None:
        return "succeeded"
    known = STATUSES.get(value) or STATUSES.get(value.strip().lower()) if type(value) is str else None
    if known is None:
        raise Refused(Reason.UNKNOWN_STATUS, f"{brief(value)} is no status; known are {', '.join(STATUSES)}")
    return value if known == value else known


def loose_boolean(value: Any) -> bool:
    """true/false, "true"/"false" in any case, 1/0; anything else is false, as the bridge had it."""
    if type(value) is bool:
        return value
    if type(value) is str:
        return _BOOLEANS.get(value.lower(), False)
    return type(value) is int and value == 1


def mlflow_run_id(value: Any) -> str | None:
    if value is None or (type(value) is str and value):
        return value
    if value == "" and type(value) is str:
        return None
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


def count(value: Any) -> int | None:
    """A non-negative integer of 64 bits; floats are rounded, halves up, and numeric strings are read."""
    if value is None:
        return None
    number = value
    if type(value) is str:
        number = _number_in(value)
    if type(number) is float and math.isfinite(number) and number >= 0:
        whole = math.floor(number)
        number = whole + (number - whole >= 0.5)  # adding 0.5 to the float itself would round what needs no rounding
    if type(number) is not int or not 0 <= number <= LONG_MAX:
        raise Refused(Reason.INVALID_NUMBER, f"must be a non-negative 64-bit integer, not {brief(value)}")
    return number


def _number_in(text: str) -> int | float | None:
    if not _NUMERIC.fullmatch(text):
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)


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
    "status": Rule(None, status),
    "loose_boolean": Rule(bool, loose_boolean),
    "mlflow_run_id": Rule(None, mlflow_run_id, Needs(length=1)),
    "json_map": Rule(dict, json_map),
    "warnings": Rule(None, warnings),
    "count": Rule(None, count, Needs(least=0)),
    "optional_text": Rule(str, optional_text),
    "free_text": Rule(str, free_text),
}
#: by field of trial_report; a field without a column needs none: it is validated as it came
RULES: dict[str, Rule] = {field.name: KINDS[field.rule] for field in FIELDS}
