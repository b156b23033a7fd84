"""A URL says all that a view shows: what is written is read as what it was, and what is no view is refused."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.core.errors import UsageError
from processor.dashboard.asked import MOST_COLUMNS, Asked, read_asked, write_asked
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.text import write
from processor.dashboard.filters.tree import FilterError, Path
from processor.dashboard.queries.sorting import Cursor, Sort, read_sort
from tests.unit.dashboard.filters import trees

ID = "0190a6b2-0000-7000-8000-000000000000"
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
paths = st.builds(
    Path, st.sampled_from(("metrics", "parameters", "either")), st.lists(names, min_size=1, max_size=3).map(tuple)
)
asked = st.builds(
    Asked,
    filter=trees,
    sort=st.builds(Sort, paths, st.booleans()),
    after=st.none() | st.builds(Cursor, st.just(1), names, st.just(ID), st.booleans()),
    columns=st.none() | st.lists(paths, min_size=1, max_size=4).map(tuple),
    limit=st.integers(1, 500),
    metric=st.sampled_from(("", "accuracy", 'metrics."val acc"')),
    parameter=st.sampled_from(("spectral_norm", "optimizer")),
    reference=st.none() | names.filter(lambda name: bool(name.strip())),
    better=st.sampled_from((None, "higher", "lower")),
    validity=st.sampled_from(("fixed", "always")),
    defaulted=st.sampled_from(("in", "out")),
)


def read(query: str) -> Asked:
    return read_asked(parse_qsl(query, keep_blank_values=True))


@settings(max_examples=200, deadline=None)
@given(asked)
def test_what_is_written_is_read_as_what_it_was(one: Any) -> None:
    again = read(write_asked(one))
    assert write(again.filter) == write(parse(write(one.filter)))
    for name in ("sort", "after", "columns", "limit", "metric", "parameter", "reference", "better", "validity"):
        assert getattr(again, name) == getattr(one, name), name


def test_what_is_as_by_default_is_not_in_the_url() -> None:
    assert write_asked(Asked()) == ""
    assert read("") == Asked()
    assert read("q=&sort=&columns=&limit=&metric=") == Asked()


def test_a_view_of_fifty_columns_is_a_url_that_every_server_takes() -> None:
    columns = tuple(Path("metrics", (f"validation_accuracy_{number}",)) for number in range(MOST_COLUMNS))
    assert len(write_asked(Asked(columns=columns, sort=read_sort("-accuracy")))) < 4096


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("colour=red", "there is no parameter colour"),
        ("sort=a&sort=b", "there twice"),
        ("limit=0", "from 1 to 500"),
        ("limit=501", "from 1 to 500"),
        ("limit=1e3", "from 1 to 500"),
        ("limit=٣", "from 1 to 500"),
        ("better=best", "better is higher or lower"),
        ("validity=never", "fixed or always"),
        ("metric=a b", "no name of a column"),
        ("metric=a..b", "metric: a name is missing"),
        ("columns=a,,b%20c", "no name of a column"),
        ("columns=" + ",".join("abcdefghijklmnopqrstuvwxyz" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "at most 50 columns"),
        ("&".join(f"columns=metrics.{number}" for number in range(500)), "at most 50 columns, and these are 500"),
        ("columns=" + "x" * 2001, "at most 2000 characters, this one 2001: choose fewer"),
        ("after=x", "begin with the first page"),
        ("reference=" + "x" * 251, "at most 250"),
        ("metric=" + "x" * 2001, "at most 2000"),
    ],
)
def test_what_is_no_view_is_refused_by_name(query: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(query)


def test_a_filter_that_goes_wrong_says_where() -> None:
    with pytest.raises(FilterError) as refused:
        read("q=status%20%3D%20faild")
    assert refused.value.at == 9


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("q", "sort", "after", "columns", "limit", "metric")), st.text(max_size=60))))
def test_any_url_is_a_view_or_a_refusal(parameters: Any) -> None:
    assert outcome(parameters) in ("view", "refused")


def outcome(parameters: Any) -> str:
    try:
        read_asked(parameters)
    except UsageError:
        return "refused"
    return "view"


def test_the_longest_list_of_columns_is_read_at_once() -> None:
    began = time.process_time()
    outcome([("columns", '"' * 2000)])
    outcome([("columns", '"a\\' * 600)])
    assert time.process_time() - began < 0.2
