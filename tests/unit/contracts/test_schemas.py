"""The released schemas: their examples, their fingerprints, and how a folder of schemas is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fastavro
import pytest

from processor.contracts.avro.folder import Schema, find_released
from processor.contracts.avro.validator import compile_validator
from processor.contracts.catalogue import Catalogue
from processor.core.errors import SchemaError

RELEASED = Catalogue.load()
EXAMPLES = sorted((find_released() / "examples").glob("*/v*/*/*.json"))
ALL_SCHEMAS = [schema for subject in RELEASED.subjects() for schema in RELEASED.versions(subject)]


def example_id(path: Path) -> str:
    return "/".join([*path.parts[-4:-1], path.stem])


def schema_of(example: Path) -> Schema:
    subject, version = example.parts[-4], int(example.parts[-3][1:])
    return RELEASED.versions(subject)[version - 1]


def wrapped(value: Any) -> Any:
    """Nested JSON as Avro holds it: in JsonValue records."""
    if isinstance(value, dict):
        return {key: {"value": wrapped(item)} for key, item in value.items()}
    return [{"value": wrapped(item)} for item in value] if isinstance(value, list) else value


def avro_form(report: Any) -> Any:
    """The report as fastavro wants it; what is no object stays as wrong as it is."""
    maps = {
        name: {key: wrapped(item) for key, item in report[name].items()}
        for name in ("metrics", "parameters", "metadata", "result")
        if isinstance(report.get(name), dict)
    }
    any_json = {name: wrapped(report[name]) for name in ("budget", "tau") if name in report}
    return {**report, **maps, **any_json}


@pytest.mark.parametrize("path", EXAMPLES, ids=example_id)
def test_every_example_is_judged_as_its_folder_says_and_as_fastavro_does(path: Path) -> None:
    schema, report = schema_of(path), json.loads(path.read_text())
    expected = path.parent.name == "valid"

    problem = compile_validator(schema.parsed)(report)

    judged = fastavro.validate(avro_form(report), schema.definition, raise_errors=False, strict=True)
    assert expected == judged
    if expected:
        assert problem is None
    else:
        assert problem is not None
        assert (path.stem.partition("-")[0], "invalid") == (problem.path.partition("[")[0], problem.kind)


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.parent.name == "valid"], ids=example_id)
def test_every_valid_example_survives_its_bytes_and_is_valid_in_the_latest_version(path: Path) -> None:
    schema, report = schema_of(path), json.loads(path.read_text())
    subject = schema.subject

    read = RELEASED.read_single_object(subject, RELEASED.single_object(subject, report, schema.version))

    known = {field["name"] for field in schema.definition["fields"]}
    expected = {**RELEASED.defaults(subject), **{name: report[name] for name in report if name in known}}
    assert (expected, schema.version) == read
    assert RELEASED.check(subject, report) is None


def test_every_released_version_has_valid_and_invalid_examples() -> None:
    has = {(path.parts[-4], path.parts[-3], path.parts[-2]) for path in EXAMPLES}
    due = {(s.subject, f"v{s.version}", kind) for s in ALL_SCHEMAS for kind in ("valid", "invalid")}
    assert due == has


def test_a_released_schema_is_never_edited() -> None:
    """A new fingerprint makes bytes unreadable that were written with the old one: add a version instead."""
    assert {
        ("ml.run.started", 1): "c9612af1623c3709",
        ("ml.run.stopped", 1): "4cb6dc59be6abf0d",
        ("run_report", 1): "ef664081a5fa8699",
        ("trial_progress", 1): "cca2352104ca8b46",
        ("ml.trial.complete", 1): "de28af1ffa812637",
        ("ml.trial.failed", 1): "05a1dd329bd8970c",
        ("ml.trial.failed", 2): "ee4a67fb76a977dc",
        ("trial_report", 1): "29d7aaa03f907241",
        ("trial_report", 2): "86834916c305ffcd",
        ("trial_report", 3): "e45f77f97af09706",
    }.items() <= {(s.subject, s.version): s.fingerprint.hex() for s in ALL_SCHEMAS}.items()


@pytest.mark.parametrize("schema", ALL_SCHEMAS, ids=lambda schema: f"{schema.subject}-v{schema.version}")
def test_the_fingerprint_is_that_of_the_definition_as_it_stands_in_the_file(schema: Schema) -> None:
    canonical = fastavro.schema.to_parsing_canonical_form(json.loads(schema.path.read_text()))
    assert bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")) == schema.fingerprint


def test_the_released_schemas_are_backward_compatible() -> None:
    assert RELEASED.incompatibilities() == []


@pytest.mark.parametrize("schema", ALL_SCHEMAS, ids=lambda schema: f"{schema.subject}-v{schema.version}")
def test_every_field_says_what_it_is(schema: Schema) -> None:
    assert [field["name"] for field in schema.definition["fields"] if not field.get("doc")] == []


def test_a_new_version_is_a_new_file_and_nothing_else(tmp_path: Path) -> None:
    """v4 with one more optional field: old and new reports are both read, and the field is validated."""
    shutil.copytree(find_released() / "trial_report", tmp_path / "trial_report")
    v4 = RELEASED.latest("trial_report").definition
    device = {"name": "device", "type": ["null", "string"], "default": None}
    v4_file = tmp_path / "trial_report" / "v4.avsc"
    v4_file.write_text(json.dumps({**v4, "fields": [*v4["fields"], device]}))
    report: dict[str, Any] = {"trial_id": "t", "run_id": "r", "status": "succeeded"}
    report["metrics"] = {"m": [1, {"n": None}]}

    catalogue = Catalogue.load(tmp_path)

    defaults = catalogue.defaults("trial_report")
    written = [
        (1, report),
        (2, {**report, "spectral_norm": True}),
        (3, {**report, "error_type": "OOM"}),
        (4, {**report, "device": "gpu"}),
    ]
    for version, data in written:
        written_by = RELEASED if version < 4 else catalogue
        value = written_by.single_object("trial_report", data, version)
        assert ({**defaults, **data}, version) == catalogue.read_single_object("trial_report", value)
        assert version == catalogue.version_of("trial_report", data.keys())
        assert catalogue.check("trial_report", data) is None
    assert "device" in catalogue.fields("trial_report")
    problem = catalogue.check("trial_report", {**report, "device": 7})
    assert problem == ("device", "must be null or string, not 7", "invalid")
    assert catalogue.incompatibilities() == []


def field(type_: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "f", "type": type_, **more}]}


BOX = {"type": "record", "name": "Box", "unwrap": True, "fields": [{"name": "value", "type": "long"}]}
WRONG = {
    "not json": ("{", "not JSON"),
    "no record": ('"string"', "a subject is a record"),
    "unknown type": (field("text"), "text"),
    "no type": ({"type": "record", "name": "R", "fields": [{"name": "f"}]}, "'f' is missing 'type'"),
    "no symbols": (field({"type": "enum", "name": "E"}), "'symbols' is missing"),
    "default of another type": (field("long", default="1"), "Default value <1>"),
    "default beyond its type": (field("int", default=2**31), "field f of R: its default does not fit its type"),
    "default of a later branch": (field(["null", "long"], default=1), "the first type of its union"),
    "default deep inside": (field({"type": "array", "items": "long"}, default=[1, "2"]), "its type at [1]: must"),
    "default without a needed field": (field({**BOX, "unwrap": False}, default={}), "does not fit its type"),
    "field twice": ({"type": "record", "name": "R", "fields": [{"name": "f", "type": "long"}] * 2}, "two fields f"),
    "field name": ({"type": "record", "name": "R", "fields": [{"name": "a-b", "type": "long"}]}, "is no Avro name"),
    "union in a union": (field(["null", ["long"]]), "f: a union must not hold a union"),
    "type twice in a union": (field(["string", "string"]), "f: a union must not hold string twice"),
    "empty union": (field([]), "f: a union must hold a type"),
    "size of fixed": (field({"type": "fixed", "name": "F", "size": "4"}), "f: the size of a fixed type"),
    "unwrap of two fields": ({**field("long"), "unwrap": True}, "has one field, named value"),
    "unwrap in a union": (field(["null", BOX]), "f: a union must not hold a record to unwrap"),
    "unwrap in itself": ({**BOX, "fields": [{"name": "value", "type": "Box"}]}, "must not hold another one directly"),
}


@pytest.mark.parametrize(("definition", "expected"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_schema_is_refused_with_its_file_and_what_is_wrong(
    definition: Any, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "thing" / "v1.avsc"
    path.parent.mkdir()
    path.write_text(definition if isinstance(definition, str) else json.dumps(definition))

    with pytest.raises(SchemaError) as caught:
        Catalogue.load(tmp_path)

    assert f"{path}: " in str(caught.value)
    assert expected in str(caught.value)


def test_a_gap_in_the_versions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "v2.avsc").write_text(json.dumps(field("long")))
    with pytest.raises(SchemaError, match=r"thing/v1\.avsc: is missing"):
        Catalogue.load(tmp_path)


def test_a_file_that_no_version_is_named_after_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "latest.avsc").write_text(json.dumps(field("long")))
    with pytest.raises(SchemaError, match=r"latest\.avsc: a version's file is named vN\.avsc"):
        Catalogue.load(tmp_path)


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_folder_without_schemas_is_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=str(tmp_path / folder)):
        Catalogue.load(tmp_path / folder)
