"""Bytes of any origin through the catalogue, and which schema changes keep history readable."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.contracts.avro.problem import Problem
from processor.contracts.avro.writer import write_long
from processor.contracts.catalogue import Catalogue
from processor.core.errors import SchemaError
from tests.support.patience import patient

CATALOGUE = Catalogue.load()
SUBJECT = "trial_report"
V1, V2, V3 = (schema.definition for schema in CATALOGUE.versions(SUBJECT))
REPORT: dict[str, Any] = {
    "trial_id": "trial-1",
    "run_id": "run-1",
    "status": "failed",
    "metrics": {"loss": 0.25, "epochs": 3, "ok": True, "best": None, "layers": [1, [2.5, {"k": ["v", None]}], {}]},
    "parameters": {"optimizer": {"name": "adam", "betas": [0.9, 0.999]}},
    "warnings": ["diverged", "перегрев"],
    "duration_ms": 2**40,
    "rank": None,
    "artifact_uri": "s3://models/1",
    "pulse_id": None,
    "candidate_id": "c-1",
}
REPORT_V2 = REPORT | {"spectral_norm": True, "mlflow_run_id": "abc"}
REPORT_V3 = REPORT_V2 | {"error_message": "out of memory", "error_type": "OOM", "stacktrace": "line 1\nline 2"}
NO_ERRORS = {"error_message": None, "error_type": None, "stacktrace": None}
LATEST = {
    1: REPORT | {"spectral_norm": False, "mlflow_run_id": None} | NO_ERRORS,
    2: REPORT_V2 | NO_ERRORS,
    3: REPORT_V3,
}
WRITTEN = {1: REPORT, 2: REPORT_V2, 3: REPORT_V3}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def read(value: bytes) -> tuple[dict[str, Any], int] | Problem:
    return CATALOGUE.read_single_object(SUBJECT, value)


def fail(value: bytes) -> Problem:
    problem = read(value)
    assert isinstance(problem, Problem)
    assert problem.message
    return problem


def long(value: int) -> bytes:
    out = bytearray()
    write_long(out, value)
    return bytes(out)


def frame(body: bytes) -> bytes:
    """The body of a v2 report behind its mark."""
    return b"\xc3\x01" + CATALOGUE.versions(SUBJECT)[1].fingerprint + body


def with_metrics(metrics: bytes) -> bytes:
    """A v2 report whose metrics are these bytes; everything else is as short as it can be."""
    return frame(b"\x02t\x02r\x00" + metrics + b"\x00" * 9)


def wrapped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: {"value": wrapped(item)} for key, item in value.items()}
    return [{"value": wrapped(item)} for item in value] if isinstance(value, list) else value


def by_fastavro(definition: dict[str, Any], report: dict[str, Any]) -> bytes:
    maps = {name: {k: wrapped(v) for k, v in report[name].items()} for name in ("metrics", "parameters")}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, definition, report | maps)
    return out.getvalue()


@pytest.mark.parametrize("version", [1, 2])
def test_what_any_version_wrote_is_read_as_the_latest_with_its_defaults(version: int) -> None:
    value = CATALOGUE.single_object(SUBJECT, REPORT_V3, version)
    assert read(value) == (LATEST[version], version)


@pytest.mark.parametrize(("version", "definition"), [(1, V1), (2, V2), (3, V3)])
def test_our_bytes_are_fastavros_bytes(version: int, definition: dict[str, Any]) -> None:
    assert CATALOGUE.encode(SUBJECT, REPORT_V3, version) == by_fastavro(definition, REPORT_V3)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(TEXT, JSON), st.dictionaries(TEXT, JSON))
def test_any_json_comes_back_as_it_was(metrics: dict[str, Any], parameters: dict[str, Any]) -> None:
    report = REPORT_V3 | {"metrics": metrics, "parameters": parameters}
    value = CATALOGUE.single_object(SUBJECT, report)
    assert read(value) == (report, 3)
    assert by_fastavro(V3, report) == value[10:]


def test_missing_fields_are_written_as_their_defaults() -> None:
    report = {"trial_id": "t", "run_id": "r", "status": "succeeded"}
    value = CATALOGUE.single_object(SUBJECT, report)
    assert read(value) == ({**CATALOGUE.defaults(SUBJECT), **report}, 3)


def test_data_that_got_defaults_never_share_a_list_or_a_dict(tmp_path: Path) -> None:
    catalogue = catalogue_of(tmp_path, [], [f({"type": "array", "items": "long"}, default=[])])
    value = catalogue.single_object("thing", {}, 1)
    first, second = (catalogue.read_single_object("thing", value) for _ in range(2))
    assert not isinstance(first, Problem)
    assert not isinstance(second, Problem)
    first[0]["f"].append(1)
    assert second[0] == {"f": []}
    assert CATALOGUE.defaults(SUBJECT)["metrics"] is not CATALOGUE.defaults(SUBJECT)["metrics"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_what_a_version_wrote_can_be_read_as_it_was_written(version: int) -> None:
    value = CATALOGUE.single_object(SUBJECT, REPORT_V3, version)
    assert CATALOGUE.written_single_object(SUBJECT, value) == (WRITTEN[version], version)


@pytest.mark.parametrize("change", [{"rank": "x"}, {"trial_id": None}, {"run_id": "\ud800"}])
def test_encode_refuses_what_is_not_valid(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rank must be|trial_id must be|surrogates"):
        CATALOGUE.encode(SUBJECT, REPORT_V3 | change)


def test_names_that_do_not_exist_are_refused_in_one_sentence() -> None:
    with pytest.raises(
        SchemaError, match=r"no schema trail_report; known are ml\.run\.started, .*ml\.trial\.complete, "
    ):
        CATALOGUE.latest("trail_report")
    with pytest.raises(SchemaError, match="trial_report has no version 9"):
        CATALOGUE.encode(SUBJECT, REPORT, 9)


@pytest.mark.parametrize(
    ("names", "version"),
    [
        ([], 1),
        (["trial_id", "metrics"], 1),
        (["trial_id", "spectral_norm"], 2),
        (["mlflow_run_id"], 2),
        (["unheard_of"], 1),
        (["unheard_of", "mlflow_run_id"], 2),
    ],
)
def test_a_json_report_has_the_oldest_version_that_knows_its_fields(names: list[str], version: int) -> None:
    assert version == CATALOGUE.version_of(SUBJECT, names)
    assert version == CATALOGUE.version_of(SUBJECT, dict.fromkeys(names).keys())


# --- bytes that are not what they claim


@pytest.mark.parametrize("version", [1, 2])
def test_bytes_that_end_anywhere_too_early_are_unreadable(version: int) -> None:
    value = CATALOGUE.single_object(SUBJECT, REPORT_V3, version)
    assert ["unreadable"] * len(value) == [fail(value[:end]).kind for end in range(len(value))]


def test_bytes_that_go_on_after_the_end_are_unreadable() -> None:
    assert "goes on for 3 bytes" in fail(CATALOGUE.single_object(SUBJECT, REPORT_V3) + b"abc").message


def test_an_unknown_fingerprint_is_named() -> None:
    problem = fail(b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08rest")
    assert (problem.kind, "0102030405060708" in problem.message) == ("unknown_schema", True)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_never_an_exception(noise: bytes) -> None:
    read(noise)
    for value in (frame(noise), with_metrics(noise)):
        outcome = read(value)
        assert isinstance(outcome, Problem) or CATALOGUE.check(SUBJECT, outcome[0]) is None


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_damaged_bytes_are_valid_data_or_a_problem(data: st.DataObject) -> None:
    value = bytearray(CATALOGUE.single_object(SUBJECT, REPORT_V3))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(10, len(value) - 1))] = data.draw(st.integers(0, 255))
    outcome = read(bytes(value))
    assert isinstance(outcome, Problem) or CATALOGUE.check(SUBJECT, outcome[0]) is None


ONE = b"\x02\x02a"  # a block of one entry, named a
HOSTILE = {
    "2^62 entries in a map": (long(2**62), "announces"),
    "2^62 nulls in a list": (ONE + b"\x0a" + long(2**62) + b"\x00" * 50, "announces"),
    "the least count there is": (long(-(2**63)) + long(0), "announces"),
    "a negative count of too many": (ONE + b"\x0a" + long(-(2**50)) + long(1) + b"\x00" * 9, "announces"),
    "a key of 2^60 bytes": (b"\x02" + long(2**60), "announces"),
    "a key of -1 bytes": (b"\x02\x01", "announces -1 bytes"),
    "a string of -1 bytes": (ONE + b"\x08\x01", "announces -1 bytes"),
    "a key that is not UTF-8": (b"\x02\x02\xff\x00\x00", "not UTF-8"),
    "half a surrogate pair": (b"\x02\x06\xed\xa0\x80\x00\x00", "not UTF-8"),
    "a union's type that is not there": (ONE + long(7), "the number 7 of a union that has 7"),
    "a union's type before the first": (ONE + long(-1), "the number -1 of a union that has 7"),
    "a boolean of 2": (ONE + b"\x02\x02", "no boolean"),
    "an integer that never ends": (ONE + b"\x04" + b"\xff" * 100, "more than 64 bits"),
    "an integer of 65 bits": (ONE + b"\x04" + b"\xff" * 9 + b"\x02", "more than 64 bits"),
}


@pytest.mark.parametrize(("metrics", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_a_problem_at_once_and_take_no_memory(metrics: bytes, expected: str) -> None:
    value = with_metrics(metrics)
    tracemalloc.start()
    start = time.perf_counter()
    problem = fail(value)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem.kind == "unreadable"
    assert expected in problem.message
    assert (seconds < patient(0.1), peak < 100_000) == (True, True)


@pytest.mark.parametrize(("symbol", "readable"), [(-1, False), (0, True), (3, True), (4, False), (2**40, False)])
def test_only_symbols_that_exist_are_read(symbol: int, readable: bool) -> None:
    """fastavro takes -1 for the last one."""
    outcome = read(frame(b"\x02t\x02r" + long(symbol) + b"\x00" * 10))
    assert readable == (not isinstance(outcome, Problem))


def nested(levels: int) -> bytes:
    """`levels` levels of nesting, metrics being the first."""
    return with_metrics(ONE + b"\x0a\x02" * (levels - 1) + b"\x00" + b"\x00" * levels)


def test_nesting_is_read_to_256_levels_whatever_the_stack_and_no_deeper() -> None:
    """With fastavro 5,000 levels, 10 kB, end the process."""

    def outcome(levels: int, frames: int) -> tuple[dict[str, Any], int] | Problem:
        return outcome(levels, frames - 1) if frames else read(nested(levels))

    assert {"too_deep"} == {fail(nested(levels)).kind for levels in (257, 1000, 5000, 300_000)}
    assert not isinstance(read(nested(256)), Problem)
    assert not isinstance(outcome(256, 200), Problem)


def test_the_bytes_that_java_writes_in_blocks_of_known_size_are_read() -> None:
    """BlockingBinaryEncoder: a negative count, then the block's size; here two blocks of one entry each."""
    metrics = long(-1) + long(4) + b"\x02a\x04\x02" + long(-1) + long(4) + b"\x02b\x04\x04" + b"\x00"
    outcome = read(with_metrics(metrics))
    assert not isinstance(outcome, Problem)
    assert outcome[0]["metrics"] == {"a": 1, "b": 2}


