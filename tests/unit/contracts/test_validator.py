"""The compiled validator and the codec, held against fastavro on random data of random schemas."""

from __future__ import annotations

import copy
import io
import math
from enum import IntEnum, StrEnum
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.contracts.avro import reader as reading
from processor.contracts.avro.problem import Problem
from processor.contracts.avro.reader import compile_plain_reader, compile_reader
from processor.contracts.avro.schema import BadSchema, empty_records, may_be_empty, parse, resolve
from processor.contracts.avro.validator import compile_validator
from processor.contracts.avro.writer import compile_writer
from processor.contracts.catalogue import Catalogue

LONG = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.floats(width=32)  # a double that no float can hold is one of the named differences
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SIMPLE = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": LONG,
    "float": NUMBER | st.integers(-1000, 1000),
    "double": NUMBER | st.integers(-1000, 1000),
    "string": TEXT,
    "bytes": st.binary(max_size=3),
}
JSON = st.recursive(
    st.none() | st.booleans() | LONG | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


class SchemaMaker:
    """Draws a schema that may use any type, and names that it has already defined or is inside of."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.named: dict[str, Any] = {}
        self.open: list[str] = []

    def name(self) -> str:
        return f"N{len(self.named)}"

    def type_(self, depth: int, *, item: bool = False) -> Any:
        """`item`: of an array or map, or beside null in a union, where a type may contain itself."""
        kinds = [*SIMPLE, "enum", "fixed"]
        if depth:
            kinds += ["array", "map", "record", "record", "union", "union"]
        names = [name for name in self.named if item or name not in self.open]
        if names:
            kinds += ["name", "name"]
        kind = self.draw(st.sampled_from(kinds))
        return getattr(self, f"_{kind}")(depth) if kind not in SIMPLE else kind

    def _name(self, depth: int) -> str:
        return self.draw(st.sampled_from([n for n in self.named if n not in self.open] or ["N0"]))

    def _enum(self, depth: int) -> Any:
        symbols = self.draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
        return self._define({"type": "enum", "name": self.name(), "symbols": symbols})

    def _fixed(self, depth: int) -> Any:
        return self._define({"type": "fixed", "name": self.name(), "size": self.draw(st.integers(1, 3))})

    def _define(self, schema: Any) -> Any:
        self.named[schema["name"]] = schema
        return schema

    def _array(self, depth: int) -> Any:
        items = self.type_(depth - 1, item=True)  # nulls alone take no bytes: see the named differences
        return {"type": "array", "items": "string" if items == "null" else items}

    def _map(self, depth: int) -> Any:
        return {"type": "map", "values": self.type_(depth - 1, item=True)}

    def _record(self, depth: int) -> Any:
        schema = self._define({"type": "record", "name": self.name(), "fields": []})
        self.open.append(schema["name"])
        schema["fields"] = [{"name": "key", "type": "string"}]  # so that no record is empty
        for number in range(self.draw(st.integers(0, 3))):
            type_ = self.type_(depth - 1)
            more = {"default": DEFAULTS[type_]} if type_ in DEFAULTS and self.draw(st.booleans()) else {}
            schema["fields"].append({"name": f"f{number}", "type": type_, **more})
        if self.draw(st.booleans()):
            again = self.draw(st.sampled_from(self.open))
            wrap = [["null", again], {"type": "array", "items": again}, {"type": "map", "values": again}]
            schema["fields"].append({"name": "again", "type": self.draw(st.sampled_from(wrap))})
        self.open.pop()
        return schema

    def _union(self, depth: int) -> Any:
        branches: dict[str, Any] = {}
        for _ in range(self.draw(st.integers(1, 4))):
            before = dict(self.named)
            branch = self.type_(depth - 1)
            kind = branch["type"] if isinstance(branch, dict) else branch
            if isinstance(branch, list) or self._python_type(kind) in map(self._python_type, branches):
                self.named = before
                continue  # fastavro and we may take another branch where two fit
            branches[kind] = branch
        return list(branches.values()) or ["null", "long"]

    def _python_type(self, kind: str) -> str:
        kind = self.named[kind]["type"] if kind in self.named else kind
        same = {"int": "long", "float": "long", "double": "long", "enum": "string", "record": "map"}
        return {"bytes": "array", "fixed": "array"}.get(kind, same.get(kind, kind))


class Defaults(dict[Any, Any]):
    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and super().__contains__(key)


DEFAULTS = Defaults({"null": None, "boolean": True, "int": 3, "long": 3, "double": 0.5, "string": "x"})


def random_value(draw: st.DrawFn, type_: Any, names: dict[str, Any], depth: int = 6) -> Any:
    if isinstance(type_, str) and type_ in SIMPLE:
        return draw(SIMPLE[type_])
    if isinstance(type_, list):
        return random_value(draw, draw(st.sampled_from(type_)) if depth > 0 else type_[0], names, depth - 1)
    schema = names[type_] if isinstance(type_, str) else type_
    if schema["type"] == "enum":
        return draw(st.sampled_from(schema["symbols"]))
    if schema["type"] == "fixed":
        return draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
    size = draw(st.integers(0, 3)) if depth > 0 else 0
    if schema["type"] == "array":
        return [random_value(draw, schema["items"], names, depth - 2) for _ in range(size)]
    if schema["type"] == "map":
        return {draw(TEXT): random_value(draw, schema["values"], names, depth - 2) for _ in range(size)}
    fields = [f for f in schema["fields"] if "default" not in f or draw(st.booleans())]
    return {f["name"]: random_value(draw, f["type"], names, depth - 1) for f in fields}


def damaged(draw: st.DrawFn, value: Any) -> Any:
    """The value with one place, anywhere in it, changed or left out."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 3)):
        value = copy.copy(value)
        place = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        if draw(st.booleans()) and isinstance(value, dict):
            del value[place]
        else:
            value[place] = damaged(draw, value[place])
        return value
    return draw(JSON)


@st.composite
def schemas_with_data(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    maker = SchemaMaker(draw)
    schema = maker._record(3)
    value = random_value(draw, schema, maker.named)
    return schema, value, damaged(draw, value)


def oracle(schema: Any, value: Any) -> bool:
    judged: bool = fastavro.validate(value, schema, raise_errors=False, strict=True)
    return judged


@settings(max_examples=400, deadline=None)
@given(schemas_with_data())
def test_the_validator_agrees_with_fastavro_on_random_data_of_random_schemas(case: tuple[Any, Any, Any]) -> None:
    schema, value, other = case
    validate = compile_validator(parse(schema))
    assert validate(value) is None
    assert oracle(schema, value)
    assert oracle(schema, other) == (validate(other) is None)


@settings(max_examples=300, deadline=None)
@given(schemas_with_data())
def test_bytes_mean_the_same_to_fastavro_and_to_us_both_ways(case: tuple[Any, Any, Any]) -> None:
    schema, value, _ = case
    parsed = parse(schema)
    theirs, ours = io.BytesIO(), compile_writer(parsed)(value)
    fastavro.schemaless_writer(theirs, schema, value)
    read, misfits = compile_reader(parsed, parsed)

    assert theirs.getvalue() == ours
    assert misfits == []
    # repr, because NaN is not equal to itself and -0.0 equals 0.0
    assert repr(fastavro.schemaless_reader(io.BytesIO(ours), schema, None)) == repr(read(ours, 0))
    for end in range(len(ours)):
        assert isinstance(read(ours[:end], 0), Problem)


@settings(max_examples=300, deadline=None)
@given(schemas_with_data(), st.binary(max_size=40))
def test_random_bytes_are_data_or_a_problem_and_never_an_exception(case: tuple[Any, Any, Any], noise: bytes) -> None:
    parsed = parse(case[0])
    read, _ = compile_reader(parsed, parsed)
    datum = read(noise, 0)
    assert isinstance(datum, Problem) or compile_validator(parsed)(datum) is None


def judge(type_: Any, value: Any) -> Problem | None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "f", "type": type_}]}
    return compile_validator(parse(schema))({"f": value})


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("double", 2**63),
        ("double", 10**400),
        (["long", "double"], 2**63),
        ("float", 1e300),
        ({"type": "array", "items": "long"}, (1, 2)),
        ({"type": "array", "items": "long"}, b"\x01"),
        ("bytes", bytearray(b"x")),
    ],
)
def test_what_fastavro_takes_but_cannot_write_or_json_cannot_hold_is_refused(type_: Any, value: Any) -> None:
    """The named differences from the oracle."""
    assert oracle({"type": "record", "name": "R", "fields": [{"name": "f", "type": type_}]}, {"f": value})
    problem = judge(type_, value)
    assert problem is not None
    assert problem.path == "f"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3.4028235677973362e38, -1, 2**53 + 1])
