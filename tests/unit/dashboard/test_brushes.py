"""What a picture says of its axes leads to a filter that holds what the axis has a place for, whatever names are."""

from __future__ import annotations

import json
import math
import sys
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.dashboard.charts.best import best_picture
from processor.dashboard.charts.brushes import SUCCEEDED, literals_of
from processor.dashboard.charts.failures import failures_picture
from processor.dashboard.charts.parallel import LEVELS, parallel_picture
from processor.dashboard.charts.scatter import Scattered, scatter_picture
from processor.dashboard.charts.spreads import spread_picture, spreads
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.terms import Term, terms_of
from processor.dashboard.filters.tree import Among, And, Compare, Node, Path
from processor.dashboard.queries.charts import Best, Endings, Sampled
from tests.support.holding import holds
from tests.support.trials import START
from tests.unit.dashboard.filters import trees

HOSTILE = "</title><script>alert(1)</script>\"'> or \\ (\n) \u202e.é"
ACCURACY = Path("metrics", ("accuracy",))
LR = Path("parameters", ("lr",))
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
doubles = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(doubles, st.integers(-(10**400), 10**400), st.none(), st.booleans(), names, st.lists(st.integers()))


class Brushes(HTMLParser):
    """The brushes of a picture, as a browser reads them."""

    def __init__(self, picture: str | None) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[dict[str, Any]] = []
        self.tags: list[str] = []
        self.feed(picture or "")
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if (given.get("class") or "").startswith("brush "):
            assert given["tabindex"] == "0"
            assert "arrow keys" in str(given["aria-label"])
            self.found.append(given)


def trial(value: float | None, *parameters: Any) -> Sampled:
    return Sampled("run", "t", "succeeded", True, value, parameters)


def parallel(rows: list[tuple[Any, float | None]], path: Path = LR) -> list[dict[str, Any]]:
    picture, _ = parallel_picture([trial(value, one) for one, value in rows], ["lr"], "accuracy", [path, ACCURACY])
    read = Brushes(picture)
    assert "script" not in read.tags
    return read.found


def condition(text: str) -> Node:
    (found,) = terms_of(parse(text))
    assert found.text == text
    return parse(text)


@given(names, st.sampled_from(["parameters", "metrics", "either"]))
def test_a_path_is_read_as_it_is_written_whatever_its_name_is(name: str, place: str) -> None:
    path = Path(place, (name,))
    lr, metric = parallel([(0.1, 0.5), (0.2, 0.7)], path)
    assert condition(f"{lr['data-path']} >= 0.1") == Compare(path, ">=", Decimal("0.1"))
    assert (metric["data-path"], metric["data-also"]) == ('metrics."accuracy"', SUCCEEDED)


def test_hostile_names_are_text_in_every_picture() -> None:
    path, label = Path("parameters", (HOSTILE,)), HOSTILE
    trials = [trial(0.5, 0.1), trial(0.75, 0.2)]
    best = [
        Best(at == 0, 1, START.replace(minute=at), 5.0, 0.5 + at / 10, "run", HOSTILE, last=True) for at in range(2)
    ]
    pictures = [
        parallel_picture(trials, [label], label, [path, path])[0],
        scatter_picture(trials, Scattered(0, label, label), (path, path))[0],
        spread_picture(*spreads(trials), label, path),
        best_picture(best, label, "time", path),
    ]
    found = [Brushes(picture) for picture in pictures]
    assert [len(one.found) for one in found] == [2, 2, 1, 2]
    for one in found:
        assert "script" not in one.tags
        paths = {brush["data-path"] for brush in one.found} - {"inserted_at"}
        assert {condition(f"{text} < 1") for text in paths} == {Compare(path, "<", Decimal(1))}


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ([1.5, 2.5], ("number", None)),
        ([8, 16.0, 64], ("whole", None)),
        ([1e-5, 1e-3, 0.1], ("number", "yes")),
        ([1, 10, 100_000], ("whole", "yes")),
        ([-sys.float_info.max, sys.float_info.max], ("whole", None)),
        ([5e-324, 1.0, sys.float_info.max], ("number", "yes")),
    ],
)
def test_an_axis_of_numbers_says_where_it_begins_and_ends(drawn: list[float], expected: tuple[Any, Any]) -> None:
    lr, _ = parallel([(one, 0.5) for one in drawn])
    assert (lr["data-kind"], lr.get("data-log")) == expected
    low, high = float(lr["data-low"]), float(lr["data-high"])
    first, last = (math.log10(one) if lr.get("data-log") else one for one in (min(drawn), max(drawn)))
    assert low <= first < last <= high
    assert (lr["data-first"], lr["data-last"], lr["data-along"]) == ("300", "44", "y")


