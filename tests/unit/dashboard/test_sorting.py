"""Orders and cursors come from a URL: what they mean, and what is refused."""

from __future__ import annotations

import pytest

from processor.core.errors import UsageError
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.assembling import Assembly, Scope
from processor.dashboard.queries.pool import queries
from processor.dashboard.queries.sorting import (
    NEWEST,
    Cursor,
    Sort,
    assemble,
    read_cursor,
    read_sort,
    write_cursor,
    write_sort,
)

ID = "0190a6b2-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("", NEWEST),
        ("-accuracy", Sort(Path("either", ("accuracy",)), True)),
        ('params."layer 1".units', Sort(Path("parameters", ("layer 1", "units")), False)),
        ("-duration_ms", Sort(Path("duration_ms"), True)),
    ],
)
def test_an_order_is_read_and_written_as_it_is_read(text: str, sort: Sort) -> None:
    assert read_sort(text) == sort
    assert read_sort(write_sort(sort)) == sort


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize(
    ("order", "kind", "value"),
    [
        ("-accuracy", 0, "0.30000000000000004"),
        ("-accuracy", 1, "é'; --"),
        ("-accuracy", 3, None),
        ("", 0, "2026-11-25 10:00:00.123+00"),
        ("spectral_norm", 0, "true"),
    ],
)
def test_a_cursor_survives_a_url(order: str, kind: int, value: str | None, back: bool) -> None:
    cursor = Cursor(kind, value, ID, back)
    text = write_cursor(cursor)
    assert read_cursor(text, read_sort(order)) == cursor
    assert text.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    ("order", "cursor"),
    [
        ("-accuracy", Cursor(0, "NaN", ID)),
        ("-accuracy", Cursor(0, "x", ID)),
        ("-accuracy", Cursor(0, None, ID)),
        ("-accuracy", Cursor(7, "1", ID)),
        ("-accuracy", Cursor(1, "a\0", ID)),
        ("-accuracy", Cursor(0, "1e999999", ID)),
        ("-accuracy", Cursor(0, "1", "no id")),
        ("", Cursor(0, "yesterday", ID)),
        ("spectral_norm", Cursor(0, "perhaps", ID)),
        ("revision", Cursor(0, "1.5", ID)),
    ],
)
def test_a_forged_cursor_is_refused_before_postgres_sees_it(order: str, cursor: Cursor) -> None:
    with pytest.raises(UsageError, match="begin with the first page"):
        read_cursor(write_cursor(cursor), read_sort(order))


def test_every_question_has_its_filter_order_and_limit_in_their_places() -> None:
    for name in ("trial_ids", "trial_ids_numbers", "trial_ids_indexed", "trial_ids_plain"):
        assembly = Assembly(name, Scope("a run"))
        sort = NEWEST if name == "trial_ids_plain" else read_sort("-accuracy")
        assemble(name, assembly, sort, Cursor(0, "1", ID), 50, sort.path)
        sql, args = assembly.query()
        assert "/*" not in sql
        assert "a run" in args
        assert sql.count("$") >= len(args)
    with pytest.raises(KeyError):
        Assembly("trial_count", Scope()).put("nothing", "", "")


@pytest.mark.parametrize(
    ("text", "named"),
    [("spectral_norm = true", False), ("'run.' = accuracy", False), ("run_id != x", True), ("", False)],
)
def test_a_question_knows_whether_it_asks_anything_of_runs(text: str, named: bool) -> None:
    assembly = Assembly("packed_columns", Scope("run.x", parse(text)))
    assert assembly.names("trial")
    assert assembly.names("run") == named


def test_every_question_has_a_purpose() -> None:
    assert len(queries()) > 10


@pytest.mark.parametrize("text", ["", "x", "bm9wZQ", "WzAsIngiLCJ5IixmYWxzZV0", "WzAsbnVsbCwieSIsZmFsc2Vd"])
def test_a_cursor_that_no_page_gave_out_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="begin with the first page"):
        read_cursor(text, read_sort("-accuracy"))


@pytest.mark.parametrize("text", ["accuracy = 1", "a b", "warnings", "-", "(", "metrics"])
def test_an_order_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_sort(text)
