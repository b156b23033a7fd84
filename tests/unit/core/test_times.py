"""Waiting longer after each failure, within bounds; durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.errors import UsageError
from processor.core.times import Backoff, parse_duration


@given(st.floats(0.01, 1.0), st.floats(1.0, 60.0))
def test_waits_double_up_to_the_longest_and_half_of_each_is_random(first_s: float, most_s: float) -> None:
    backoff = Backoff(first_s, most_s)
    expected = first_s
    for _ in range(12):
        assert expected / 2 <= backoff.next_s() <= expected
        expected = min(expected * 2, most_s)


def test_after_a_success_the_next_failure_is_a_first_one() -> None:
    backoff = Backoff(0.1, 5.0)
    for _ in range(6):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.1


@pytest.mark.parametrize(
    ("text", "said"),
    [(f"P{'9' * 5000}D", "too long ago"), ("P99999999999D", "too long ago"), ("P٣D", "no ISO 8601 duration")],
)
def test_a_duration_that_is_none_is_refused_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_duration(text)
