"""JSON of any shape -> what MLflow can hold: leaves under dotted keys, and series of numbers by step; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from processor.core.numbers import LONG_MAX
from processor.core.text import as_text
from processor.mlflow.names import legal_key, with_digest

#: how events write what is no finite number
NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Path = tuple[str, ...]


class Leaf(NamedTuple):
    """A value that is not taken apart any further: a scalar, an empty object, or a list that holds no objects."""

    path: Path
    value: Any

    @property
    def name(self) -> str:
        return ".".join(self.path)


def leaves(value: Any, path: Path = ()) -> Iterator[Leaf]:
    """All of them in the order of the document; lists of objects are taken apart by their places."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value) and series(value) is None:
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, str(place)))
    else:
        yield Leaf(path, value)


def keyed(found: Iterable[Leaf], taken: Iterable[str] = ()) -> dict[str, Leaf]:
    """Each leaf under a key of its own that MLflow takes; of two that would share one, the shorter path has it."""
    keys: dict[str, Leaf] = {}
    used = set(taken)
    for leaf in sorted(found, key=lambda one: (len(one.path), one.path)):
        key = legal_key(leaf.name)
        if key in used:
            key = with_digest(key, repr(leaf.path))
        used.add(key)
        keys[key] = leaf
    return keys


def number(value: Any) -> float | None:
    """As a double, infinities and NaN by their names too; None for what is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float, Decimal)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return NONFINITE.get(value) if isinstance(value, str) else None


def series(value: Any) -> list[tuple[int, float]] | None:
    """(step, value) of a list of numbers, of [step, value] pairs, or of {"step", "value"}; None for anything else.

    Pairs must have whole steps that grow, or they would be a matrix.
    """
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(one, dict) for one in value):
        pairs = [(one.get("step"), one.get("value")) for one in value if len(one) == 2]
        return _pairs(pairs, len(value))
    if all(isinstance(one, list) and len(one) == 2 for one in value):
        return _pairs([(one[0], one[1]) for one in value], len(value))
    return _pairs(list(enumerate(value)), len(value))


def _pairs(pairs: Sequence[tuple[Any, Any]], wanted: int) -> list[tuple[int, float]] | None:
    found: list[tuple[int, float]] = []
    for step, value in pairs:
        point = number(value)
        if type(step) is not int or not 0 <= step <= LONG_MAX or point is None:
            return None
        if found and step <= found[-1][0]:
            return None
        found.append((step, point))
    return found if len(found) == wanted else None


def text_of(value: Any) -> str:
    """A text as it is, anything else as its JSON."""
    return as_text(value)