# --- Confluent wire format: any writer's schema


def confluent(definition: Any, datum: Any, schema_id: int = 7, references: Any = ()) -> tuple[Any, int] | Problem:
    out = io.BytesIO(b"\x00" + schema_id.to_bytes(4, "big"))
    out.seek(5)
    names: dict[str, Any] = {}
    for one in references:
        fastavro.parse_schema(json.loads(json.dumps(one)), names)
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(definition)), names), datum)
    writer = {**definition, "references": list(references)} if references else definition
    return CATALOGUE.written_confluent(SUBJECT, out.getvalue(), writer)


@pytest.mark.parametrize(("version", "definition"), [(1, V1), (2, V2), (3, V3)])
def test_a_registrys_copy_of_a_version_is_that_version(version: int, definition: dict[str, Any]) -> None:
    value = b"\x00\x00\x00\x00\x2a" + by_fastavro(definition, REPORT_V3)
    assert CATALOGUE.written_confluent(SUBJECT, value, definition) == (WRITTEN[version], version)


def test_a_foreign_writers_datum_is_read_in_what_json_can_hold() -> None:
    """Fields in another order, left out or too many; bytes, fixed and logical types; another namespace."""
    writer = {
        "type": "record",
        "name": "TrialReport",
        "namespace": "elsewhere",
        "fields": [
            {"name": "mlflow_run_id", "type": "string"},
            {"name": "not_ours", "type": {"type": "array", "items": {"type": "map", "values": "double"}}},
            {"name": "metrics", "type": {"type": "map", "values": "float"}},
            {"name": "rank", "type": "int"},
            {"name": "status", "type": {"type": "enum", "name": "State", "symbols": ["FAIL", "COMPLETE"]}},
            {"name": "run_id", "type": "bytes"},
            {"name": "blob", "type": "bytes"},
            {"name": "zeros", "type": "bytes"},
            {"name": "hash", "type": {"type": "fixed", "name": "Four", "size": 4}},
            {"name": "cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
            {
                "name": "inner",
                "type": {"type": "record", "name": "Inner", "fields": [{"name": "value", "type": "int"}]},
            },
            {"name": "trial_id", "type": "string"},
        ],
    }
    same = {
        "mlflow_run_id": "m",
        "not_ours": [{"a": 1.0}],
        "metrics": {"loss": 0.5},
        "rank": 3,
        "status": "COMPLETE",
        "inner": {"value": 1},
        "trial_id": "t",
    }
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    datum = same | {
        "run_id": "rün".encode(),
        "blob": b"\xff\x00",
        "zeros": b"a\x00b",
        "hash": b"abcd",
        "cost": Decimal("-12.50"),
        "at": moment,
        "id": UUID(int=7),
    }
    expected = same | {
        "run_id": "rün",
        "blob": "base64:/wA=",
        "zeros": "base64:YQBi",
        "hash": "abcd",
        "cost": Decimal("-12.50"),
        "at": int(moment.timestamp() * 1000),
        "id": str(UUID(int=7)),
    }
    assert confluent(writer, datum) == (expected, 2)


def test_a_writers_copy_of_a_record_to_unwrap_is_unwrapped_though_its_mark_was_dropped() -> None:
    plain = json.loads(json.dumps(V2).replace('"unwrap": true, ', ""))
    assert '"unwrap":' not in json.dumps(plain)
    value = b"\x00\x00\x00\x00\x2a" + by_fastavro(V2, REPORT_V3)
    assert CATALOGUE.written_confluent(SUBJECT, value, plain) == (REPORT_V2, 2)


@pytest.mark.parametrize(("branch", "datum"), [(0, None), (1, {"trial_id": "t", "run_id": "r"})])
@pytest.mark.parametrize("boxed", [False, True])
def test_a_union_at_the_top_is_read_as_what_it_holds(branch: int, datum: Any, boxed: bool) -> None:
    record = {"type": "record", "name": "R", "fields": [f("string", "trial_id"), f("string", "run_id")]}
    union: Any = ["null", record]
    body = long(branch) + (b"\x02t\x02r" if branch else b"")
    writer = {"type": union} if boxed else union
    assert CATALOGUE.written_confluent(SUBJECT, b"\x00\x00\x00\x00\x09" + body, writer) == (datum, 1)


def test_records_of_one_name_in_two_namespaces_are_told_apart() -> None:
    one = {"type": "record", "name": "R", "namespace": "a", "fields": [f("string", "trial_id")]}
    two = {"type": "record", "name": "R", "namespace": "b", "fields": [f("long", "number")]}
    value = b"\x00\x00\x00\x00\x09" + long(1) + long(5)
    assert CATALOGUE.written_confluent(SUBJECT, value, [one, two]) == ({"number": 5}, 1)


def test_a_writers_schema_may_name_types_of_others() -> None:
    point = {"type": "record", "name": "Point", "namespace": "geo", "fields": [f("int", "x")]}
    line = {"type": "record", "name": "Line", "namespace": "geo", "fields": [f("Point", "from"), f("geo.Point", "to")]}
    writer = {"type": "record", "name": "R", "fields": [f("string", "trial_id"), f("geo.Line", "line")]}
    datum = {"trial_id": "t", "line": {"from": {"x": 1}, "to": {"x": 2}}}
    assert confluent(writer, datum, references=[point, line]) == (datum, 1)


def test_two_registries_may_use_one_id_for_different_schemas() -> None:
    for definition, version in [(V1, 1), (V2, 2), (V1, 1)]:
        value = b"\x00\x00\x00\x00\x01" + by_fastavro(definition, REPORT_V3)
        assert CATALOGUE.written_confluent(SUBJECT, value, dict(definition)) == (WRITTEN[version], version)


@pytest.mark.parametrize(
    "writer", [{}, {"type": "record"}, {"type": "what"}, 7, [], {"type": "fixed", "name": "F"}, {"type": ["R"]}]
)
def test_a_writer_that_is_no_schema_is_an_unknown_one_in_our_own_words(writer: Any) -> None:
    problem = CATALOGUE.written_confluent(SUBJECT, b"\x00\x00\x00\x00\x09", writer)
    assert isinstance(problem, Problem)
    assert problem.kind == "unknown_schema"
    assert problem.message.startswith("what the registry has is no Avro schema")
    assert "Error" not in problem.message
    assert "unhashable" not in problem.message


EVERY_ATTRIBUTE: dict[str, Any] = {
    "type": "record",
    "name": "TrialReport",
    "namespace": "a.b",
    "doc": "d",
    "aliases": ["Old"],
    "references": [{"type": "enum", "name": "a.b.Far", "symbols": ["A", "B"]}],
    "fields": [
        {"name": "run_id", "type": "string", "doc": "x", "order": "ascending", "aliases": ["t"], "default": ""},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A"], "default": "A", "aliases": ["EE"]}},
        {
            "name": "f",
            "type": {
                "type": "fixed",
                "name": "F",
                "size": 4,
                "logicalType": "decimal",
                "precision": 4,
                "scale": 2,
                "aliases": ["x.G"],
            },
        },
        {"name": "u", "type": ["null", {"type": "map", "values": {"type": "array", "items": "int"}}], "default": None},
        {"name": "n", "type": {"type": "record", "name": "N", "fields": [{"name": "value", "type": "Far"}]}},
    ],
}
WRONG: list[Any] = [
    None,
    True,
    -1,
    2**70,
    float("inf"),
    "",
    "\ud800",
    "record",
    [],
    [None],
    [[]],
    [{}],
    {},
    {"type": []},
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*place, key))


