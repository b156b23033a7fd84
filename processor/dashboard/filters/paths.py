"""Words -> paths and values, and what may be asked of which; every refusal says where and what else to write."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches

from processor.dashboard.filters.fields import ALIASES, COLUMNS, STATUSES, Kind
from processor.dashboard.filters.tokens import Token
from processor.dashboard.filters.tree import MAX_STEPS, FilterError, Path, Scalar, State

_MAPS = {
    "metrics": "metrics",
    "metric": "metrics",
    "parameters": "parameters",
    "parameter": "parameters",
    "params": "parameters",
}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: jsonb would take larger ones, and write out each of their digits
_LARGEST, _SMALLEST = Decimal("1e400"), Decimal("1e-400")
_NO_NUMBERS = frozenset({"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"})
_OPERATORS: dict[Kind, tuple[str, ...]] = {
    "text": ("=", "!=", "contains"),
    "texts": ("contains",),
    "boolean": ("=", "!="),
    "number": ("=", "!=", "<", "<=", ">", ">="),
    "time": ("=", "!=", "<", "<=", ">", ">="),
}
_STATES: dict[Kind, tuple[State, ...]] = {
    "text": ("missing", "empty"),
    "texts": ("missing", "empty"),
    "boolean": ("missing",),
    "number": ("missing", "finite", "nan"),
    "time": ("missing",),
}


def path_of(token: Token) -> Path:
    """`status`, `metrics.accuracy`, `parameters."layer 1".units`; another name is a metric, or else a parameter."""
    keys = _keys(token)
    if token.pieces[0].quoted:
        return Path("either", keys)
    first = keys[0].lower()
    if len(keys) == 1:
        if first in _MAPS:
            raise FilterError(f"{keys[0]} needs a name: {keys[0]}.accuracy", token.at)
        column = ALIASES.get(first, first)
        return Path(column) if column in COLUMNS else Path("either", keys)
    if first in _MAPS:
        return Path(_MAPS[first], keys[1:])
    return Path("either", keys)


def _keys(token: Token) -> tuple[str, ...]:
    keys: list[str] = []
    key: str | None = None
    for piece in token.pieces:
        for place, part in enumerate([piece.text] if piece.quoted else piece.text.split(".")):
            if place:
                keys.append(_named(key, token))
                key = None
            if part or piece.quoted:
                key = (key or "") + part
    keys.append(_named(key, token))
    if len(keys) > MAX_STEPS:
        raise FilterError(f"a path has at most {MAX_STEPS} names", token.at)
    return tuple(keys)


def _named(key: str | None, token: Token) -> str:
    if key is None:
        raise FilterError(
            f'a name is missing beside a point in {token.text}: quote a name that has one, "a.b"', token.at
        )
    return key


def value_of(path: Path, token: Token) -> Scalar:
    """What a word stands for beside this path: a quoted one is a text, and so is every one beside a text."""
    if token.kind != "word":
        raise FilterError(f"a value is expected, not {token.text}", token.at)
    text, bare = "".join(piece.text for piece in token.pieces), token.bare
    kind = COLUMNS[path.place].kind if path.place in COLUMNS else None
    if kind == "time":
        return _time(text, token.at)
    if kind == "text" or not bare:
        return text
    if bare.lower() in ("true", "false") and kind != "number":
        return bare.lower() == "true"
    if bare.lower() in _NO_NUMBERS:
        raise FilterError(f"nothing equals {bare}: write `is nan` for NaN and infinite values", token.at)
    if bare.lower() == "null":
        raise FilterError("write `is missing` for what is null or not there", token.at)
    return _number(bare, token.at) if _NUMBER.fullmatch(bare) else text


def _number(text: str, at: int) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent of more than 18 digits
        number = _LARGEST
    # `abs` computes, and fails where an exponent is beyond what computing takes; a comparison does not
    if number and not _SMALLEST < number.copy_abs() < _LARGEST:
        raise FilterError(f"a number is between 1e-400 and 1e400, not {text}", at)
    return number


def _time(text: str, at: int) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise FilterError(f"{text} is no time: write 2026-11-25 or 2026-11-25T09:30:00Z (UTC)", at) from None


def check(path: Path, operator: str, value: Scalar, token: Token) -> Scalar:
    """The value, where this may be asked of this path; raises `FilterError`."""
    kind = COLUMNS[path.place].kind if path.place in COLUMNS else _kind_of(value)
    name = path.place if path.place in COLUMNS else f"a {kind}"
    if operator not in _OPERATORS[kind]:
        raise FilterError(f"{name} takes {', '.join(_OPERATORS[kind])}, not {operator}", token.at)
    if kind == "boolean" and not isinstance(value, bool):
        raise FilterError(f"{name} is true or false, not {value}", token.at)
    if kind == "number" and (isinstance(value, bool) or not isinstance(value, Decimal)):
        raise FilterError(f"{name} is a number, not {value}", token.at)
    if path.place == "status" and operator != "contains" and value not in STATUSES:
        close = get_close_matches(str(value).lower(), STATUSES, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise FilterError(f"no trial has the status {value}: {hint}there are {', '.join(STATUSES)}", token.at)
    return value


def _kind_of(value: Scalar) -> Kind:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, Decimal) else "text"


def check_state(path: Path, state: State, token: Token) -> State:
    if path.place in COLUMNS and state not in (states := _STATES[COLUMNS[path.place].kind]):
        raise FilterError(f"{path.place} can be {', '.join(states)}, not {state}", token.at)
    return state
