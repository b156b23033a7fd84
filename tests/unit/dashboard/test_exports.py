"""Cells of CSV: nothing that a spreadsheet would run, and every digit of a number."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.dashboard.exports import cell, line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("adam", "adam"),
        ('=HYPERLINK("x")', '\'=HYPERLINK("x")'),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        ("\r=1", "'\r=1"),
        ("＝1+1", "'＝1+1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠x", "'＠x"),
        (-1, "-1"),
        (0.1, "0.1"),
        (Decimal("123456789012345678901234567890.5"), "123456789012345678901234567890.5"),
        (True, "true"),
        ([1, "=2"], '[1,"=2"]'),
        (datetime(2026, 11, 25, tzinfo=UTC), "2026-11-25T00:00:00+00:00"),
    ],
)
def test_a_cell_is_no_formula_and_loses_no_digit(value: Any, text: str) -> None:
    assert cell(value) == text


@given(st.lists(st.text(), min_size=1))
def test_a_line_is_read_as_its_cells_also_by_a_reader_that_splits_elsewhere(values: list[str]) -> None:
    written = line(values).decode()
    cells = [cell(value) for value in values]
    read = [one for row in csv.reader(io.StringIO(written, newline="")) for one in row]
    assert read == (cells if cells != [""] else [])
    # what a spreadsheet takes for separators in other countries stands in quotes, and so splits nothing
    for one in written.removesuffix("\r\n").split('"')[::2]:
        assert not set(one) & set(";\t\r\n")
