"""Numbers of any length are read in linear time, whatever the environment allows Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest

from processor.core.numbers import LONG_MAX, read_count, read_integer, read_stored


@pytest.fixture
def _no_limit() -> Iterator[None]:
    """As PYTHONINTMAXSTRDIGITS=0 has it."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(limit)


@pytest.mark.usefixtures("_no_limit")
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_long_integer_is_a_decimal_though_python_would_read_it(sign: str) -> None:
    digits = sign + "7" * 5000
    assert [read_integer(digits), read_stored(f"[{digits}]".encode())] == [Decimal(digits), [Decimal(digits)]]
    assert type(read_integer(digits)) is Decimal


def test_a_short_integer_is_one() -> None:
    assert [type(read_integer(digits)) for digits in ("0", "-7", "7" * 4300)] == [int, int, int]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("0012", 12),
        (str(LONG_MAX), LONG_MAX),
        (str(LONG_MAX + 1), None),
        ("9" * 5000, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),  # a digit to `str.isdigit`, none to `int`
        ("٣", None),
    ],
)
def test_a_count_is_ascii_digits_of_64_bits_and_nothing_else(text: str, expected: int | None) -> None:
    assert read_count(text) == expected
