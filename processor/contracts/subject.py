"""All versions of one schema, compiled: `Catalogue` holds one of these a subject."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from processor.contracts.avro.folder import Schema
from processor.contracts.avro.problem import Problem
from processor.contracts.avro.reader import compile_plain_reader, compile_reader
from processor.contracts.avro.schema import (
    REFERENCES,
    BadSchema,
    Parsed,
    Unparsed,
    default_maker,
    fingerprint,
    parse,
    resolve,
    unwraps,
)
from processor.contracts.avro.validator import compile_validator
from processor.contracts.avro.writer import compile_writer
from processor.core.errors import SchemaError

#: foreign writers that are kept compiled
WRITERS_KEPT = 256
Validator = Callable[[dict[str, Any]], Problem | None]
ReadAll = Callable[[bytes, int], Any]
_Writer = tuple[Any, "tuple[ReadAll, int] | Problem"]


class Version(NamedTuple):
    """How a version's bytes are read: as the latest version has them, or as they were written."""

    resolving: ReadAll
    plain: ReadAll
    version: int


class Subject:
    """The versions of one subject, oldest first, and all that is compiled from them."""

    def __init__(self, versions: list[Schema]) -> None:
        self.versions = versions
        self.latest = latest = versions[-1]
        self.validate: Validator = compile_validator(latest.parsed)
        self.by_fingerprint: dict[bytes, Version] = {}
        for schema in versions:
            # versions that differ in docs or defaults only share one fingerprint: then the oldest counts
            resolving, _ = compile_reader(schema.parsed, latest.parsed)
            known = Version(resolving, compile_plain_reader(schema.parsed), schema.version)
            self.by_fingerprint.setdefault(schema.fingerprint, known)
        names = latest.parsed.names
        self._unwrapped = [name.rpartition(".")[2] for name, one in names.items() if unwraps(one)]
        self.defaults = [
            (field["name"], default_maker(field["type"], field["default"], names))
            for field in latest.parsed.root["fields"]
            if "default" in field
        ]
        fields = [field_names(schema.parsed) for schema in versions]
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

    def foreign(self, schema_id: bytes, writer: Any) -> tuple[ReadAll, int] | Problem:
        """The reader for a registry's schema. An id never changes its schema, but two registries may share one."""
        kept = self._foreign.get(schema_id)
        if kept is None or kept[0] != writer:
            if len(self._foreign) >= WRITERS_KEPT:
                self._foreign.clear()
            kept = self._foreign[schema_id] = (writer, self._compile_foreign(writer))
        return kept[1]

    def _compile_foreign(self, writer: Any) -> tuple[ReadAll, int] | Problem:
        try:
            parsed = _parse_foreign(writer)
            refers = isinstance(writer, Mapping) and REFERENCES in writer  # which none of our versions does
            mark = b"" if refers else fingerprint(parsed)
            read = compile_plain_reader(parsed, self._unwrapped)
        except BadSchema as error:
            why = "" if isinstance(error, Unparsed) else f": {error}"
            return Problem("", f"what the registry has is no Avro schema{why}", "unknown_schema")
        except RecursionError:  # types that name each other nest deeper than the text of the schema
            return Problem("", "what the registry has is a schema whose types nest too deep", "unknown_schema")
        known = self.by_fingerprint.get(mark)
        version = known.version if known else self.version_of(field_names(parsed))
        return read, version


def _parse_foreign(writer: Any) -> Parsed:
    """Raises `BadSchema`."""
    if not isinstance(writer, Mapping):
        return parse(writer)
    references = writer.get(REFERENCES, ())
    alone = {name: value for name, value in writer.items() if name != REFERENCES}
    only_type = list(alone) == ["type"]  # a union, or a name, that was put into an object to hold the references
    return parse(alone["type"] if only_type else alone, references)


def field_names(parsed: Parsed) -> frozenset[str]:
    """Of the record, or of all records of a union."""
    kind, root = resolve(parsed.root, parsed.names)
    branches = root if kind == "union" else [root]
    records = [one for branch in branches if (one := resolve(branch, parsed.names)[1]) and "fields" in one]
    return frozenset(field["name"] for record in records for field in record["fields"])
