"""schemas/ on disk <-> bytes: what is valid, what bytes mean, and whether old data stays readable.

The .avsc files are the only definition; everything here is compiled from them at start, and a new version is a
new file. Data is in its plain form throughout: what `json.loads` would give, nested values as they are.
Bad data is a `Problem`, returned; a bad schema is a `SchemaError`, raised.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from processor.contracts.avro.fast_type import NO_NEEDS, Needs, fast_type
from processor.contracts.avro.folder import Schema, find_released, load
from processor.contracts.avro.problem import Problem
from processor.contracts.avro.reader import compile_reader
from processor.contracts.subject import ReadAll, Subject, Validator, Version, field_names
from processor.core.errors import SchemaError

__all__ = ["NO_NEEDS", "Catalogue", "Incompatibility", "Needs", "Problem", "Schema"]

SINGLE_OBJECT = b"\xc3\x01"  # "Single-object encoding" in the Avro specification
SINGLE_OBJECT_HEADER = 10
CONFLUENT_MAGIC = 0  # Confluent wire format: this byte and the schema's id, big-endian
CONFLUENT_HEADER = 5


class Incompatibility(NamedTuple):
    """Data of version `writer` that version `reader` cannot read, because of the field at `path`."""

    subject: str
    reader: int
    writer: int
    path: str
    why: str


class Catalogue:
    """All schemas of one folder, compiled; after `load` it never changes but for a cache of foreign writers."""

    def __init__(self, subjects: Mapping[str, list[Schema]]) -> None:
        self._subjects = {name: Subject(versions) for name, versions in subjects.items()}

    @classmethod
    def load(cls, root: Path | None = None) -> Catalogue:
        """Compiles the schemas of a folder, by default the released ones.

        Raises `SchemaError` naming the file and what is wrong with it.
        """
        return cls(load(find_released() if root is None else root))

    def subjects(self) -> list[str]:
        return sorted(self._subjects)

    def versions(self, subject: str) -> list[Schema]:
        """Every version, oldest first. As everywhere here, an unknown subject raises `SchemaError`."""
        return list(self._subject(subject).versions)

    def latest(self, subject: str) -> Schema:
        return self._subject(subject).latest

    def fields(self, subject: str) -> tuple[str, ...]:
        """The names of the latest version's fields, in its order."""
        return tuple(field["name"] for field in self._subject(subject).latest.parsed.root["fields"])

    def defaults(self, subject: str) -> Mapping[str, Any]:
        """The default of each field of the latest version that has one; lists and dicts are new in each call."""
        return MappingProxyType({name: make() for name, make in self._subject(subject).defaults})

    def validator(self, subject: str) -> Validator:
        """A function: it says what is wrong with a datum by the latest version: None, or the first problem.

        A missing field is valid where it has a default; fields unknown to the schema are not looked at.
        """
        return self._subject(subject).validate

    def check(self, subject: str, datum: dict[str, Any]) -> Problem | None:
        """`validator`, once."""
        return self._subject(subject).validate(datum)

    def fast_type(self, subject: str, field: str, needs: Needs = NO_NEEDS) -> Any | None:
        """The msgspec type of a field of the latest version whose every value is valid as it is, None where none is."""
        latest = self._subject(subject).latest.parsed
        [type_] = [one["type"] for one in latest.root["fields"] if one["name"] == field]
        return fast_type(type_, latest.names, needs)

    def varying(self, subject: str) -> frozenset[str]:
        """The fields that not every version has: they tell which version a report was written with."""
        versions = [field_names(schema.parsed) for schema in self.versions(subject)]
        return frozenset[str]().union(*versions) - frozenset.intersection(*versions)

    def version_of(self, subject: str, names: Collection[str]) -> int:
        """The oldest version that has all of these fields, leaving out those that no version has."""
        return self._subject(subject).version_of(names)

    def read_single_object(self, subject: str, value: bytes) -> tuple[dict[str, Any], int] | Problem:
        """C3 01, fingerprint, body -> the datum as the latest version has it, and the version that wrote it.

        By Avro's schema resolution, as any reader of Avro does it.
        """
        known = self._marked(subject, value)
        read = known if isinstance(known, Problem) else (known.resolving, known.version)
        return read if isinstance(read, Problem) else _with_version(read, value, SINGLE_OBJECT_HEADER)

    def written_single_object(self, subject: str, value: bytes) -> tuple[dict[str, Any], int] | Problem:
        """As `read_single_object`, but as its writer wrote it: no defaults of later versions, fields that went."""
        known = self._marked(subject, value)
        read = known if isinstance(known, Problem) else (known.plain, known.version)
        return read if isinstance(read, Problem) else _with_version(read, value, SINGLE_OBJECT_HEADER)

    def subject_marked(self, subjects: Sequence[str], value: bytes) -> str:
        """Whose version the single-object bytes name; the first subject where none of them knows the mark."""
        mark = value[2:SINGLE_OBJECT_HEADER]
        return next((one for one in subjects if mark in self._subject(one).by_fingerprint), subjects[0])

    def subject_of(self, subjects: Sequence[str], writer: Any) -> str:
        """Whose version a registry's schema is, or is called like; the first subject where it is none of theirs."""
        if not isinstance(writer, Mapping):
            return subjects[0]
        called = str(writer.get("name")).rpartition(".")[2]
        return next((one for one in subjects if self.latest(one).definition["name"] == called), subjects[0])

    def _marked(self, subject: str, value: bytes) -> Version | Problem:
        """The version whose mark the bytes have."""
        if value[:2] != SINGLE_OBJECT or len(value) < SINGLE_OBJECT_HEADER:
            return Problem("", "Avro ends before its fingerprint, or does not begin with C3 01", "unreadable")
        mark = value[2:SINGLE_OBJECT_HEADER]
        known = self._subject(subject).by_fingerprint.get(mark)
        if known is None:
            return Problem("", f"no version of {subject} has the fingerprint {mark.hex()}", "unknown_schema")
        return known

    def written_confluent(self, subject: str, value: bytes, writer: Any) -> tuple[Any, int] | Problem:
        """00, schema id, body -> as `written_single_object`; `writer` is what the registry has under the id.

        A writer that is none of our versions counts as the version that has its fields. Where it is an object, its
        attribute `references` holds the schemas whose types it names, each before those that name it.
        """
        if value[:1] != b"\x00" or len(value) < CONFLUENT_HEADER:
            return Problem("", "Avro ends before its schema id, or does not begin with 00", "unreadable")
        known = self._subject(subject).foreign(value[1:CONFLUENT_HEADER], writer)
        return known if isinstance(known, Problem) else _with_version(known, value, CONFLUENT_HEADER)

    def encode(self, subject: str, datum: Mapping[str, Any], version: int | None = None) -> bytes:
        """The datum's bytes by the latest version, or that one, with no header; missing fields get defaults.

        Raises `ValueError` for a datum that is not valid.
        """
        return self._subject(subject).writer(version)(dict(datum))

    def single_object(self, subject: str, datum: Mapping[str, Any], version: int | None = None) -> bytes:
        """`encode` behind C3 01 and the fingerprint, so that `read_single_object` reads it."""
        schema = self._subject(subject).version(version)
        return SINGLE_OBJECT + schema.fingerprint + self.encode(subject, datum, version)

    def incompatibilities(self, subject: str | None = None) -> list[Incompatibility]:
        """What breaks BACKWARD_TRANSITIVE: every version must read what any older one has written."""
        return [
            Incompatibility(name, reader.version, writer.version, misfit.path, misfit.why)
            for name in (self.subjects() if subject is None else [subject])
            for reader in self.versions(name)
            for writer in self.versions(name)[: reader.version - 1]
            for misfit in compile_reader(writer.parsed, reader.parsed)[1]
        ]

    def _subject(self, name: str) -> Subject:
        try:
            return self._subjects[name]
        except KeyError:
            known = ", ".join(self.subjects())
            raise SchemaError(f"there is no schema {name}; known are {known}") from None


def _with_version(known: tuple[ReadAll, int], value: bytes, offset: int) -> tuple[Any, int] | Problem:
    read, version = known
    datum = read(value, offset)
    return datum if isinstance(datum, Problem) else (datum, version)
