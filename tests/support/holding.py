"""Whether a filter holds a trial, in Python: what its SQL is held to, case by case."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, assert_never

from processor.dashboard.filters.fields import COLUMNS, SEARCHED
from processor.dashboard.filters.tree import Among, And, Compare, Contains, Is, Node, Not, Or, Path, Scalar, Search

_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_ASCII = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
#: what Postgres takes as the index of a list
_INDEX = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+")


def holds(node: Node, trial: Mapping[str, Any]) -> bool:
    """`trial` has the columns, `run_id`, and `metrics` and `parameters` as `store` reads them."""
    match node:
        case And(terms):
            return all(holds(term, trial) for term in terms)
        case Or(terms):
            return any(holds(term, trial) for term in terms)
        case Not(term):
            return not holds(term, trial)
        case Compare():
            return _compare(node, trial)
        case Among(path, values):
            return any(_equal(_value(path, trial), value) for value in values)
        case Contains(path, text):
            return _contains(_value(path, trial), text, lists=path.place in COLUMNS)
        case Is():
            return _is(node, _value(node.path, trial))
        case Search(text):
            return any(_contains(trial.get(name), text) for name in SEARCHED)
        case _:
            assert_never(node)


def _value(path: Path, trial: Mapping[str, Any]) -> Any:
    if path.place in COLUMNS:
        return trial.get(path.place)
    for place in ("metrics", "parameters") if path.place == "either" else (path.place,):
        there, value = _at(trial[place], path.keys)
        if there:
            return value
    return None


def _at(value: Any, keys: tuple[str, ...]) -> tuple[bool, Any]:
    """Whether something is there, be it null, and what."""
    for key in keys:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(key) and -len(value) <= int(key) < len(value):
            value = value[int(key)]
        else:
            return False, None
    return True, value


def _compare(node: Compare, trial: Mapping[str, Any]) -> bool:
    value = _value(node.path, trial)
    if value is None:
        return False
    if node.operator == "=":
        return _equal(value, node.value)
    if node.operator == "!=":
        return not _equal(value, node.value)
    if node.path.place not in COLUMNS and isinstance(value, str):
        return value == ("Infinity" if node.operator in (">", ">=") else "-Infinity")
    if _is_number(value):
        return bool(_COMPARE[node.operator](_exact(value), node.value))
    return COLUMNS.get(node.path.place) is not None and bool(_COMPARE[node.operator](value, node.value))


def _equal(value: Any, wanted: Scalar) -> bool:
    if isinstance(wanted, Decimal):
        return _is_number(value) and _exact(value) == wanted
    return type(value) is type(wanted) and bool(value == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _exact(value: float | Decimal) -> Decimal:
    """The number as it is written, which is how jsonb holds it."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _contains(value: Any, text: str, *, lists: bool = False) -> bool:
    if lists and isinstance(value, (list, tuple)):
        return any(_contains(one, text) for one in value)
    return isinstance(value, str) and text.translate(_ASCII) in value.translate(_ASCII)


def _is(node: Is, value: Any) -> bool:
    if node.path.place in COLUMNS and COLUMNS[node.path.place].kind == "texts":
        return not value
    if node.what == "missing":
        return value is None
    if node.what == "finite":
        return _is_number(value)
    if node.what == "nan":
        return node.path.place not in COLUMNS and isinstance(value, str) and value in _NOT_FINITE
    return isinstance(value, (str, list, dict)) and not value
