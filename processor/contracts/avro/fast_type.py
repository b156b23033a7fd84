"""A schema's type -> the msgspec type whose every value is valid by the schema and needs no conversion.

msgspec judges while it reads JSON, in C. A type made here says yes only to what the compiled validator says yes to (a
property test compares the two); what it says no to may still be valid, and is for the validator to judge.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from processor.contracts.avro.schema import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, Names, Type, resolve, unwraps

_ANY_JSON = frozenset(("null", "boolean", "long", "double", "string", "array", "map"))
_BOUNDS = {"int": (INT_MIN, INT_MAX), "long": (LONG_MIN, LONG_MAX)}


class Needs(NamedTuple):
    """What the caller wants of a value beyond the schema."""

    least: int | None = None
    length: int = 0


NO_NEEDS = Needs()


def fast_type(type_: Type, names: Names, needs: Needs = NO_NEEDS) -> Any | None:
    """The msgspec type, None where there is none: a double takes integers too, msgspec would make floats of them.

    A map of any JSON is `msgspec.Raw`, text that msgspec only skips: the caller has to look whether it is an object
    and for what JSON may say and the schema may not (integers beyond 64 bits, numbers beyond a double).
    """
    kind, definition = resolve(type_, names)
    if kind == "boolean":
        return bool
    if kind == "string":
        return Annotated[str, msgspec.Meta(min_length=needs.length)]
    if kind in _BOUNDS:
        low, high = _BOUNDS[kind]
        return Annotated[int, msgspec.Meta(ge=low if needs.least is None else max(low, needs.least), le=high)]
    if kind == "enum":
        return Literal[tuple(definition["symbols"])]
    if kind == "map" and _takes_any_json(definition["values"], names):
        return msgspec.Raw
    if kind == "array":
        item = fast_type(definition["items"], names)
        # nobody would look at the texts in a list
        return None if item in (None, msgspec.Raw) else list[item]  # type: ignore[valid-type]
    if kind == "union" and len(definition) == 2 and "null" in definition:
        [branch] = [one for one in definition if one != "null"]
        some = fast_type(branch, names, needs)
        return None if some is None else some | None
    return None


def _takes_any_json(type_: Type, names: Names, within: frozenset[str] = frozenset()) -> bool:
    """Whether the type is a union of all that JSON has, and so is what its lists and objects hold."""
    kind, definition = resolve(type_, names)
    if kind == "record" and unwraps(definition):
        name = definition["name"]
        return name in within or _takes_any_json(definition["fields"][0]["type"], names, within | {name})
    if kind != "union" or {resolve(branch, names)[0] for branch in definition} != _ANY_JSON:
        return False
    containers = [branch for branch in definition if isinstance(branch, dict)]
    return all(_takes_any_json(one.get("items", one.get("values")), names, within) for one in containers)
