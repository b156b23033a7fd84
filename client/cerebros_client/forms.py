"""What an object of somebody's library is in JSON's terms, told by its attributes: no library is imported here.

`form_of` answers with something nearer to JSON, which may hold objects again, or raises `NoFormError`. What it calls is
code of others and may raise anything; whoever calls it is ready for that.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import math
import operator
import os
import types
from collections.abc import Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any
from uuid import UUID

#: iterators that only hand on what is there already; a file, a cursor or a data loader is never read
_LAZY = (types.GeneratorType, map, filter, zip, enumerate, reversed)
_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
#: a decimal beyond it is no double, and as an integer might have any number of digits
_LARGEST_EXPONENT = 307
#: what pandas has for "missing", by the name of its class
_MISSING = frozenset(("NAType", "NaTType"))


class NoFormError(Exception):
    """JSON has no form for it."""


class Pieces(list[Any]):
    """A list of which the rest was left out: `whole` says how many items there were, or that nobody knows."""

    whole: int | None = None


def form_of(value: Any, most: int) -> Any:
    """`value` one step nearer to JSON, with `most` items at the most. Raises `NoFormError`, or what `value` raises."""
    if isinstance(value, Enum):
        held = value.value
        return held if held is None or isinstance(held, (bool, int, float, str)) else value.name
    if isinstance(value, (bool, int, float, str)):  # subclasses, whose own __str__ or __repr__ is not asked
        return _base(value)
    for kind, form in _OF_THE_LANGUAGE:
        if isinstance(value, kind):
            return form(value)
    if isinstance(value, Mapping):
        return Pairs(value.items(), most)
    return _of_a_library(value, most)


def _base(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    return float.__pos__(value) if isinstance(value, float) else int.__pos__(value)


class Pairs(list[tuple[Any, Any]]):
    """The items of a mapping whose keys are not known to be texts; `whole` as that of `Pieces`."""

    def __init__(self, items: Any, most: int) -> None:
        super().__init__((key, held) for key, held in itertools.islice(items, most + 1))
        self.more = len(self) > most
        del self[most:]


def pieces(items: Any, most: int) -> Any:
    """A list of the items; told by its type where there were more."""
    found = Pieces(itertools.islice(iter(items), most + 1))
    if len(found) <= most:
        return list(found)
    found.whole = len(items) if hasattr(items, "__len__") else None
    del found[most:]
    return found


def _of_a_library(value: Any, most: int) -> Any:
    kind = type(value)
    if kind.__name__ in _MISSING:
        return None
    if (fields := _fields_of(value, kind)) is not None:
        return fields
    if (table := _table(value, kind, most)) is not None:
        return table
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        return Pairs(((key, value[key]) for key in value.keys()), most)  # noqa: SIM118 # it need not be iterable
    if hasattr(value, "shape") or hasattr(value, "tolist") or hasattr(value, "__array__"):
        return _array(value, most)
    if isinstance(value, (Sequence, Set, ValuesView, *_LAZY)) or kind.__module__ in ("itertools", "collections"):
        return pieces(value, most)
    for name in ("to_dict", "as_py", "to_list", "item"):
        if callable(convert := getattr(kind, name, None)):
            return _other(value, convert(value))
    if hasattr(kind, "__index__"):
        return operator.index(value)
    if hasattr(kind, "__float__"):
        return float(value)
    raise NoFormError


def _fields_of(value: Any, kind: type) -> Any:
    """The fields of a dataclass, a named tuple, a pydantic model, an attrs class or a msgspec struct; None: no such."""
    if dataclasses.is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return dict(zip(kind._fields, value, strict=False))
    if hasattr(kind, "model_fields") and hasattr(kind, "model_dump"):
        return value.model_dump()
    if hasattr(kind, "__fields__") and hasattr(kind, "dict"):
        return value.dict()
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if names := getattr(kind, "__struct_fields__", None):
        return {name: getattr(value, name) for name in names}
    return None


def _table(value: Any, kind: type, most: int) -> Any:
    """A series as a map, a frame as a map of columns: of pandas, and of polars by its own names; None: no such."""
    if hasattr(kind, "iloc") and hasattr(kind, "columns"):
        return Pairs(((name, value[name].tolist()) for name in value.columns), most)
    if hasattr(kind, "iloc") and hasattr(value, "index"):
        value = value.iloc[: most + 1]
        return Pairs(zip(value.index.tolist(), value.tolist(), strict=True), most)
    if hasattr(kind, "to_list") and hasattr(kind, "dtype"):
        return pieces(value.to_list(), most)
    if hasattr(kind, "to_dict") and hasattr(kind, "columns"):
        return Pairs(((name, value[name].to_list()) for name in value.columns), most)
    return None


def _array(value: Any, most: int) -> Any:
    """The numbers of an array, a tensor or a variable: of numpy, torch, TensorFlow, Keras, JAX or their like."""
    kind = type(value)
    if hasattr(kind, "detach"):  # torch: numpy() has no bfloat16, tolist() has
        value = value.detach().cpu()
    elif not hasattr(kind, "tolist"):
        value = value.numpy() if hasattr(kind, "numpy") else value.__array__()
    count = math.prod(int(length) for length in getattr(value, "shape", ()))
    if count > most:
        kept = Pieces(_listed(value.reshape(-1)[:most]))
        kept.whole = count
        return kept
    return _listed(value)


def _listed(value: Any) -> Any:
    letter = getattr(getattr(value, "dtype", None), "kind", "")
    if letter == "M":  # numpy's for times: their numbers depend on a unit that would be lost
        return _without_nat(value.astype(str).tolist())
    if letter == "m":
        return _without_nat((value.astype("m8[ns]").astype("i8") / 1e9).tolist(), value)
    return _other(value, value.tolist())


def _without_nat(found: Any, of: Any = None) -> Any:
    """Missing times are null, as pandas' are; `of` are the spans that `found` are the seconds of."""
    if of is not None:
        found = _chosen(found, (of != of).tolist())
    if isinstance(found, list):
        return [_without_nat(one) for one in found]
    return None if found == "NaT" else found


