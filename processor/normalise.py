"""The normalisation rules of raw reports, one function a kind of field; pure.

A rule takes what the report holds under a field and returns what the schema wants, the very same object where
nothing had to be bent. What no rule can bend is `Refused`, which stays inside decode: there it becomes a `Rejection`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from processor.catalogue import NO_NEEDS, Needs
from processor.messages import Reason

MAX_DEPTH = 200
LONG_MAX = 2**63 - 1
LONG_MIN = -(2**63)
_REPLACEMENT = "�"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL: Postgres text and jsonb refuse it; surrogates are not UTF-8
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


class Refused(Exception):  # noqa: N818 - not an error: the report's own fault, a Rejection in the making
    """The value can't be bent into what the schema wants."""

    def __init__(self, reason: Reason, detail: str, path: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.path = reason, detail, path


class Rule(NamedTuple):
    """How a field is normalised: a value whose type is exactly `plain` needs no bending at all.

    What the schema allows and `needs` does too is left as it is: the short way of decode does not ask the rule then.
    """

    plain: type | None
    bend: Callable[[Any], Any]
    needs: Needs = NO_NEEDS


def brief(value: object, limit: int = 60) -> str:
    """The value as it stands in a sentence for people: JSON, cut to `limit` characters."""
    try:
        text = msgspec.json.encode(storable(value)).decode()
    except Refused:  # nested too deep
        text = "…"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def kind_of(value: object) -> str:
    """The JSON name of the value's type."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def identifier(value: Any) -> str:
    """A string, or an integer in decimal; never empty, never with NUL or half a surrogate pair."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise Refused(Reason.INVALID_ID, f"an id is a string or an integer, not {kind_of(value)}: {brief(value)}")
    if not value:
        raise Refused(Reason.INVALID_ID, "an id must not be empty")
    if _UNSTORABLE.search(value):
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
    mended = storable(value)  # a bare NaN comes as it is, and would be null
    return mended if type(mended) is str else msgspec.json.encode(mended).decode()


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


#: by field of trial_report; a field that a later schema version adds needs no entry: it is validated as it came
RULES: dict[str, Rule] = {
    "status": Rule(None, status),
    "spectral_norm": Rule(bool, loose_boolean),
    "mlflow_run_id": Rule(None, mlflow_run_id, Needs(length=1)),
    "metrics": Rule(dict, json_map),
    "parameters": Rule(dict, json_map),
    "warnings": Rule(None, warnings),
    "duration_ms": Rule(None, count, Needs(least=0)),
    "rank": Rule(None, count, Needs(least=0)),
    "artifact_uri": Rule(str, optional_text),
    "pulse_id": Rule(str, optional_text),
    "candidate_id": Rule(str, optional_text),
}


def storable(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A copy of a JSON value that Postgres can hold.

    NaN and infinities become strings, NUL and lone surrogates U+FFFD, integers beyond 64 bits doubles.
    Raises `Refused` (too_deep) where it nests deeper than `depth` levels.
    """
    kind = type(value)
    if kind is str:
        return _UNSTORABLE.sub(_REPLACEMENT, value)
    if kind is float:
        return value if math.isfinite(value) else _name_of(value)
    if kind is int and not LONG_MIN <= value <= LONG_MAX:
        return _as_double(value)
    if kind is dict or kind is list:
        if depth == 0:
            raise Refused(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")
        if kind is dict:
            return {_UNSTORABLE.sub(_REPLACEMENT, key): storable(item, depth - 1) for key, item in value.items()}
        return [storable(item, depth - 1) for item in value]
    return value


def _as_double(value: int) -> float | str:
    try:
        return float(value)
    except OverflowError:
        return "Infinity" if value > 0 else "-Infinity"


def _name_of(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
