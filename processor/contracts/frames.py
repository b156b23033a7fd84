"""Which schema wrote a record's Avro: the marks in front of the bytes, read in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from processor.contracts.catalogue import CONFLUENT_HEADER, CONFLUENT_MAGIC, SINGLE_OBJECT, Catalogue, Problem

#: schema id -> the writer's schema as JSON, None where the registry has none; raises TransientError when it is down
WriterSchemas = Callable[[int], Mapping[str, Any] | None]


def is_framed(value: bytes) -> bool:
    """Whether the bytes begin like Avro behind one of the two marks; JSON begins with neither."""
    return value[0] == CONFLUENT_MAGIC or value[:2] == SINGLE_OBJECT


class FramedReader:
    """Reads one datum of a subject behind either mark; `writer_schemas`, if there is one, looks schema ids up."""

    def __init__(self, catalogue: Catalogue, subject: str, writer_schemas: WriterSchemas | None) -> None:
        self._catalogue, self._subject, self._writer_schemas = catalogue, subject, writer_schemas

    def read(self, value: bytes) -> tuple[dict[str, Any], int] | Problem:
        """The datum as the latest version has it, and the version that wrote it.

        Raises `TransientError` when a schema registry has to be asked and does not answer.
        """
        if value[:2] == SINGLE_OBJECT:
            return self._catalogue.read_single_object(self._subject, value)
        if len(value) < CONFLUENT_HEADER:
            return Problem("", "Avro ends before its 4-byte schema id", "unreadable")
        schema_id = int.from_bytes(value[1:CONFLUENT_HEADER], "big")
        if self._writer_schemas is None:
            message = f"Avro with schema id {schema_id}, but no schema registry is set (SCHEMA_REGISTRY_URL)"
            return Problem("", message, "unknown_schema")
        writer = self._writer_schemas(schema_id)
        if writer is None:
            return Problem("", f"the schema registry knows no schema with id {schema_id}", "unknown_schema")
        return self._catalogue.read_confluent(self._subject, value, dict(writer))