@given(st.lists(values, min_size=1, max_size=15))
def test_every_level_is_a_choice_that_holds_the_trials_of_its_place(drawn: list[Any]) -> None:
    rows: list[tuple[Any, float | None]] = [(one, 0.5) for one in [*drawn, *["a text"] * len(drawn)]]
    lr = next((one for one in parallel(rows) if one["data-path"] == 'parameters."lr"'), None)
    assert lr is not None or len({str(one) for one in drawn}) >= LEVELS
    for at, literals in json.loads(lr["data-levels"]) if lr else []:
        assert 44 < at < 300
        if literals:
            filter = condition(f"{lr['data-path']} in ({', '.join(literals)})") if lr else And(())
            assert isinstance(filter, Among)
            held = [one for one in drawn if holds(filter, {"parameters": {"lr": one}, "metrics": {}})]
            assert held or literals == ['"a text"']


def test_values_that_no_filter_can_ask_for_are_no_choice() -> None:
    assert literals_of(LR, ["adam", 1, "1", True, 0.5]) == ['"adam"', "1", '"1"', "true", "0.5"]
    assert literals_of(LR, [[1], {"a": 1}, "x" * 1000, float("nan"), 10**500, None]) == []
    assert [one["data-path"] for one in parallel([([1], 0.5), ([2], 0.6)])] == ['metrics."accuracy"']


def test_a_path_that_is_too_long_for_a_filter_has_no_brush() -> None:
    found = parallel([(0.1, 0.5), (0.2, 0.7)], Path("parameters", ("x" * 600,)))
    assert [one["data-path"] for one in found] == ['metrics."accuracy"']


def test_time_can_be_brushed_where_it_is_an_axis() -> None:
    best = [Best(True, at, START.replace(minute=at), 5.0, 0.5, "run", "t", last=False) for at in (1, 9)]
    _, time = Brushes(best_picture(best, "accuracy", "time", ACCURACY)).found
    assert (time["data-path"], time["data-kind"], time["data-along"]) == ("inserted_at", "time", "x")
    assert float(time["data-low"]) == START.replace(minute=1).timestamp()
    for by in ("trial", "cost"):
        assert len(Brushes(best_picture(best, "accuracy", by, ACCURACY)).found) == 1
    # one moment is no axis, and a page that gives no path has no brush
    assert len(Brushes(best_picture(best[:1], "accuracy", "time", ACCURACY)).found) == 1
    assert Brushes(best_picture(best, "accuracy", "time")).found == []


def test_the_time_of_failures_can_be_brushed_from_the_first_span_to_the_end_of_the_last() -> None:
    spans = [Endings(START.replace(minute=at), START.replace(minute=at + 2), at > 4, 9, 8, 3) for at in (1, 3, 7)]
    nothing = Endings(START.replace(hour=0), START.replace(hour=0, minute=2), True, 9, 0, 0)
    (time,) = Brushes(failures_picture([nothing, *spans])).found
    assert (time["data-path"], time["data-kind"], time["data-along"]) == ("inserted_at", "time", "x")
    assert float(time["data-low"]) == START.replace(minute=1).timestamp()
    assert float(time["data-high"]) == START.replace(minute=9).timestamp()
    assert failures_picture([nothing]) is None


def test_a_filter_is_told_condition_by_condition() -> None:
    text = 'lr >= 0.1 (x < 1 or y = 2) and (optimizer in (adam, sgd) status = failed) inserted_at < 1970-01-02 "t"'
    assert terms_of(parse(text)) == [
        Term('"lr" >= 0.1', '"lr"', ">=", 0.1),
        Term('("x" < 1 or "y" = 2)'),
        Term('"optimizer" in ("adam", "sgd")', '"optimizer"', "in"),
        Term('status = "failed"', "status", "="),
        Term("inserted_at < 1970-01-02T00:00:00+00:00", "inserted_at", "<", 86_400.0),
        Term('"t"'),
    ]
    assert terms_of(parse("x > 1e399")) == [Term('"x" > 1E+399', '"x"', ">", sys.float_info.max)]
    assert terms_of(parse(" ")) == []


@given(trees)
def test_the_conditions_together_are_the_filter(node: Node) -> None:
    parts = terms_of(node)
    again = terms_of(parse(" and ".join(part.text for part in parts))) if parts else []
    assert again == parts
