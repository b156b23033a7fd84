"""A schema -> a function that writes the plain form as bytes ("Binary Encoding").

fastavro's writer validates every branch of every union again at each level: a nested value costs its size times
its depth. Here a datum is validated once, and then the type of a value picks its branch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from processor.contracts.avro.schema import Names, Parsed, Type, default_maker, resolve, unwraps
from processor.contracts.avro.validator import PLAIN_TYPES, Check, Rules, compile_validator

Write = Callable[[bytearray, Any], None]
_double = struct.Struct("<d").pack
_float = struct.Struct("<f").pack


def compile_writer(parsed: Parsed) -> Callable[[Any], bytes]:
    """The function that writes one datum; fields that are missing are written as their defaults.

    It raises `ValueError` for what the schema does not allow, or UTF-8 (half a surrogate pair).
    """
    write = _Compiler(parsed.names).writer(parsed.root)
    validate = compile_validator(parsed)

    def encode(datum: Any) -> bytes:
        problem = validate(datum)
        if problem is not None:
            raise ValueError(f"{problem.path} {problem.message}".lstrip())
        out = bytearray()
        try:
            write(out, datum)
        except RecursionError:
            raise ValueError("nested too deep") from None
        return bytes(out)

    return encode


def write_long(out: bytearray, value: int) -> None:
    number = (value << 1) ^ (value >> 63)
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _write_bytes(out: bytearray, value: bytes) -> None:
    write_long(out, len(value))
    out += value


_PRIMITIVES: dict[str, Write] = {
    "null": lambda out, value: None,
    "boolean": lambda out, value: out.append(value),
    "int": write_long,
    "long": write_long,
    "float": lambda out, value: out.extend(_float(value)),
    "double": lambda out, value: out.extend(_double(value)),
    "bytes": _write_bytes,
    "string": lambda out, value: _write_bytes(out, value.encode()),
    "fixed": lambda out, value: out.extend(value),
}


class _Compiler:
    """As in the validator: each composite once, before what it contains."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._checks = Rules(names)
        self._known: dict[int, Write] = {}

    def writer(self, type_: Type) -> Write:
        kind, definition = resolve(type_, self._names)
        if kind == "record" and unwraps(definition):
            return self.writer(definition["fields"][0]["type"])
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind]
        known = self._known.get(id(definition))
        if known is None:
            compile_: Callable[[Any], Write] = getattr(self, f"_{kind}")
            known = compile_(definition)
        return known

    def _enum(self, definition: Mapping[str, Any]) -> Write:
        numbers = {symbol: number for number, symbol in enumerate(definition["symbols"])}
        return lambda out, value: write_long(out, numbers[value])

    def _array(self, definition: Mapping[str, Any]) -> Write:
        write_item: Write

        def write(out: bytearray, value: list[Any]) -> None:
            if value:
                write_long(out, len(value))
                for item in value:
                    write_item(out, item)
            out.append(0)

        self._known[id(definition)] = write
        write_item = self.writer(definition["items"])
        return write

    def _map(self, definition: Mapping[str, Any]) -> Write:
        write_item: Write

        def write(out: bytearray, value: dict[str, Any]) -> None:
            if value:
                write_long(out, len(value))
                for key, item in value.items():
                    _write_bytes(out, key.encode())
                    write_item(out, item)
            out.append(0)

        self._known[id(definition)] = write
        write_item = self.writer(definition["values"])
        return write

    def _record(self, definition: Mapping[str, Any]) -> Write:
        fields: list[tuple[str, Write, Callable[[], Any] | None]] = []

        def write(out: bytearray, value: dict[str, Any]) -> None:
            for name, write_field, make_default in fields:
                if make_default is not None and name not in value:
                    write_field(out, make_default())
                else:
                    write_field(out, value[name])

        self._known[id(definition)] = write
        for field in definition["fields"]:
            type_, make = field["type"], None
            if "default" in field:
                make = default_maker(type_, field["default"], self._names)
            fields.append((field["name"], self.writer(type_), make))
        return write

    def _union(self, branches: list[Type]) -> Write:
        table: dict[type, list[tuple[int, Check, Write]]] = {}

        def write(out: bytearray, value: Any) -> None:
            found = table.get(type(value))
            if found is None:  # a type of its own, as in the validator
                found = table[next(base for base in PLAIN_TYPES if isinstance(value, base))]
            for index, check, write_branch in found:
                if len(found) == 1 or check(value) is None:
                    write_long(out, index)
                    write_branch(out, value)
                    return

        self._known[id(branches)] = write
        for index, branch in enumerate(branches):
            rule, write_branch = self._checks.rule(branch), self.writer(branch)
            for type_ in (*rule.always, *rule.checks):
                table.setdefault(type_, []).append((index, rule.check, write_branch))
        return write