def _chosen(found: Any, missing: Any) -> Any:
    if isinstance(found, list):
        return [_chosen(one, gone) for one, gone in zip(found, missing, strict=True)]
    return None if missing else found


def _other(value: Any, found: Any) -> Any:
    """What a conversion gave, unless that is the same thing again: a long double gives itself without end."""
    if type(found) is not type(value):
        return found
    if hasattr(type(value), "__float__"):
        return _number(value)
    raise NoFormError


def _number(value: Any) -> float:
    """The nearest double; a finite number beyond all doubles has none."""
    found = float(value)
    if math.isinf(found) and value - value == 0:
        raise NoFormError
    return found


def _decimal(value: Decimal) -> Any:
    if not value.is_finite():
        return float("nan") if value.is_nan() else float(value)
    if value.adjusted() > _LARGEST_EXPONENT:
        raise NoFormError
    return int(value) if value == value.to_integral_value() else float(value)


def _moment(value: Any) -> str | None:
    return None if type(value).__name__ in _MISSING else str(value.isoformat())


def _seconds(value: timedelta) -> float | None:
    return None if type(value).__name__ in _MISSING else value.total_seconds()


def _text_of_bytes(value: Any) -> str:
    raw = bytes(value)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(raw).decode()


def _in_order(value: Any) -> list[Any]:
    """A set has no order of its own: the same set reported twice must be the same report."""
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=repr)


def _text_of_path(value: Any) -> Any:
    return os.fspath(value)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}".removeprefix("builtins.")


_OF_THE_LANGUAGE: tuple[tuple[Any, Any], ...] = (
    (Decimal, _decimal),
    (Fraction, _number),
    ((datetime, date, time), _moment),
    (timedelta, _seconds),
    (UUID, str),
    (os.PathLike, _text_of_path),
    ((bytes, bytearray, memoryview), _text_of_bytes),
    ((set, frozenset), _in_order),
    (BaseException, lambda value: text_of_error(value)),
    (_NAMED, _name),
)


def text_of_error(error: BaseException) -> str:
    """As the last line of a traceback says it."""
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
