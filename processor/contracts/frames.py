"""Which schema wrote a record's Avro: the marks in front of the bytes, read in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from processor.contracts.catalogue import CONFLUENT_HEADER, CONFLUENT_MAGIC, SINGLE_OBJECT, Catalogue, Problem

#: schema id -> the writer's schema as JSON, None where the registry has none; raises TransientError when it is down
WriterSchemas = Callable[[int], Mapping[str, Any] | None]
#: 00 and an 8-byte id, as Apicurio's serializers write by default
_LONG_HEADER = 9
_BEGINS_JSON, _ENDS_JSON = (b"{", b"["), (b"}", b"]", b"\n")


def is_framed(value: bytes) -> bool:
    """Whether the bytes begin like Avro behind one of the two marks; JSON begins with neither."""
    return value[0] == CONFLUENT_MAGIC or value[:2] == SINGLE_OBJECT


def behind_prefix(value: bytes) -> bytes | None:
    """What may be JSON behind Confluent's prefix, as serializers of JSON Schema write it; None where it can't be.

    Avro of a string begins otherwise, with a length; of other types it may all the same be Avro.
    """
    begin = value[CONFLUENT_HEADER : CONFLUENT_HEADER + 1]
    if value[:1] != b"\x00" or begin not in _BEGINS_JSON or value[-1:] not in _ENDS_JSON:
        return None
    return value[CONFLUENT_HEADER:]


class Datum(NamedTuple):
    """What was read, as its writer wrote it: the subject and the version that wrote it."""

    document: Any
    version: int
    subject: str


class FramedReader:
    """Reads one datum of any of the subjects behind either mark; the first is what an unknown writer is read as.

    `writer_schemas`, if there is one, looks schema ids up.
    """

    def __init__(self, catalogue: Catalogue, subjects: Sequence[str], writer_schemas: WriterSchemas | None) -> None:
        self._catalogue, self._subjects, self._writer_schemas = catalogue, subjects, writer_schemas

    def read(self, value: bytes) -> Datum | Problem:
        """Raises `TransientError` when a schema registry has to be asked and does not answer."""
        if value[:2] == SINGLE_OBJECT:
            subject = self._catalogue.subject_marked(self._subjects, value)
            return _datum(self._catalogue.written_single_object(subject, value), subject)
        if len(value) < CONFLUENT_HEADER:
            return Problem("", "Avro ends before its 4-byte schema id", "unreadable")
        schema_id = int.from_bytes(value[1:CONFLUENT_HEADER], "big")
        if schema_id == 0 and len(value) >= _LONG_HEADER:  # registries count from 1
            long_id = int.from_bytes(value[1:_LONG_HEADER], "big")
            message = f"the 8-byte schema id {long_id}, as Apicurio writes it: only Confluent's 4-byte ids are read"
            return Problem("", message, "unknown_schema")
        if self._writer_schemas is None:
            message = f"Avro with schema id {schema_id}, but no schema registry is set (SCHEMA_REGISTRY_URL)"
            return Problem("", message, "unknown_schema")
        writer = self._writer_schemas(schema_id)
        if writer is None:
            return Problem("", f"the schema registry knows no schema with id {schema_id}", "unknown_schema")
        subject = self._catalogue.subject_of(self._subjects, writer)
        return _datum(self._catalogue.written_confluent(subject, value, writer), subject)


def _datum(read: tuple[Any, int] | Problem, subject: str) -> Datum | Problem:
    return read if isinstance(read, Problem) else Datum(*read, subject)