def with_value(value: Any, place: tuple[Any, ...], wrong: Any) -> Any:
    if not place:
        return wrong
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[place[0]] = with_value(value[place[0]], place[1:], wrong)
    return changed


def read_as(writer: Any) -> Any:
    return CATALOGUE.written_confluent(SUBJECT, b"\x00\x00\x00\x00\x09" + b"\x00" * 8, writer)


def test_a_writers_schema_may_have_every_attribute() -> None:
    datum = {"run_id": "", "e": "A", "f": Decimal(0), "u": None, "n": {"value": "A"}}
    assert read_as(EVERY_ATTRIBUTE) == (datum, 1)


@pytest.mark.parametrize("place", list(places(EVERY_ATTRIBUTE)), ids=str)
def test_any_json_in_the_place_of_any_part_of_a_writers_schema_is_data_or_a_problem(place: tuple[Any, ...]) -> None:
    for wrong in WRONG:
        found = read_as(with_value(EVERY_ATTRIBUTE, place, wrong))
        assert isinstance(found, Problem | tuple)


@given(JSON, JSON, st.sampled_from(list(places(EVERY_ATTRIBUTE))))
def test_any_json_as_a_writers_schema_is_data_or_a_problem(whole: Any, part: Any, place: tuple[Any, ...]) -> None:
    assert isinstance(read_as(whole), Problem | tuple)
    assert isinstance(read_as(with_value(EVERY_ATTRIBUTE, place, part)), Problem | tuple)


