"""What people pass becomes what JSON can say, by one table; nothing raises, and nothing is bent in silence."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import io
import itertools
import json
import math
import re
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import attrs
import msgspec
import numpy as np
import pandas as pd
import pydantic
import pytest
from cerebros_client.values import Bounds, Walk, is_plain

from tests.unit.client.stand_ins import BFloat16, KerasVariable, TensorFlowTensor, TorchTensor

PAGE = (Path(__file__).parents[3] / "docs/reference/values.md").read_text()


class Colour(enum.Enum):
    RED = "red"
    MODEL = object()


class Size(enum.IntEnum):
    LARGE = 3


class Flag(enum.Flag):
    A = 1
    B = 2


class Word(enum.StrEnum):
    ADAM = "adam"


@dataclasses.dataclass
class Layer:
    units: int
    size: Size = Size.LARGE


class Point(NamedTuple):
    x: int
    y: float


class Model(pydantic.BaseModel):
    units: int
    path: Path = Path("/models/1")


@attrs.define
class Attrs:
    units: int


class Struct(msgspec.Struct):
    units: int


class Configuration(Mapping[str, Any]):
    """A map that is no dict, as OmegaConf's."""

    def __getitem__(self, name: str) -> Any:
        return {"units": 3}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(["units"])

    def __len__(self) -> int:
        return 1


class Unregistered:
    """A map by what it does only, as a row of a database."""

    def keys(self) -> list[str]:
        return ["a"]

    def __getitem__(self, name: str) -> int:
        return 1


class LyingStr(str):
    def __str__(self) -> str:
        raise RuntimeError


class LyingFloat(float):
    def __repr__(self) -> str:
        return "lies"


