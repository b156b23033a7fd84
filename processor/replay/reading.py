"""What a dead letter's record says, for people: the value as it can be read, and the exact spot in it."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from processor.contracts.catalogue import Catalogue, Problem
from processor.contracts.frames import FramedReader, WriterSchemas, behind_prefix, is_framed
from processor.core.errors import TransientError
from processor.core.numbers import read_count
from processor.core.text import TooDeep, storable
from processor.decode.kinds import SUBJECTS
from processor.store.dead_letters import DeadLetter

_INDEX = re.compile(r"\[([0-9]+)\]")

Step = str | int


class Reading(NamedTuple):
    """A record's value as a person reads it: `kind` is json, avro, text, binary or empty.

    `place` leads to the spot in `document`, None where it is elsewhere (key, headers); `at` is the byte that can't be
    read, and `note` says why.
    """

    kind: str
    document: Any = None
    place: tuple[Step, ...] | None = None
    at: int | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """With NaN and what else JSON lacks bent as in the tables; a document nested too deeply for that is null."""
        try:
            document = storable(self.document)
        except TooDeep:
            document = None
        return {**self._asdict(), "document": document}


def read_value(letter: DeadLetter, catalogue: Catalogue, writer_schemas: WriterSchemas | None = None) -> Reading:
    """Never raises for what the value holds."""
    value = letter.record.value
    if not value:
        return Reading("empty")
    if (inner := behind_prefix(value)) is not None:
        return _read_json(inner, letter)
    if is_framed(value):
        try:
            read = FramedReader(catalogue, SUBJECTS, writer_schemas).read(value)
        except TransientError as error:  # the registry is down: the bytes are there all the same
            return Reading("binary", note=str(error))
        if isinstance(read, Problem):
            return Reading("binary", note=read.message)
        return Reading("avro", read.document, place_in(read.document, letter))
    return _read_json(value, letter)


def _read_json(value: bytes, letter: DeadLetter) -> Reading:
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Reading("binary", at=error.start, note=f"not UTF-8 at byte {error.start}")
    try:
        document = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 400 else float(digits))
        return Reading("json", document, place_in(document, letter))
    except json.JSONDecodeError as error:
        where = len(text[: error.pos].encode())
        return Reading("text", at=where, note=f"{error.msg} in line {error.lineno}, column {error.colno}")
    except RecursionError:
        return Reading("text", note="nested too deeply to be shown as JSON")


def place_in(document: Any, letter: DeadLetter) -> tuple[Step, ...] | None:
    """Steps from the top of the value to the spot, or to the last one above it where it is missing itself."""
    path = letter.path
    if path == "key" or path.startswith("headers."):
        return None
    base: tuple[Step, ...] = ("trials",) if isinstance(document, dict) and "trials" in document else ()
    if path.startswith("envelope.") and base:
        return walk(document, path.removeprefix("envelope."))[0]
    if letter.index < 0:
        return walk(document, path)[0]
    if base or isinstance(document, list):
        base = (*base, letter.index)
    node = document
    for step in base:
        try:
            node = node[step]
        except (LookupError, TypeError):
            return ()
    return (*base, *walk(node, path)[0])


def walk(node: Any, path: str) -> tuple[tuple[Step, ...], str]:
    """The steps of the path (`metrics.layers[3]`) that are there, and what is left of it.

    A key may itself hold dots and brackets, so every key that fits is followed, and the one that leads furthest counts.
    """
    best: tuple[tuple[Step, ...], str] = ((), path)
    match = _INDEX.match(path) if isinstance(node, list) else None
    candidates: list[tuple[Step, str]] = []
    place = read_count(match[1]) if match else None
    if match and place is not None and place < len(node):
        candidates = [(place, path[match.end() :])]
    elif path and isinstance(node, dict):
        candidates = [
            (key, path[len(key) :]) for key in node if path.startswith(key) and path[len(key) :][:1] in ("", ".", "[")
        ]
    for step, rest in candidates:
        steps, left = walk(node[step], rest.removeprefix("."))
        if len(left) < len(best[1]):
            best = ((step, *steps), left)
    return best