@pytest.mark.parametrize("aliases", [None, "Old", [None], [3], [{}]])
@pytest.mark.parametrize("place", [(), ("fields", 0), ("fields", 1, "type"), ("fields", 2, "type")], ids=str)
def test_aliases_that_are_no_names_make_a_writer_an_unknown_one(place: tuple[Any, ...], aliases: Any) -> None:
    problem = read_as(with_value(EVERY_ATTRIBUTE, (*place, "aliases"), aliases))
    assert isinstance(problem, Problem)
    assert problem.kind == "unknown_schema"


def test_types_that_nest_by_their_names_beyond_the_stack_are_a_problem_and_no_crash() -> None:
    types: list[Any] = [{"type": "record", "name": "E0", "fields": []}]
    for level in range(1, 3000):
        types.append({"type": "record", "name": f"E{level}", "fields": [{"name": "a", "type": f"E{level - 1}"}]})
    problem = read_as([*types, {"type": "array", "items": "E2999"}])
    assert isinstance(problem, Problem)


def test_a_writers_array_of_nothing_cannot_make_us_loop() -> None:
    """2^60 nulls are 9 bytes; fastavro counts them one by one."""
    writer = V1 | {"fields": [{"name": "x", "type": {"type": "array", "items": "null"}}, *V1["fields"]]}
    problem = CATALOGUE.written_confluent(SUBJECT, b"\x00\x00\x00\x00\x09" + long(2**60) + b"\x00", writer)
    assert isinstance(problem, Problem)
    assert (problem.path, problem.kind) == ("x", "invalid")
    assert "items that take no bytes" in problem.message


