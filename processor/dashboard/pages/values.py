"""What stands at a path of a trial's row: what a column shows is what the filter and the order find there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.tree import Path

#: as Postgres reads a place in a list
_PLACE = re.compile(r"\s*[+-]?[0-9]{1,9}", re.ASCII)
#: null is a value that is there: a metric that is null hides the parameter of its name
_NOTHING = object()


def value_at(row: Mapping[str, Any], path: Path) -> Any:
    """None where nothing stands there."""
    if path.place in COLUMNS:
        return row.get(path.place)
    places = ("metrics", "parameters") if path.place == "either" else (path.place,)
    found = (_inside(row[place], path.keys) for place in places)
    return next((one for one in found if one is not _NOTHING), None)


def _inside(held: Any, keys: Sequence[str]) -> Any:
    """A list is entered by a number, from its end by one below 0."""
    for key in keys:
        if isinstance(held, dict) and key in held:
            held = held[key]
        elif isinstance(held, list) and _PLACE.fullmatch(key) and -len(held) <= int(key) < len(held):
            held = held[int(key)]
        else:
            return _NOTHING
    return held
