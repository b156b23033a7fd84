"""(writer's schema, reader's schema) -> a function that reads bytes; "Schema Resolution" done once.

The bytes may be hostile. Every item of an array or a map costs at least a byte, and what the schema adds to the bytes
is metered, so time and memory are linear in the length of the value; nesting is counted, not left to the stack. What is
read is the plain form: a record that the reader's schema marks `unwrap` is read as its value.

Reports are read by their writer's schema alone (`compile_plain_reader`): what their fields come to is for the rules of
decode to say, as in JSON. Resolution says which versions stay compatible.

Where the two schemas do not fit, the place is noted as a `Misfit` and a reader is put there that refuses: so a
union branch that never occurs does no harm, and the compatibility check says exactly what reading would.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from processor.contracts.avro import wire
from processor.contracts.avro.plain import plain_bytes
from processor.contracts.avro.problem import Problem
from processor.contracts.avro.schema import (
    NAMED,
    Names,
    Parsed,
    Type,
    default_maker,
    empty_records,
    may_be_empty,
    named,
    resolve,
    unwraps,
)
from processor.contracts.avro.wire import MAX_DEPTH, Metered, Read, TooDeep, TooMuch, Unfit, Unreadable

#: "Schema Resolution": what a writer's type may be read as, beside itself
PROMOTIONS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "int": {"long": int, "float": float, "double": float},
    "long": {"float": float, "double": float},
    "float": {"double": float},
    "string": {"bytes": str.encode},
    "bytes": {"string": bytes.decode},
}


class Misfit(NamedTuple):
    """A place where the reader's schema cannot take what the writer's may hold."""

    path: str
    why: str


def compile_reader(writer: Parsed, reader: Parsed) -> tuple[Callable[[bytes, int], Any], list[Misfit]]:
    """The function that reads the one datum from an offset to the end, and where the schemas do not fit.

    The function returns the datum or a `Problem`; it raises nothing.
    """
    compiler = _Compiler(writer.names, reader.names)
    return _reading(compiler.reader(writer.root, reader.root, "")), compiler.misfits


def compile_plain_reader(writer: Parsed, unwrapped: Collection[str] = ()) -> Callable[[bytes, int], Any]:
    """As `compile_reader`, by the writer's schema alone, in what JSON can hold: bytes become text or decimals.

    A record whose only field is `value` and whose name is among the `unwrapped` is one to unwrap, whether the writer's
    schema says so or not: registries drop attributes that they don't know.
    """
    compiler = _Compiler(writer.names, writer.names, frozenset(unwrapped))
    return _reading(compiler.reader(writer.root, writer.root, ""))


def _reading(read: Read) -> Callable[[bytes, int], Any]:
    def read_all(value: bytes, offset: int) -> Any:
        try:
            # the report itself is no level of nesting
            datum, end = read(Metered.of(value), offset, MAX_DEPTH + 1)
        except (IndexError, struct.error):
            return Problem("", f"Avro ends too early: {len(value)} bytes are not all of it", "unreadable")
        except UnicodeDecodeError:
            return Problem("", "Avro holds a string that is not UTF-8", "unreadable")
        except Unfit as error:
            return Problem(error.path, error.why)
        except Unreadable as error:
            return Problem("", f"Avro cannot be read: {error}", "unreadable")
        except TooMuch:
            message = f"{len(value)} bytes of Avro come to far more than they are, by the names of their schema"
            return Problem("", message, "too_large")
        except (TooDeep, RecursionError):
            return Problem("", f"Avro is nested deeper than {MAX_DEPTH} levels", "too_deep")
        if end != len(value):
            return Problem("", f"Avro goes on for {len(value) - end} bytes after its end", "unreadable")
        return datum

    return read_all


class _Compiler:
    """Compiles each pair of composite types once, before what they contain: recursion meets itself."""

    def __init__(self, writer_names: Names, reader_names: Names, unwrapped: frozenset[str] | None = None) -> None:
        self._writer_names, self._reader_names = writer_names, reader_names
        self._unwrapped = unwrapped
        self._known: dict[tuple[int, int], Read] = {}
        self.misfits: list[Misfit] = []

    @cached_property
    def _empty(self) -> frozenset[str]:
        return empty_records(self._writer_names)

    @cached_property
    def _skipping(self) -> _Compiler:
        """One for all that is skipped: fields share types, and each type is compiled once."""
        return _Compiler(self._writer_names, self._writer_names)

    def reader(self, writer: Type, reader: Type, path: str) -> Read:
        """The function that reads what `writer` wrote as `reader` wants it, at this place in the data."""
        writer_kind, writer = resolve(writer, self._writer_names)
        reader_kind, reader = resolve(reader, self._reader_names)
        key = (id(writer), id(reader))
        if key in self._known:
            return self._known[key]
        if self._unwrapped is not None and writer_kind in ("bytes", "fixed"):
            return plain_bytes(writer_kind, writer)
        if writer_kind == "union":
            return self._writer_union(key, writer, reader, path)
        if reader_kind == "union":
            branch = self._branch(writer, reader)
            if branch is None:
                kinds = ", ".join(named(branch, self._reader_names) for branch in reader)
                return self._misfit(path, f"{named(writer, self._writer_names)} is none of {kinds}")
            return self.reader(writer, branch, path)
        if self._fits(writer, reader) is None:
            was, wanted = named(writer, self._writer_names), named(reader, self._reader_names)
            return self._misfit(path, f"{was} cannot be read as {wanted}")
        if writer_kind != reader_kind:
            return wire.converted(wire.PRIMITIVES[writer_kind], PROMOTIONS[writer_kind][reader_kind])
        if writer_kind in wire.PRIMITIVES:
            return wire.PRIMITIVES[writer_kind]
        compile_: Callable[[tuple[int, int], Any, Any, str], Read] = getattr(self, f"_{writer_kind}")
        return compile_(key, writer, reader, path)

    def _misfit(self, path: str, why: str) -> Read:
        self.misfits.append(Misfit(path, why))
        return wire.refusing(path, why)

    def _fits(self, writer: Type, reader: Type) -> bool | None:
        """True: the very type; False: by promotion; None: not at all. Looks no deeper than the names."""
        writer_kind, writer = resolve(writer, self._writer_names)
        reader_kind, reader = resolve(reader, self._reader_names)
        if writer_kind != reader_kind:
            return False if reader_kind in PROMOTIONS.get(writer_kind, ()) else None
        if writer_kind not in NAMED:
            return True
        if writer_kind == "fixed" and writer["size"] != reader["size"]:
            return None
        names = {reader["name"], *reader.get("aliases", ())}  # matched without namespace: "Schema Resolution"
        return True if _last(writer["name"]) in {_last(name) for name in names} else None

    def _branch(self, writer: Type, branches: list[Type]) -> Type | None:
        """The first branch of the very type, else the first that it can be promoted to."""
        fits = [(self._fits(writer, branch), branch) for branch in branches]
        return next((b for fit, b in fits if fit), None) or next((b for fit, b in fits if fit is False), None)

    def _writer_union(self, key: tuple[int, int], writer: list[Type], reader: Type, path: str) -> Read:
        branches: dict[int, Read] = {}
        read = self._known[key] = wire.union_reader(branches)
        for index, branch in enumerate(writer):
            wanted = branch if writer is reader else reader
            branches[index * 2] = self.reader(branch, wanted, path)  # zig-zag: the byte that stands for the index
        return read

    def _array(self, key: tuple[int, int], writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Read:
        if may_be_empty(writer["items"], self._writer_names, self._empty):
            return self._misfit(path, "an array of items that take no bytes can claim any length")
        item: list[Read] = []
        read = self._known[key] = wire.array_reader(item)
        item.append(self.reader(writer["items"], reader["items"], f"{path}[]"))
        return read

    def _map(self, key: tuple[int, int], writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Read:
        item: list[Read] = []
        read = self._known[key] = wire.map_reader(item)
        item.append(self.reader(writer["values"], reader["values"], f"{path}.*"))
        return read

    def _fixed(self, key: tuple[int, int], writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Read:
        return wire.fixed_reader(writer["size"])

    def _enum(self, key: tuple[int, int], writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Read:
        known = frozenset(reader["symbols"])
        table: list[str | None] = [symbol if symbol in known else reader.get("default") for symbol in writer["symbols"]]
        lost = [symbol for symbol, read in zip(writer["symbols"], table, strict=True) if read is None]
        if lost:
            self.misfits.append(
                Misfit(path, f"{', '.join(lost)} is no symbol of {reader['name']}, which has no default")
            )
        return wire.enum_reader(writer["symbols"], table)

    def _record(self, key: tuple[int, int], writer: Mapping[str, Any], reader: Mapping[str, Any], path: str) -> Read:
        prefix = f"{path}." if path else ""
        plain = unwraps(reader) or self._is_unwrapped(reader)
        if plain and [field["name"] for field in writer["fields"]] == ["value"]:
            return self.reader(writer["fields"][0]["type"], reader["fields"][0]["type"], path)
        steps: list[tuple[str | None, Read]] = []
        defaults: list[tuple[str, Callable[[], Any]]] = []
        cost: list[int] = []
        read = wire.record_reader(steps, defaults, cost)
        read = self._known[key] = wire.converted(read, lambda record: record["value"]) if plain else read
        wanted = {field["name"]: field for field in reader["fields"]}
        written = {field["name"] for field in writer["fields"]}
        by_alias = {
            alias: field
            for field in reader["fields"]
            for alias in field.get("aliases", ())
            if field["name"] not in written  # the name itself goes before any alias
        }
        for field in writer["fields"]:
            target = wanted.get(field["name"]) or by_alias.get(field["name"])
            if target is None or wanted.pop(target["name"], None) is None:
                steps.append((None, self._skip(field["type"], prefix + field["name"])))
            else:
                name = target["name"]
                steps.append((name, self.reader(field["type"], target["type"], prefix + name)))
        for name, field in wanted.items():
            if "default" in field:
                defaults.append((name, default_maker(field["type"], field["default"], self._reader_names)))
            else:
                steps.append((name, self._misfit(prefix + name, "is not in the data and has no default")))
        cost.append(sum(wire.FIELD_COST + len(name or "") for name, _ in steps))
        return read

    def _is_unwrapped(self, record: Mapping[str, Any]) -> bool:
        only = [field["name"] for field in record["fields"]] == ["value"]
        return only and self._unwrapped is not None and _last(record["name"]) in self._unwrapped

    def _skip(self, type_: Type, path: str) -> Read:
        """What the reader does not want is read as the writer has it, and dropped."""
        known = len(self._skipping.misfits)
        read = self._skipping.reader(type_, type_, path)
        self.misfits += self._skipping.misfits[known:]
        return read


def _last(name: str) -> str:
    return name.rpartition(".")[2]