# --- compatibility


def catalogue_of(tmp_path: Path, *versions: list[dict[str, Any]]) -> Catalogue:
    folder = tmp_path / "thing"
    folder.mkdir()
    for number, fields in enumerate(versions, 1):
        definition = {"type": "record", "name": "Thing", "fields": fields}
        (folder / f"v{number}.avsc").write_text(json.dumps(definition))
    return Catalogue.load(tmp_path)


def f(type_: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def fixed(size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size}


def record(*fields: dict[str, Any], name: str = "Inner", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


COMPATIBLE: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], Any, Any]] = {
    "a field with a default is added": ([], [f("long", default=1)], {}, {"f": 1}),
    "a field is removed": ([f("long"), f("string", "g")], [f("string", "g")], {"f": 1, "g": "x"}, {"g": "x"}),
    "int becomes long": ([f("int")], [f("long")], {"f": 7}, {"f": 7}),
    "long becomes double": ([f("long")], [f("double")], {"f": 7}, {"f": 7.0}),
    "float becomes double": ([f("float")], [f("double")], {"f": 0.5}, {"f": 0.5}),
    "string becomes bytes": ([f("string")], [f("bytes")], {"f": "é"}, {"f": b"\xc3\xa9"}),
    "bytes become string": ([f("bytes")], [f("string")], {"f": b"\xc3\xa9"}, {"f": "é"}),
    "a type becomes nullable": ([f("string")], [f(["null", "string"])], {"f": "x"}, {"f": "x"}),
    "a union grows": ([f(["null", "int"])], [f(["null", "string", "long"])], {"f": 7}, {"f": 7}),
    "the very type goes before a promotion": ([f("int")], [f(["double", "int"])], {"f": 7}, {"f": 7}),
    "a symbol is added": ([f(enum("a"))], [f(enum("b", "a"))], {"f": "a"}, {"f": "a"}),
    "a symbol goes where there is a default": (
        [f(enum("a", "b"))],
        [f(enum("a", default="a"))],
        {"f": "b"},
        {"f": "a"},
    ),
    "a field is renamed with an alias": ([f("long", "old")], [f("long", aliases=["old"])], {"old": 7}, {"f": 7}),
    "a name goes before an alias": (
        [f("long", "old"), f("long")],
        [f("long", aliases=["old"])],
        {"old": 1, "f": 2},
        {"f": 2},
    ),
    "a record is renamed with an alias": (
        [f(record(f("int", "x"), name="Old"))],
        [f(record(f("long", "x"), name="New", aliases=["Old"]))],
        {"f": {"x": 7}},
        {"f": {"x": 7}},
    ),
    "a default holds nested defaults": (
        [],
        [f({"type": "array", "items": record(f("double", "x"))}, default=[{"x": 1}])],
        {},
        {"f": [{"x": 1.0}]},
    ),
    "a nested record grows": (
        [f({"type": "map", "values": record(f("int", "x"))})],
        [f({"type": "map", "values": record(f("long", "x"), f("bytes", "y", default="ÿ"))})],
        {"f": {"k": {"x": 7}}},
        {"f": {"k": {"x": 7, "y": b"\xff"}}},
    ),
}


