"""schemas/ on disk: NAME/vN.avsc, one folder a subject, one file a version, numbered from 1 without a gap."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from processor.contracts.avro.schema import BadSchema, Parsed, fingerprint, parse, plain_default, resolve
from processor.contracts.avro.validator import Rules
from processor.core.errors import SchemaError

_VERSION = re.compile(r"v([1-9][0-9]{0,5})\.avsc")


class Schema(NamedTuple):
    """One version of a subject: `definition` is the file's JSON, `fingerprint` that of single-object encoding."""

    subject: str
    version: int
    path: Path
    definition: dict[str, Any]
    fingerprint: bytes
    parsed: Parsed


def find_released() -> Path:
    """The schemas that come with the package: inside it when it was installed, beside it in a working copy.

    Raises `SchemaError` where there are none.
    """
    package = Path(__file__).resolve().parents[2]
    for place in (package / "schemas", package.parent / "schemas"):
        if place.is_dir():
            return place
    raise SchemaError(f"the schemas are missing: there is no folder {package / 'schemas'}")


def load(root: Path) -> dict[str, list[Schema]]:
    """The versions of every subject, oldest first.

    Raises `SchemaError` naming the file and the field that is wrong.
    """
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name != "examples")
        subjects = {folder.name: _load_subject(folder) for folder in folders if any(folder.glob("*.avsc"))}
    except OSError as error:
        raise SchemaError(f"{error.filename}: cannot be read: {error.strerror}") from None
    if not subjects:
        raise SchemaError(f"{root}: holds no schemas (NAME/vN.avsc)")
    return subjects


def _load_subject(folder: Path) -> list[Schema]:
    files: dict[int, Path] = {}
    for path in folder.glob("*.avsc"):
        match = _VERSION.fullmatch(path.name)
        if match is None:
            raise SchemaError(f"{path}: a version's file is named vN.avsc, for example v1.avsc")
        files[int(match[1])] = path
    for version in range(1, max(files) + 1):
        if version not in files:
            raise SchemaError(f"{folder / f'v{version}.avsc'}: is missing; history needs every version")
    return [_load_file(folder.name, version, files[version]) for version in sorted(files)]


def _load_file(subject: str, version: int, path: Path) -> Schema:
    try:
        definition = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(definition, dict) or definition.get("type") != "record":
            raise BadSchema("a subject is a record")
        parsed = parse(definition)
        _check_defaults(parsed)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON
        raise SchemaError(f"{path}: not JSON: {error}") from None
    except BadSchema as error:
        raise SchemaError(f"{path}: {error}") from None
    return Schema(subject, version, path, definition, fingerprint(parsed), parsed)


def _check_defaults(parsed: Parsed) -> None:
    """Every default must be one that readers in other languages take too. Raises `BadSchema`."""
    rules = Rules(parsed.names)
    records = [type_ for type_ in parsed.names.values() if resolve(type_, parsed.names)[0] == "record"]
    for record in records:
        for field in record["fields"]:
            if "default" not in field:
                continue
            type_ = field["type"]
            place = f"field {field['name']} of {record['name']}"
            try:
                value = plain_default(type_, field["default"], parsed.names)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                raise BadSchema(f"{place}: its default does not fit its type") from None
            first = type_[0] if isinstance(type_, list) else type_
            failure = rules.rule(first).check(value)
            if failure is not None:
                which = "the first type of its union" if first is not type_ else "its type"
                where = f" at {failure.path()}" if failure.steps else ""
                raise BadSchema(f"{place}: its default does not fit {which}{where}: {failure.message}")