def test_a_float_is_valid_exactly_when_four_bytes_can_hold_it(value: float) -> None:
    assert judge("float", value) is None
    assert compile_writer(parse({"type": "record", "name": "R", "fields": [{"name": "f", "type": "float"}]}))(
        {"f": value}
    )


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("string", Colour.RED),
        (["null", "string"], Colour.RED),
        ({"type": "enum", "name": "E", "symbols": ["red"]}, Colour.RED),
        ("long", Size.LARGE),
        (["null", "long"], Size.LARGE),
    ],
)
def test_a_derived_type_is_as_good_as_its_base_and_writes_the_same_bytes(type_: Any, value: Any) -> None:
    write = compile_writer(parse({"type": "record", "name": "R", "fields": [{"name": "f", "type": type_}]}))
    assert judge(type_, value) is None
    assert write({"f": value.value}) == write({"f": value})


def test_a_bool_is_no_integer_and_an_integer_is_no_bool() -> None:
    assert judge("long", True) == ("f", "must be a 64-bit integer, not true", "invalid")
    assert judge("boolean", 1) == ("f", "must be a boolean, not 1", "invalid")
    assert judge(["null", "long"], False) == ("f", "must be null or long, not false", "invalid")
    assert judge("double", True) == ("f", "must be a 64-bit number, not true", "invalid")