@pytest.mark.parametrize(("old", "new", "datum", "expected"), COMPATIBLE.values(), ids=COMPATIBLE.keys())
def test_a_compatible_change_is_let_pass_and_old_data_is_read(
    old: list[dict[str, Any]], new: list[dict[str, Any]], datum: Any, expected: Any, tmp_path: Path
) -> None:
    catalogue = catalogue_of(tmp_path, old, new)
    value = catalogue.single_object("thing", datum, 1)
    assert catalogue.incompatibilities() == []
    assert repr((expected, 1)) == repr(catalogue.read_single_object("thing", value))


INCOMPATIBLE: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], str, str]] = {
    "a required field is added": ([], [f("long")], "f", "is not in the data and has no default"),
    "a field is renamed": ([f("long", "old")], [f("long")], "f", "is not in the data and has no default"),
    "a type changes": ([f("long")], [f("string")], "f", "long cannot be read as string"),
    "a long shrinks": ([f("long")], [f("int")], "f", "long cannot be read as int"),
    "a double shrinks": ([f("double")], [f("long")], "f", "double cannot be read as long"),
    "a type is no longer nullable": ([f(["null", "long"])], [f("long")], "f", "null cannot be read as long"),
    "a union loses a type": ([f(["null", "long"])], [f(["null", "int"])], "f", "long is none of null, int"),
    "a symbol goes": (
        [f(enum("a", "b", "c"))],
        [f(enum("a"))],
        "f",
        "b, c is no symbol of E, which has no default",
    ),
    "a fixed size changes": ([f(fixed(4))], [f(fixed(5))], "f", "F cannot be read as F"),
    "a record is renamed": ([f(record(name="A"))], [f(record(name="B"))], "f", "A cannot be read as B"),
    "items change": (
        [f({"type": "array", "items": "string"})],
        [f({"type": "array", "items": "long"})],
        "f[]",
        "string cannot be read as long",
    ),
    "a nested record changes": (
        [f({"type": "map", "values": record(f("string", "x"))})],
        [f({"type": "map", "values": record(f("long", "x"))})],
        "f.*.x",
        "string cannot be read as long",
    ),
    "an array of nothing": (
        [f({"type": "array", "items": record()})],
        [],
        "f",
        "an array of items that take no bytes can claim any length",
    ),
}


