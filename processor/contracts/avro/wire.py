"""The binary encoding of each kind of type, read ("Binary Encoding" in the specification).

A `Read` takes the bytes, the offset to read at and the levels of nesting still allowed; it returns the value and
the offset behind it. Past the end, indexing raises IndexError by itself; slices do not, so those are measured.

What is in the schema and not in the bytes (names of fields, symbols, fields that take no bytes) is metered: an item of
one byte may be a record of a thousand fields.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from processor.contracts.avro.schema import INT_MAX, INT_MIN

#: a guard for the Python stack (two frames a level), above what decode allows in any report (200)
MAX_DEPTH = 256

#: what the bytes of one datum may come to beside themselves: so much, and so much for each of them
METERED_LEAST, METERED_A_BYTE = 8 * 1024 * 1024, 16
#: what a field costs beside its name
FIELD_COST = 32


class Metered(bytes):
    """Bytes with what may still be made of them. One is made for each reading, so that threads may share a reader."""

    left: int

    @classmethod
    def of(cls, value: bytes) -> Metered:
        metered = cls(value)
        metered.left = METERED_LEAST + METERED_A_BYTE * len(value)
        return metered

    def spend(self, cost: int) -> None:
        """Raises `TooMuch`."""
        self.left -= cost
        if self.left < 0:
            raise TooMuch


Read = Callable[[Metered, int, int], tuple[Any, int]]
_read_double = struct.Struct("<d").unpack_from
_read_float = struct.Struct("<f").unpack_from


class Unreadable(Exception):  # noqa: N818 - stays inside the package: the reader turns it into a Problem
    """The bytes are not what the writer's schema says."""


class Unfit(Exception):  # noqa: N818 - as above
    """The bytes are what the writer's schema says, at a place where that is of no use to the reader."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


class TooMuch(Exception):  # noqa: N818 - as above
    """The bytes come to far more than they are."""


class TooDeep(Exception):  # noqa: N818 - as above
    """The bytes nest deeper than `MAX_DEPTH`."""


def read_null(value: Metered, at: int, depth: int) -> tuple[None, int]:
    return None, at


def read_boolean(value: Metered, at: int, depth: int) -> tuple[bool, int]:
    byte = value[at]
    if byte > 1:
        raise Unreadable(f"byte {at} is {byte}, no boolean")
    return byte == 1, at + 1


def read_long(value: Metered, at: int, depth: int) -> tuple[int, int]:
    byte = value[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    return _read_varint(value, at)


def read_int(value: Metered, at: int, depth: int) -> tuple[int, int]:
    number, end = read_long(value, at, depth)
    if not INT_MIN <= number <= INT_MAX:
        raise Unreadable(f"byte {at} begins {number}, no 32-bit integer")
    return number, end


def _read_varint(value: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(10):  # 64 bits, 7 a byte
        byte = value[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if number >= 1 << 64:
                break
            return (number >> 1) ^ -(number & 1), at + place + 1
    raise Unreadable(f"byte {at} begins an integer of more than 64 bits")


def read_float(value: Metered, at: int, depth: int) -> tuple[float, int]:
    return _read_float(value, at)[0], at + 4


def read_double(value: Metered, at: int, depth: int) -> tuple[float, int]:
    return _read_double(value, at)[0], at + 8


def read_bytes(value: Metered, at: int, depth: int) -> tuple[bytes, int]:
    size, start = read_long(value, at, depth)
    end = start + size
    if size < 0 or end > len(value):
        raise Unreadable(f"byte {at} announces {size} bytes, {len(value) - start} are left")
    return value[start:end], end


def read_string(value: Metered, at: int, depth: int) -> tuple[str, int]:
    size = value[at]
    if size >= 0x80 or size & 1:
        data, end = read_bytes(value, at, depth)
        return data.decode(), end
    start = at + 1
    end = start + (size >> 1)
    if end > len(value):
        raise Unreadable(f"byte {at} announces {size >> 1} bytes, {len(value) - start} are left")
    return value[start:end].decode(), end


PRIMITIVES: dict[str, Read] = {
    "null": read_null,
    "boolean": read_boolean,
    "int": read_int,
    "long": read_long,
    "float": read_float,
    "double": read_double,
    "bytes": read_bytes,
    "string": read_string,
}


def converted(read: Read, convert: Callable[[Any], Any]) -> Read:
    def read_converted(value: Metered, at: int, depth: int) -> tuple[Any, int]:
        datum, at = read(value, at, depth)
        return convert(datum), at

    return read_converted


def refusing(path: str, why: str) -> Read:
    def refuse(value: Metered, at: int, depth: int) -> tuple[Any, int]:
        raise Unfit(path, why)

    return refuse


def fixed_reader(size: int) -> Read:
    def read_fixed(value: Metered, at: int, depth: int) -> tuple[bytes, int]:
        if at + size > len(value):
            raise Unreadable(f"{size} bytes are due at byte {at}, {len(value) - at} are left")
        return value[at : at + size], at + size

    return read_fixed


def enum_reader(symbols: Sequence[str], table: Sequence[str | None]) -> Read:
    """`table` holds what each of the writer's `symbols` is to the reader, None where it is nothing."""

    def read_enum(value: Metered, at: int, depth: int) -> tuple[str, int]:
        index, end = read_long(value, at, depth)
        if not 0 <= index < len(table):
            raise Unreadable(f"byte {at} begins the number {index} of an enum that has {len(table)} symbols")
        symbol = table[index]
        if symbol is None:
            raise Unreadable(f"{symbols[index]} is a symbol that the latest schema does not know")
        value.spend(len(symbol))
        return symbol, end

    return read_enum