REPORT = {"trial_id": "t", "run_id": "r", "status": "succeeded"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"metrics": {"layers": [1, 2, 3, 2**64]}}, "metrics.layers[3]"),
        ({"metrics": {"a": {"b": [{"c": [[object()]]}]}}}, "metrics.a.b[0].c[0][0]"),
        ({"parameters": {"": {"x": {1: 2}}}}, "parameters..x"),
        ({"warnings": ["a", None]}, "warnings[1]"),
        ({"metrics": [1]}, "metrics"),
        ({"status": "done", "rank": "x"}, "status"),
    ],
)
def test_a_problem_names_the_exact_place(change: dict[str, Any], path: str) -> None:
    problem = Catalogue.load().check("trial_report", REPORT | change)
    assert problem is not None
    assert path == problem.path


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(TEXT, JSON | st.just(2**63) | st.lists(st.just(-(2**63) - 1))))
def test_metrics_are_valid_exactly_when_they_are_json_of_64_bit_numbers(metrics: dict[str, Any]) -> None:
    def fits(value: Any) -> bool:
        if isinstance(value, dict):
            return all(map(fits, value.values()))
        if isinstance(value, list):
            return all(map(fits, value))
        return type(value) is not int or -(2**63) <= value < 2**63

    problem = CATALOGUE.check("trial_report", REPORT | {"metrics": metrics})
    assert fits(metrics) == (problem is None)


CATALOGUE = Catalogue.load()


def test_data_that_nests_beyond_the_stack_is_a_problem() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    problem = CATALOGUE.check("trial_report", REPORT | {"metrics": {"deep": value}})
    assert problem == ("", "nested too deep", "too_deep")
    with pytest.raises(ValueError, match="nested too deep"):
        CATALOGUE.encode("trial_report", REPORT | {"metrics": {"deep": value}})


A = {"type": "record", "name": "A", "fields": [{"name": "x", "type": "long"}]}
B = {"type": "record", "name": "B", "fields": [{"name": "y", "type": "string"}]}


@pytest.mark.parametrize(
    ("union", "value"),
    [
        (["int", "long"], 2**40),
        (["int", "double"], 2**40),
        ([{"type": "enum", "name": "E", "symbols": ["a"]}, "string"], "b"),
        ([{"type": "fixed", "name": "F", "size": 2}, "bytes"], b"abc"),
        ([A, B], {"y": "s"}),
        ([A, {"type": "map", "values": "string"}], {"k": "s"}),
    ],
)
def test_of_types_that_look_alike_in_python_a_union_takes_the_first_that_fits(union: Any, value: Any) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "f", "type": union}]}
    theirs, ours = io.BytesIO(), compile_writer(parse(schema))({"f": value})
    fastavro.schemaless_writer(theirs, schema, {"f": value})
    assert judge(union, value) is None
    assert theirs.getvalue() == ours


def test_what_fits_none_of_several_types_is_told_all_of_them() -> None:
    assert judge([A, B], {"z": 1}) == ("f", "must be A or B, not an object", "invalid")


