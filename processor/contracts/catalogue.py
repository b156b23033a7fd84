"""schemas/ on disk <-> bytes: what is valid, what bytes mean, and whether old data stays readable.

The .avsc files are the only definition; everything here is compiled from them at start, and a new version is a
new file. Data is in its plain form throughout: what `json.loads` would give, nested values as they are.
Bad data is a `Problem`, returned; a bad schema is a `SchemaError`, raised.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from processor.contracts.avro.fast_type import NO_NEEDS, Needs, fast_type
from processor.contracts.avro.folder import Schema, find_released, load
from processor.contracts.avro.problem import Problem
from processor.contracts.avro.reader import compile_reader
from processor.contracts.avro.schema import BadSchema, Parsed, default_maker, fingerprint, parse
from processor.contracts.avro.validator import compile_validator
from processor.contracts.avro.writer import compile_writer
from processor.core.errors import SchemaError

__all__ = ["NO_NEEDS", "Catalogue", "Incompatibility", "Needs", "Problem", "Schema"]

SINGLE_OBJECT = b"\xc3\x01"  # "Single-object encoding" in the Avro specification
SINGLE_OBJECT_HEADER = 10
CONFLUENT_MAGIC = 0  # Confluent wire format: this byte and the schema's id, big-endian
CONFLUENT_HEADER = 5
_WRITERS_KEPT = 256

Validator = Callable[[dict[str, Any]], Problem | None]
_ReadAll = Callable[[bytes, int], Any]
_Writer = tuple[Mapping[str, Any], "tuple[_ReadAll, int] | Problem"]


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
        self._subjects = {name: _Subject(versions) for name, versions in subjects.items()}

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
        versions = [_field_names(schema.parsed) for schema in self.versions(subject)]
        return frozenset[str]().union(*versions) - frozenset.intersection(*versions)

    def version_of(self, subject: str, names: Collection[str]) -> int:
        """The oldest version that has all of these fields, leaving out those that no version has."""
        return self._subject(subject).version_of(names)

    def read_single_object(self, subject: str, value: bytes) -> tuple[dict[str, Any], int] | Problem:
        """C3 01, fingerprint, body -> the datum as the latest version has it, and the version that wrote it."""
        if value[:2] != SINGLE_OBJECT or len(value) < SINGLE_OBJECT_HEADER:
            return Problem("", "Avro ends before its fingerprint, or does not begin with C3 01", "unreadable")
        mark = value[2:SINGLE_OBJECT_HEADER]
        known = self._subject(subject).by_fingerprint.get(mark)
        if known is None:
            return Problem("", f"no version of {subject} has the fingerprint {mark.hex()}", "unknown_schema")
        return _with_version(known, value, SINGLE_OBJECT_HEADER)

    def read_confluent(
        self, subject: str, value: bytes, writer: Mapping[str, Any]
    ) -> tuple[dict[str, Any], int] | Problem:
        """00, schema id, body -> as `read_single_object`; `writer` is what the registry has under the id.

        A writer that is none of our versions counts as the version that has its fields.
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

    def _subject(self, name: str) -> _Subject:
        try:
            return self._subjects[name]
        except KeyError:
            known = ", ".join(self.subjects())
            raise SchemaError(f"there is no schema {name}; known are {known}") from None


class _Subject:
    """The versions of one subject, oldest first, and all that is compiled from them."""

    def __init__(self, versions: list[Schema]) -> None:
        self.versions = versions
        self.latest = latest = versions[-1]
        self.validate: Validator = compile_validator(latest.parsed)
        self.by_fingerprint: dict[bytes, tuple[_ReadAll, int]] = {}
        for schema in versions:
            # versions that differ in docs or defaults only share one fingerprint: then the oldest counts
            read, _ = compile_reader(schema.parsed, latest.parsed)
            self.by_fingerprint.setdefault(schema.fingerprint, (read, schema.version))
        names = latest.parsed.names
        self.defaults = [
            (field["name"], default_maker(field["type"], field["default"], names))
            for field in latest.parsed.root["fields"]
            if "default" in field
        ]
        fields = [_field_names(schema.parsed) for schema in versions]
        every = frozenset[str]().union(*fields)
        self._absent = [(schema.version, every - known) for schema, known in zip(versions, fields, strict=True)]
        self._writers: dict[int, Callable[[Any], bytes]] = {}
        self._foreign: dict[bytes, _Writer] = {}

    def version(self, version: int | None) -> Schema:
        if version is None:
            return self.latest
        if not 1 <= version <= len(self.versions):
            raise SchemaError(f"{self.latest.subject} has no version {version}")
        return self.versions[version - 1]

    def version_of(self, names: Collection[str]) -> int:
        for version, absent in self._absent:
            if absent.isdisjoint(names):
                return version
        return self.latest.version

    def writer(self, version: int | None) -> Callable[[Any], bytes]:
        schema = self.version(version)
        if schema.version not in self._writers:
            self._writers[schema.version] = compile_writer(schema.parsed)
        return self._writers[schema.version]

    def foreign(self, schema_id: bytes, writer: Mapping[str, Any]) -> tuple[_ReadAll, int] | Problem:
        """The reader for a registry's schema. An id never changes its schema, but two registries may share one."""
        kept = self._foreign.get(schema_id)
        if kept is None or kept[0] != writer:
            if len(self._foreign) >= _WRITERS_KEPT:
                self._foreign.clear()
            kept = self._foreign[schema_id] = (writer, self._compile_foreign(writer))
        return kept[1]

    def _compile_foreign(self, writer: Mapping[str, Any]) -> tuple[_ReadAll, int] | Problem:
        try:
            parsed = parse(writer)
            mark = fingerprint(parsed)
        except BadSchema as error:
            return Problem("", f"the registry's schema is no Avro schema: {error}", "unreadable")
        read, _ = compile_reader(parsed, self.latest.parsed)
        known = self.by_fingerprint.get(mark)
        return read, known[1] if known else self.version_of(_field_names(parsed))


def _field_names(parsed: Parsed) -> frozenset[str]:
    root = parsed.root
    return frozenset(field["name"] for field in root["fields"]) if "fields" in root else frozenset()


def _with_version(known: tuple[_ReadAll, int], value: bytes, offset: int) -> tuple[dict[str, Any], int] | Problem:
    read, version = known
    datum = read(value, offset)
    return datum if isinstance(datum, Problem) else (datum, version)
