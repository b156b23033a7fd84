"""Names in the order in which people look them up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processor.core.text import natural_order


def test_numbers_go_by_size_and_case_does_not_count() -> None:
    names = ["a1", "a2", "A2b", "a02c", "a10", "B", "b9x1", "b9X20", "b10", "c", "c0", "c00", "c1"]
    assert sorted(sorted(names), key=natural_order) == names


@given(st.lists(st.text("aA0127 .é²", max_size=8), unique=True))
def test_any_names_have_one_order(names: list[str]) -> None:
    once = sorted(names, key=natural_order)
    assert once == sorted(dict.fromkeys(names[::-1]), key=natural_order)


def test_a_number_of_any_length_is_compared() -> None:
    long = "9" * 100_000
    assert sorted([long + "0", "10", long], key=natural_order) == ["10", long, long + "0"]
