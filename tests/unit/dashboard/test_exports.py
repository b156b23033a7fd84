"""Cells of CSV: nothing that a spreadsheet would run, and every digit of a number."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from processor.dashboard.exports import cell


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