@pytest.mark.parametrize(("old", "new", "path", "why"), INCOMPATIBLE.values(), ids=INCOMPATIBLE.keys())
def test_an_incompatible_change_is_found_with_its_field(
    old: list[dict[str, Any]], new: list[dict[str, Any]], path: str, why: str, tmp_path: Path
) -> None:
    catalogue = catalogue_of(tmp_path, old, new)
    assert [("thing", 2, 1, path, why)] == catalogue.incompatibilities("thing")


def test_a_version_must_read_every_older_one_and_not_the_last_one_only(tmp_path: Path) -> None:
    """f goes and comes back with another type: v3 reads v2, and not v1."""
    catalogue = catalogue_of(tmp_path, [f("string")], [], [f("long", default=0)])
    assert catalogue.incompatibilities() == [("thing", 3, 1, "f", "string cannot be read as long")]


def test_a_branch_that_cannot_be_read_harms_only_the_data_that_use_it(tmp_path: Path) -> None:
    catalogue = catalogue_of(tmp_path, [f(["null", "long", "string"])], [f(["null", "long"])])
    good = catalogue.single_object("thing", {"f": 7}, 1)
    bad = catalogue.single_object("thing", {"f": "x"}, 1)
    assert catalogue.read_single_object("thing", good) == ({"f": 7}, 1)
    assert isinstance(catalogue.read_single_object("thing", bad), Problem)


def test_versions_of_one_fingerprint_count_as_the_oldest(tmp_path: Path) -> None:
    """Only the default differs, which the parsing canonical form leaves out."""
    catalogue = catalogue_of(tmp_path, [f("long", default=1)], [f("long", default=2)])
    value = catalogue.single_object("thing", {})
    assert catalogue.read_single_object("thing", value) == ({"f": 2}, 1)
