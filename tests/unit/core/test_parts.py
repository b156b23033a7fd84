"""Sequences in bounded parts and in halves: nothing is lost, doubled or put out of order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.parts import Halves, in_parts

SIZES = st.lists(st.integers(0, 9), max_size=40)


@given(SIZES, st.integers(1, 12), st.none() | st.integers(1, 5))
def test_parts_hold_everything_in_order_and_no_more_than_is_allowed(
    sizes: list[int], most: int, most_items: int | None
) -> None:
    parts = list(in_parts(sizes, lambda size: size, most, most_items))
    assert [size for part in parts for size in part] == sizes
    for part in parts:
        assert len(part) == 1 or (sum(part) <= most and (most_items is None or len(part) <= most_items))
    for one, after in pairwise(parts):  # no part ends early
        assert sum(one) + after[0] > most or len(one) == most_items


@given(st.lists(st.booleans(), max_size=40))
def test_halving_finds_each_guilty_item_and_takes_all_others_in_order(guilty: list[bool]) -> None:
    taken: list[int] = []
    found: list[int] = []
    attempts = 0
    halves = Halves(range(len(guilty)))
    for part in halves:
        attempts += 1
        if not any(guilty[place] for place in part):
            taken += part
        elif not halves.split():
            found += part
    assert taken == [place for place, bad in enumerate(guilty) if not bad]
    assert found == [place for place, bad in enumerate(guilty) if bad]
    assert attempts <= 1 + 2 * sum(guilty) * max(1, len(guilty)).bit_length()


def test_one_guilty_item_of_a_thousand_is_found_in_few_attempts() -> None:
    halves, attempts = Halves(range(1000)), 0
    for part in halves:
        attempts += 1
        if 777 in part:
            halves.split()
    assert attempts <= 21


def test_nothing_is_handed_out_of_nothing() -> None:
    assert list(Halves([])) == []
    with pytest.raises(StopIteration):
        next(in_parts([], len, 1))