@pytest.mark.parametrize(
    ("type_", "data", "expected"),
    [
        ("string", b"\x06ab", "byte 0 announces 3 bytes, 2 are left"),
        ({"type": "fixed", "name": "F", "size": 3}, b"ab", "3 bytes are due at byte 0, 2 are left"),
        ("int", b"\x80\x80\x80\x80\x10", "byte 0 begins 2147483648, no 32-bit integer"),
        ("float", b"\x00\x00\x00", "Avro ends too early"),
        (["null", "long"], b"\x81\x00\x00", "of a union that has 2 types"),
    ],
)
def test_bytes_that_are_not_their_type_are_told_where_and_why(type_: Any, data: bytes, expected: str) -> None:
    parsed = parse({"type": "record", "name": "R", "fields": [{"name": "f", "type": type_}]})
    problem = compile_reader(parsed, parsed)[0](data, 0)
    assert isinstance(problem, Problem)
    assert expected in problem.message


class CountedNames(dict[str, Any]):
    """Named types that count how often they are looked up."""

    lookups = 0

    def __getitem__(self, name: str) -> Any:
        self.lookups += 1
        return super().__getitem__(name)


def test_a_record_that_many_records_hold_is_looked_at_once_for_each_that_holds_it() -> None:
    depth = 12
    names = CountedNames(E0={"type": "record", "name": "E0", "fields": []})
    for level in range(1, depth + 1):
        fields = [{"name": name, "type": f"E{level - 1}"} for name in "ab"]
        names[f"E{level}"] = {"type": "record", "name": f"E{level}", "fields": fields}
    assert empty_records(names) == set(names)
    assert names.lookups <= 4 * (depth + 1)


def test_a_record_that_holds_itself_may_be_empty_unless_a_part_needs_a_byte() -> None:
    own = {"name": "own", "type": "R"}
    assert empty_records({"R": {"type": "record", "name": "R", "fields": [own]}}) == {"R"}
    fields = [own, {"name": "text", "type": "string"}]
    assert empty_records({"R": {"type": "record", "name": "R", "fields": fields}}) == set()


def test_a_record_that_many_arrays_hold_is_looked_at_once_for_all_of_them() -> None:
    nulls = [{"name": f"f{number}", "type": "null"} for number in range(300)]
    names = CountedNames(R={"type": "record", "name": "R", "fields": nulls})
    names["A"] = {"type": "record", "name": "A", "fields": [{"name": "r", "type": "R"}, {"name": "x", "type": "int"}]}
    empty = empty_records(names)
    lookups = names.lookups
    for _ in range(300):
        assert may_be_empty("R", names, empty)
        assert not may_be_empty("A", names, empty)
    assert names.lookups - lookups <= 600


class CountedText(str):
    """Text that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        CountedText.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("kind", ["record", "enum"])
def test_the_names_of_a_writers_schema_are_not_each_compared_to_all_others(kind: str) -> None:
    names = [CountedText(f"n{number}") for number in range(500)]
    fields = [{"name": name, "type": "int"} for name in names]
    parsed = parse({"type": kind, "name": "R", "fields": fields, "symbols": names})
    CountedText.compared = 0
    compile_plain_reader(parsed)
    compile_reader(parsed, parsed)
    parse({"type": "record", "name": "R", "fields": fields})
    assert CountedText.compared < 20 * len(names)


def test_a_record_with_two_fields_of_one_name_is_no_schema() -> None:
    fields = [{"name": name, "type": "int"} for name in "aba"]
    with pytest.raises(BadSchema, match="has two fields a"):
        parse({"type": "record", "name": "R", "fields": fields})


def test_a_type_that_many_skipped_fields_have_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = [{"name": f"f{number}", "type": "int"} for number in range(200)]
    skipped = [{"name": f"s{number}", "type": "R"} for number in range(200)]
    first = {"name": "r", "type": {"type": "record", "name": "R", "fields": inside}}
    writer = parse({"type": "record", "name": "W", "fields": [first, *skipped]})
    reader = parse({"type": "record", "name": "W", "fields": [{"name": "x", "type": "int", "default": 1}]})
    asked: list[Any] = []

    def counted(type_: Any, names: Any) -> Any:
        asked.append(type_)
        return resolve(type_, names)

    monkeypatch.setattr(reading, "resolve", counted)
    read, misfits = compile_reader(writer, reader)
    assert misfits == []
    assert len(asked) < 10 * (len(inside) + len(skipped))
    assert read(b"\0" * 201 * 200, 0) == {"x": 1}
