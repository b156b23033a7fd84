"""What makes a report's fields storable: what Postgres can't hold is mended at any depth; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from processor.core.messages import Reason
from processor.core.numbers import MAX_WRITTEN, written
from processor.core.text import TooDeep, storable
from processor.decode.refused import Refused
from processor.decode.rules import RULES

#: `as_it_is`, `mended` or `mended_quickly`, as the bytes demand; told the names that have a rule
Mend = Callable[[Mapping[str, Any], Collection[str]], Mapping[str, Any]]


def as_it_is(fields: Mapping[str, Any], _ruled: Collection[str] = ()) -> Mapping[str, Any]:
    return fields


def mended(fields: Mapping[str, Any], ruled: Collection[str] = RULES) -> Mapping[str, Any]:
    """The fields as Postgres can hold them. Raises `Refused` where nobody could read them there again."""
    storables = mended_quickly(fields, ruled)
    digits = written(storables)
    if digits > MAX_WRITTEN:
        raise Refused(Reason.TOO_LARGE, f"its numbers stand for {digits} digits; {MAX_WRITTEN} are allowed")
    return storables


def mended_quickly(fields: Mapping[str, Any], ruled: Collection[str] = RULES) -> dict[str, Any]:
    """The report (or the envelope) itself is no level of nesting.

    A bare number under a name that has a rule is left to the rule: a long id is not to become a double, nor NaN a text.
    """
    storables = {}
    for name, value in fields.items():
        name = storable(name)
        bare = type(value) in (int, float) and name in ruled
        try:
            storables[name] = value if bare else storable(value)
        except TooDeep as error:
            raise Refused(Reason.TOO_DEEP, str(error), name[:200]) from None
    return storables