#: the row of the documentation, what is passed, what JSON says
FORMS: list[tuple[str, Any, Any]] = [
    ("text, number, boolean, null", "relu", "relu"),
    ("text, number, boolean, null", 2**70, 2**70),
    ("text, number, boolean, null", True, True),
    ("text, number, boolean, null", None, None),
    ("text, number, boolean, null", LyingStr("x"), "x"),
    ("text, number, boolean, null", LyingFloat(1.5), 1.5),
    ("NaN, infinities", math.inf, math.inf),
    ("Decimal, Fraction", Decimal("0.25"), 0.25),
    ("Decimal, Fraction", Decimal("1e5"), 100000),
    ("Decimal, Fraction", Decimal("-Infinity"), -math.inf),
    ("Decimal, Fraction", Fraction(1, 4), 0.25),
    ("datetime, date, time", datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
    ("datetime, date, time", date(2026, 1, 2), "2026-01-02"),
    ("datetime, date, time", time(3, 4), "03:04:00"),
    ("datetime, date, time", pd.Timestamp("2026-01-02 03:04:05.000000006"), "2026-01-02T03:04:05.000000006"),
    ("datetime, date, time", np.datetime64("2026-01-02T03:04:05.000000006"), "2026-01-02T03:04:05.000000006"),
    ("datetime, date, time", np.array(["2026-01-02", "NaT"], "M8[ns]"), ["2026-01-02T00:00:00.000000000", None]),
    ("timedelta", timedelta(milliseconds=1500), 1.5),
    ("timedelta", pd.Timedelta(2, "s"), 2.0),
    ("timedelta", np.timedelta64(1500, "ms"), 1.5),
    ("timedelta", np.array([[1, "NaT"]], "m8[s]"), [[1.0, None]]),
    ("missing values of pandas", pd.NA, None),
    ("missing values of pandas", pd.NaT, None),
    ("missing values of pandas", np.datetime64("NaT"), None),
    ("UUID, path", uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ("UUID, path", PurePosixPath("/models/1"), "/models/1"),
    ("Enum", Colour.RED, "red"),
    ("Enum", Colour.MODEL, "MODEL"),
    ("Enum", Size.LARGE, 3),
    ("Enum", Flag.A | Flag.B, 3),
    ("Enum", Word.ADAM, "adam"),
    ("bytes", b"abc", "abc"),
    ("bytes", bytearray(b"\xff"), "base64:/w=="),
    ("bytes", memoryview(b"abc"), "abc"),
    ("bytes", np.bytes_(b"abc"), "abc"),
    ("dataclass, named tuple, pydantic, attrs, msgspec", Layer(64), {"units": 64, "size": 3}),
    ("dataclass, named tuple, pydantic, attrs, msgspec", Point(1, 2.5), {"x": 1, "y": 2.5}),
    ("dataclass, named tuple, pydantic, attrs, msgspec", Model(units=3), {"units": 3, "path": "/models/1"}),
    ("dataclass, named tuple, pydantic, attrs, msgspec", Attrs(3), {"units": 3}),
    ("dataclass, named tuple, pydantic, attrs, msgspec", Struct(3), {"units": 3}),
    ("any mapping", Configuration(), {"units": 3}),
    ("any mapping", MappingProxyType({"a": {1, 2}}), {"a": [1, 2]}),
    ("any mapping", collections.Counter("aab"), {"a": 2, "b": 1}),
    ("any mapping", Unregistered(), {"a": 1}),
    ("list, tuple, range, deque, array, views, iterators", (1, (2,)), [1, [2]]),
    ("list, tuple, range, deque, array, views, iterators", range(3), [0, 1, 2]),
    ("list, tuple, range, deque, array, views, iterators", collections.deque([1, 2]), [1, 2]),
    ("list, tuple, range, deque, array, views, iterators", array.array("d", [0.5]), [0.5]),
    ("list, tuple, range, deque, array, views, iterators", {"a": 1}.keys(), ["a"]),
    ("list, tuple, range, deque, array, views, iterators", {"a": 1}.values(), [1]),
    ("list, tuple, range, deque, array, views, iterators", (one for one in (1, 2)), [1, 2]),
    ("list, tuple, range, deque, array, views, iterators", map(str, [1, 2]), ["1", "2"]),
    ("set", {3, 1, 2}, [1, 2, 3]),
    ("set", frozenset({"b", 1}), ["b", 1]),
    ("numpy", np.float32(1.5), 1.5),
    ("numpy", np.int64(7), 7),
    ("numpy", np.bool_(True), True),
    ("numpy", np.str_("x"), "x"),
    ("numpy", np.longdouble("1.25"), 1.25),
    ("numpy", np.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
    ("numpy", np.array(3), 3),
    ("numpy", np.array([{"a": np.int8(1)}], dtype=object), [{"a": 1}]),
    ("numpy", np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), [[1, 2.5]]),
    ("numpy", np.ma.array([1, 2], mask=[False, True]), [1, None]),
    ("pandas", pd.Series([0.5, 0.25], index=["loss", "val_loss"]), {"loss": 0.5, "val_loss": 0.25}),
    ("pandas", pd.Series([1, None], dtype="Int64"), {"0": 1, "1": None}),
    ("pandas", pd.DataFrame({"loss": [0.5, 0.25]}), {"loss": [0.5, 0.25]}),
    ("pandas", pd.Index(["a", "b"]), ["a", "b"]),
    ("pandas", pd.Categorical(["a", "b"]), ["a", "b"]),
    ("torch, TensorFlow, Keras, JAX", TorchTensor([1.0, 2.0], grad=True), [1.0, 2.0]),
    ("torch, TensorFlow, Keras, JAX", TorchTensor(0.5, device="cuda:0"), 0.5),
    ("torch, TensorFlow, Keras, JAX", TensorFlowTensor([[1.0]]), [[1.0]]),
    ("torch, TensorFlow, Keras, JAX", KerasVariable(0.5), 0.5),
    ("torch, TensorFlow, Keras, JAX", BFloat16(0.5), 0.5),
    ("class, function", np.ndarray, "numpy.ndarray"),
    ("class, function", math.sqrt, "math.sqrt"),
    ("exception", ValueError("diverged"), "ValueError: diverged"),
    ("keys", {1: 1, 2.5: 2, None: 3, np.int64(4): 4}, {"1": 1, "2.5": 2, "null": 3, "4": 4}),
    ("keys", {Colour.RED: 1, date(2026, 1, 2): 2, False: 3}, {"red": 1, "2026-01-02": 2, "false": 3}),
]


class Silent:
    """Everything about it raises."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __iter__(self) -> Any:
        raise RuntimeError


class NoClass:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError


class Endless:
    """Answers with another of itself, always."""

    def item(self) -> Any:
        return Endless()


class Nested:
    """A list that holds itself, anew each time."""

    shape = ()

    def tolist(self) -> Any:
        return [Nested()]


def holds_itself() -> Any:
    held: list[Any] = [1]
    held.append({"again": held})
    return held


def deep() -> Any:
    held: Any = 1
    for _ in range(100_000):
        held = [held]
    return held


def laughs() -> Any:
    held: Any = ["ha"]
    for _ in range(60):
        held = [held, held]
    return held


#: the row of the documentation, what is passed, what the warning says; all of it becomes something that JSON can say
BENT: list[tuple[str, Any, str]] = [
    ("anything else", object(), r"^metrics.x: object, kept as its repr"),
    ("anything else", {"a": [1, object()]}, r"^metrics.x.a\[1\]: object"),
    ("anything else", 1j, "complex"),
    ("anything else", io.StringIO("a line"), "StringIO"),
    ("anything else", threading.Lock(), "lock"),
    ("anything else", Silent(), "raises ValueError"),
    ("anything else", NoClass(), "raises RuntimeError"),
    ("anything else", Endless(), "no form"),
    ("anything else", np.longdouble("1e4000"), "longdouble"),
    ("anything else", Decimal("1e999999"), "Decimal"),
    ("anything else", Fraction(10**400, 3), "Fraction"),
    ("anything else", 10**5000, "int"),
    ("anything else", TorchTensor([1.0], device="meta"), "raises NotImplementedError"),
    ("anything else", TensorFlowTensor([1.0], symbolic=True), "raises NotImplementedError"),
    ("holds itself", holds_itself(), "holds itself"),
    ("deeper than 190 levels", deep(), "deeper than 190 levels"),
    ("deeper than 190 levels", Nested(), "deeper than 190 levels"),
    ("more than 50,000 values", np.zeros(10**6), "1000000 values, the first 50000 are kept"),
    ("more than 50,000 values", [0] * 60_000, "60000 values, the first 50000 are kept"),
    ("more than 50,000 values", itertools.count(), "too many values, the first 50000 are kept"),
    ("more than 50,000 values", pd.Series(np.zeros(60_000)), "values, the first 50000 are kept"),
    ("more than 50,000 values", dict.fromkeys(range(60_000), 1), "values, the first 50000 are kept"),
    ("more than 50,000 values", laughs(), "values"),
    ("a text beyond 200,000 characters", "x" * 300_000, "a text of 300000 characters, cut"),
    ("two keys with one text", {1: "a", "1": "b"}, "a second '1'"),
]


def walked(value: Any) -> tuple[Any, list[str]]:
    walk = Walk(Bounds())
    found = walk.plain(value, "metrics.x")
    return json.loads(json.dumps(found)), walk.told()


@pytest.mark.parametrize(("row", "value", "expected"), FORMS, ids=lambda one: str(type(one).__name__))
def test_what_has_a_form_in_json_takes_it_without_a_word(row: str, value: Any, expected: Any) -> None:
    assert walked(value) == (expected, [])


@pytest.mark.parametrize(("row", "value", "said"), BENT, ids=lambda one: str(type(one).__name__))
def test_what_has_none_is_described_and_told_with_its_place(row: str, value: Any, said: str) -> None:
    found, told = walked(value)
    assert re.search(said, "\n".join(told), re.MULTILINE)
    assert len(told) <= 21
    assert len(json.dumps(found)) < 2_000_000


def test_nan_is_nan() -> None:
    found, told = walked([math.nan, np.float32("nan"), Decimal("nan")])
    assert [math.isnan(one) for one in found] == [True] * 3
    assert told == []


def test_the_documentation_has_the_same_rows() -> None:
    listed = re.findall(r"^\| ([^|`]+?) \|", PAGE, re.MULTILINE)
    assert sorted({row for row, *_ in [*FORMS, *BENT]} | {"NaN, infinities"}) == sorted(
        set(listed) - {"what is passed", "what is passed as"}
    )


def test_both_values_of_keys_with_one_text_are_kept() -> None:
    assert walked({1: "a", "1": "b", np.int64(1): "c"})[0] == {"1": "c", "1#2": "b"}


def test_a_mock_ends() -> None:
    """It has every attribute, and each gives another of itself."""
    found, _ = walked(MagicMock())
    assert isinstance(found, str)


def test_warnings_are_bounded_and_counted() -> None:
    walk = Walk(Bounds())
    walk.plain([object() for _ in range(1000)], "metrics")
    assert len(walk.told()) == 21
    assert walk.told()[-1] == "and 980 more values were bent"


def test_a_file_is_not_read_and_a_loader_not_run() -> None:
    """Only iterators that hand on what is there already are read."""

    class Loader:
        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Any:
            raise AssertionError("it ran the training data through")

    file = io.StringIO("a line")
    assert isinstance(walked([file, Loader()])[0][1], str)
    assert file.read() == "a line"


@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2.5, {"b": None}]}, [[[]]], {"epochs": [0.5] * 100}, {"a": ("x", (1,))}, {}],
)
def test_what_is_plain_is_seen_at_a_glance(value: Any) -> None:
    assert is_plain({"a": value})
    assert Walk(Bounds()).plain(value, "x") == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "value", [{1: 1}, [np.float64(1)], {1}, holds_itself(), [0] * 10_000, Size.LARGE, laughs(), deep()]
)
def test_what_may_have_to_be_bent_is_not_plain(value: Any) -> None:
    assert not is_plain({"a": value})


@pytest.mark.parametrize("limit", [0, 4300])
def test_an_integer_that_takes_long_to_write_is_never_written(limit: int, request: pytest.FixtureRequest) -> None:
    """Whatever the environment allows Python: PYTHONINTMAXSTRDIGITS=0 makes it take minutes."""
    request.addfinalizer(lambda: sys.set_int_max_str_digits(4300))
    sys.set_int_max_str_digits(limit)
    huge, told = 10**5000, "<an integer of 16610 bits>"
    walk = Walk(Bounds())
    value = {huge: [huge, -huge], "fraction": Fraction(huge, 3), "key": {(huge,): 1, Fraction(huge, 3): 2}}
    assert walk.plain(value, "metrics") == {
        told: [told, told],
        "fraction": f"Fraction({told}, 3)",
        "key": {f"({told},)": 1, f"Fraction({told}, 3)": 2},
    }
    assert not is_plain({"a": huge})
    assert not is_plain({"a": [1, {"b": [huge]}]})
    assert len(walk.told()) == 5
