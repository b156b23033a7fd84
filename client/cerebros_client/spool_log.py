"""What of SQLite's log (the -wal file) nobody would read: it stops at the first damaged page, and says nothing.

A log begins with two random numbers that each page of it repeats, and each page carries a checksum over all pages so
far. Behind the first page that is wrong SQLite takes nothing. Ends of transactions behind it were written, so that
reports were in there, `report` had returned for, and they are missing now. A process that is killed leaves a last
transaction half written, and none behind it: of that one nothing is lost.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_HEADER, _FRAME = struct.Struct(">8I"), struct.Struct(">6I")
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_MASK = 0xFFFFFFFF

_Sum = tuple[int, int]


def unread_bytes(log: Path) -> int:
    """How many bytes lie between the first damaged page and the end of the last transaction that was written."""
    try:
        with log.open("rb") as file:
            return _unread(file, log.stat().st_size)
    except FileNotFoundError:
        return 0


def _unread(file: BinaryIO, size: int) -> int:
    header = file.read(_HEADER.size)
    if size <= _HEADER.size:
        return 0
    magic, _, page, _, *salts, first, second = _HEADER.unpack(header)
    order = _MAGIC.get(magic)
    if order is None or (so_far := _summed(header[:24], order, (0, 0))) != (first, second):
        return size if any(header) else 0  # a power cut may leave a log of zeros, and then no report had returned
    place = _HEADER.size
    while place + _FRAME.size + page <= size:
        frame = file.read(_FRAME.size)
        so_far = _summed(file.read(page), order, _summed(frame[:8], order, so_far))
        if _FRAME.unpack(frame)[2:] != (*salts, *so_far):
            return _last_end(file, place, size, page, salts) - place
        place += _FRAME.size + page
    return 0


def _last_end(file: BinaryIO, damaged: int, size: int, page: int, salts: list[int]) -> int:
    """Where the last transaction behind the damaged page ends; the damaged page where there is none."""
    end, step = damaged, _FRAME.size + page
    for place in range(damaged + step, size - step + 1, step):
        file.seek(place)
        _, ends, *found = _FRAME.unpack(file.read(_FRAME.size))
        if ends and found[:2] == salts:
            end = place + step
    return end


def _summed(data: bytes, order: str, before: _Sum) -> _Sum:
    first, second = before
    for one, two in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & _MASK
        second = (second + two + first) & _MASK
    return first, second
