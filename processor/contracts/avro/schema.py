"""What a schema is: parsed by fastavro, every name in full, and the few rules that fastavro does not check.

Sections named in docstrings are those of the Avro 1.12 specification.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import fastavro.schema
from fastavro.schema import SchemaParseException

#: A record with this attribute has one field, `value`, and is read, written and validated as that field alone.
#: Avro lets only named types contain themselves; this keeps the name out of the data ("Schema Declaration"
#: allows attributes of one's own as long as they leave the bytes alone).
UNWRAP = "unwrap"
#: where a schema from a registry holds those that it refers to
REFERENCES = "references"
PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
NAMED = frozenset(("record", "enum", "fixed"))
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")

Type = Any  # a schema, or a part of one: a name, a list (a union), or an object
Names = Mapping[str, Any]


class BadSchema(Exception):  # noqa: N818 - the catalogue turns it into a SchemaError that names the file
    """The schema breaks the specification; the text says where and how."""


class Parsed(NamedTuple):
    """A schema with all names in full, and the named types by full name."""

    root: Type
    names: Names


class Unparsed(BadSchema):
    """fastavro can't parse the schema; the text is its own, or Python's."""


def parse(definition: Any, references: Iterable[Any] = ()) -> Parsed:
    """Parses a schema as it was read from JSON; `references` define types that it names, each before its users.

    Raises `BadSchema`.
    """
    names: dict[str, Any] = {}
    try:
        for one in references:
            fastavro.schema.parse_schema(copy.deepcopy(one), names, _write_hint=False)
        root = fastavro.schema.parse_schema(copy.deepcopy(definition), names, _write_hint=False)
        parsed = Parsed(root, names)
        _check(root, names, "", set())
    except KeyError as error:
        raise Unparsed(f"{error.args[0]!r} is missing") from None
    except (SchemaParseException, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Unparsed(f"{error}" or type(error).__name__) from None
    return parsed


def fingerprint(parsed: Parsed) -> bytes:
    """CRC-64-AVRO of the parsing canonical form, 8 bytes, little-endian ("Single-object encoding")."""
    canonical = fastavro.schema.to_parsing_canonical_form(parsed.root)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def resolve(type_: Type, names: Names) -> tuple[str, Any]:
    """The kind of a type (`record`, `union`, `long`, ...) and its definition, with a name looked up."""
    if isinstance(type_, str):
        if type_ in PRIMITIVES:
            return type_, type_
        type_ = names[type_]
    if isinstance(type_, list):
        return "union", type_
    kind = type_["type"]
    return ("record" if kind == "error" else kind), type_


def named(type_: Type, names: Names) -> str:
    """The type as people call it: its name where it has one, else its kind."""
    kind, definition = resolve(type_, names)
    return str(definition["name"]) if kind in NAMED else kind


def unwraps(record: Mapping[str, Any]) -> bool:
    return bool(record.get(UNWRAP))


def plain_default(type_: Type, default: Any, names: Names) -> Any:
    """A field's default, from the JSON of the schema to the plain form that data is read in.

    A union's default is of its first type, as every Avro release reads it ("Complex Types, Records").
    Raises `ValueError`, `TypeError`, `KeyError` or `AttributeError` where it does not fit the type.
    """
    kind, definition = resolve(type_, names)
    if kind == "union":
        return plain_default(definition[0], default, names)
    if kind == "array":
        return [plain_default(definition["items"], item, names) for item in default]
    if kind == "map":
        return {key: plain_default(definition["values"], item, names) for key, item in default.items()}
    if kind == "record":
        fields = definition["fields"]
        values = {f["name"]: default[f["name"]] if f["name"] in default else f["default"] for f in fields}
        plain = {f["name"]: plain_default(f["type"], values[f["name"]], names) for f in fields}
        return plain["value"] if unwraps(definition) else plain
    if kind in ("bytes", "fixed"):
        return default.encode("latin-1")
    if kind in ("float", "double") and type(default) is int:
        return float(default)
    return default


def default_maker(type_: Type, default: Any, names: Names) -> Callable[[], Any]:
    """Makes the default anew each time where it is a list or a dict: data must never share one."""
    value = plain_default(type_, default, names)
    if isinstance(value, list | dict):
        return lambda: copy.deepcopy(value)
    return lambda: value


def empty_records(names: Names) -> frozenset[str]:
    """The records whose values can take no bytes at all; each field is looked at once.

    One part that needs a byte decides for the whole, and a record that contains itself without end has no value at all,
    so it never needs one.
    """
    records = {name: one for name, one in names.items() if resolve(one, names)[0] == "record"}
    holders: dict[str, list[str]] = {}
    filled: list[str] = []
    for name, record in records.items():
        for field in record["fields"]:
            kind, definition = resolve(field["type"], names)
            if kind == "record":
                holders.setdefault(definition["name"], []).append(name)
            elif not may_be_empty(field["type"], names, frozenset()):
                filled.append(name)
                break
    need_bytes: set[str] = set()
    while filled:
        name = filled.pop()
        if name not in need_bytes:
            need_bytes.add(name)
            filled += holders.get(name, ())
    return frozenset(records) - need_bytes


def may_be_empty(type_: Type, names: Names, empty: frozenset[str]) -> bool:
    """Whether a value of the type can take no bytes at all: an array of such is as long as it claims to be.

    `empty` are the `empty_records`.
    """
    kind, definition = resolve(type_, names)
    if kind == "fixed":
        return bool(definition["size"] == 0)
    return definition["name"] in empty if kind == "record" else kind == "null"


def _check(type_: Type, names: Names, path: str, seen: set[str]) -> None:
    """What the specification asks and fastavro lets pass. Raises `BadSchema`."""
    kind, definition = resolve(type_, names)
    if kind in NAMED:
        _check_aliases(definition, path or definition["name"])
    if kind == "union":
        _check_union(definition, names, path)
        for branch in definition:
            _check(branch, names, path, seen)
    elif kind == "array":
        _check(definition["items"], names, f"{path}[]", seen)
    elif kind == "map":
        _check(definition["values"], names, f"{path}.*", seen)
    elif kind == "fixed" and not (type(definition["size"]) is int and definition["size"] >= 0):
        raise BadSchema(f"{path}: the size of a fixed type is a number of bytes, not {definition['size']!r}")
    elif kind == "record" and definition["name"] not in seen:
        seen.add(definition["name"])
        _check_names(definition, path)
        if unwraps(definition):
            _check_unwrapped(definition, names, path)
        for field in definition["fields"]:
            place = f"{path}.{field['name']}".lstrip(".")
            _check_aliases(field, place)
            _check(field["type"], names, place, seen)


def _check_names(record: Mapping[str, Any], path: str) -> None:
    """Fields have names of their own, in the letters that every language can use ("Names")."""
    names: set[str] = set()
    for name in (record["name"], *(field["name"] for field in record["fields"])):
        if not _NAME.fullmatch(name):
            raise BadSchema(f"{path or record['name']}: {name!r} is no Avro name")
    for field in record["fields"]:
        if field["name"] in names:
            raise BadSchema(f"{path or record['name']}: has two fields {field['name']}")
        names.add(field["name"])


def _check_aliases(owner: Mapping[str, Any], place: str) -> None:
    """Of a named type or a field; they are looked up as names, so whatever else stands there is refused ("Aliases")."""
    aliases = owner.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise BadSchema(f"{place}: its aliases are no list of names")


def _check_unwrapped(record: Mapping[str, Any], names: Names, path: str) -> None:
    if [field["name"] for field in record["fields"]] != ["value"]:
        raise BadSchema(f"{path or record['name']}: a record to {UNWRAP} has one field, named value")
    kind, definition = resolve(record["fields"][0]["type"], names)
    if kind == "record" and unwraps(definition):
        raise BadSchema(f"{path or record['name']}: a record to {UNWRAP} must not hold another one directly")


def _check_union(branches: list[Type], names: Names, path: str) -> None:
    """Unions hold no unions, and no type twice ("Complex Types, Unions")."""
    seen = set()
    for branch in branches:
        name = named(branch, names)
        if name == "union":
            raise BadSchema(f"{path}: a union must not hold a union")
        if name in seen:
            raise BadSchema(f"{path}: a union must not hold {name} twice")
        kind, definition = resolve(branch, names)
        if kind == "record" and unwraps(definition):
            raise BadSchema(f"{path}: a union must not hold a record to {UNWRAP}: its plain form fits others too")
        seen.add(name)
    if not branches:
        raise BadSchema(f"{path}: a union must hold a type")