def union_reader(branches: Mapping[int, Read]) -> Read:
    """`branches` is by index times two; it is filled later, for types that contain themselves."""

    def read_union(value: Metered, at: int, depth: int) -> tuple[Any, int]:
        branch = branches.get(value[at])
        if branch is not None:
            return branch(value, at + 1, depth)
        index, end = read_long(value, at, depth)
        branch = branches.get(index * 2)
        if branch is None:
            raise Unreadable(f"byte {at} begins the number {index} of a union that has {len(branches)} types")
        return branch(value, end, depth)

    return read_union


def _block(value: Metered, at: int) -> tuple[int, int]:
    """The number of items in the block at the offset; behind a negative one stands the block's size in bytes."""
    count, end = read_long(value, at, 0)
    if count < 0:
        count = -count
        _, end = read_long(value, end, 0)
    if count > len(value) - end:
        raise Unreadable(f"byte {at} announces {count} items, {len(value) - end} bytes are left")
    return count, end


def array_reader(item: Sequence[Read]) -> Read:
    """`item` holds one function, put there later; an item takes at least a byte."""

    def read_array(value: Metered, at: int, depth: int) -> tuple[list[Any], int]:
        if depth <= 0:
            raise TooDeep
        read = item[0]
        items = []
        count, at = _block(value, at)
        while count:
            for _ in range(count):
                datum, at = read(value, at, depth - 1)
                items.append(datum)
            count, at = _block(value, at)
        return items, at

    return read_array


def map_reader(item: Sequence[Read]) -> Read:
    """As `array_reader`; a name that comes twice counts as it came last."""

    def read_map(value: Metered, at: int, depth: int) -> tuple[dict[str, Any], int]:
        if depth <= 0:
            raise TooDeep
        read = item[0]
        items: dict[str, Any] = {}
        count, at = _block(value, at)
        while count:
            for _ in range(count):
                key, at = read_string(value, at, 0)
                items[key], at = read(value, at, depth - 1)
            count, at = _block(value, at)
        return items, at

    return read_map


def record_reader(
    steps: Sequence[tuple[str | None, Read]],
    defaults: Sequence[tuple[str, Callable[[], Any]]],
    cost: Sequence[int],
) -> Read:
    """`steps` are the writer's fields in order, each with the reader's name for it, None to leave it out.

    `cost` holds one number, put there later: what one record spends.
    """

    def read_record(value: Metered, at: int, depth: int) -> tuple[dict[str, Any], int]:
        if depth <= 0:
            raise TooDeep
        value.spend(cost[0])
        record: dict[str, Any] = {}
        for name, read in steps:
            datum, at = read(value, at, depth - 1)
            if name is not None:
                record[name] = datum
        for name, make in defaults:
            record[name] = make()
        return record, at

    return read_record
