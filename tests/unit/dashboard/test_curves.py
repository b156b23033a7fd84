"""A curve shows where a metric was NaN, and one spike leaves the rest its room."""

from __future__ import annotations

import itertools
import math
import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processor.dashboard.pages.curves import (
    APART,
    BOTTOM,
    HEIGHT,
    TOP,
    curve_picture,
    curve_words,
    curves_picture,
    values_words,
)
from processor.dashboard.queries.progress import Column, Curve

AT = datetime(2026, 11, 1, tzinfo=UTC)


def column(step: int, value: float) -> Column:
    finite = value if math.isfinite(value) else None
    return Column(step, step, 1, int(finite is None), finite, finite, finite, AT)


def curve(*values: float) -> Curve:
    return Curve("loss", tuple(column(step, value) for step, value in enumerate(values)))


def lines(drawn: Any) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]*)"', str(drawn))
    return [[(float(x), float(y)) for x, y in (one.split(",") for one in line.split())] for line in found]


def test_a_line_is_broken_where_there_is_no_finite_value_and_each_is_marked() -> None:
    drawn = curve(3.0, 2.0, math.nan, math.inf, 1.0, 0.5, math.nan, 0.4)
    picture = curve_picture(drawn)
    assert [len(line) for line in lines(picture)] == [2, 2, 1]
    assert str(picture).count('class="bad"') == 3
    assert curve_words(drawn) == "loss: 8 values, the last 0.4; 3 NaN or infinite, crosses below"
    assert "the last finite one 1;" in curve_words(curve(1.0, math.nan))


def test_one_spike_leaves_the_rest_its_room_and_is_told() -> None:
    drawn = curve(*(1 - step / 200 for step in range(100)), 1e9)
    ys = [y for _, y in lines(curve_picture(drawn))[0]]
    assert max(ys[:-1]) - min(ys[:-1]) > (HEIGHT - TOP - BOTTOM) / 8
    assert curve_words(drawn).endswith("; 1e+09 far beyond the rest, drawn at the edge")
    assert "beyond" not in curve_words(curve(*(1 - step / 200 for step in range(100))))


def test_a_curve_over_powers_of_ten_is_drawn_by_those() -> None:
    ((*line,),) = lines(curve_picture(curve(*(10 ** (3 - step / 10) for step in range(60)))))
    steps = {round(after[1] - before[1], 1) for before, after in itertools.pairwise(line)}
    assert max(steps) - min(steps) < 0.3


@given(st.lists(st.floats(), min_size=1, max_size=80))
def test_whatever_the_values_are_each_finite_one_is_inside_of_the_picture(values: list[float]) -> None:
    found = [point for line in lines(curve_picture(curve(*values))) for point in line]
    assert len(found) == sum(map(math.isfinite, values))
    assert all(0 <= x <= 420 and TOP - 1 <= y <= HEIGHT - BOTTOM + 1 for x, y in found)
    curve_words(curve(*values))


def test_curves_of_several_trials_share_their_axes_and_each_has_its_number_in_reach_of_no_other() -> None:
    several = [(place, curve(*(1 / (step + 1) + place / 1000 for step in range(9)))) for place in (1, 3, 4)]
    several.append((6, curve(math.nan)))
    picture = str(curves_picture(several))
    assert [len(line) for line in lines(picture)] == [9, 9, 9]
    assert len({line[0] for line in lines(picture)}) == 3
    numbers = re.findall(r'<text x="[^"]*" y="([^"]*)" class="halo line(\d)">(\d)</text>', picture)
    assert sorted(number for _, number, _ in numbers) == ["1", "3", "4"]
    assert all(number == shown for _, number, shown in numbers)
    heights = sorted(float(y) for y, _, _ in numbers)
    assert all(after - before >= APART for before, after in itertools.pairwise(heights))
    assert "no finite value" in str(curves_picture([(2, curve(math.nan)), (3, curve(math.inf))]))


def test_what_is_far_beyond_the_curves_of_others_is_told_of_the_one_that_it_is_of() -> None:
    calm, wild = curve(*(1 - step / 200 for step in range(100))), curve(0.5, 1e9)
    assert "beyond" not in values_words(calm, [calm, wild])
    assert values_words(wild, [calm, wild]).endswith("; 1e+09 far beyond the rest, drawn at the edge")


@given(st.lists(st.lists(st.floats(), min_size=1, max_size=20), min_size=1, max_size=8))
def test_of_several_curves_too_each_finite_value_is_inside_of_the_picture(several: list[list[float]]) -> None:
    drawn = curves_picture([(place, curve(*values)) for place, values in enumerate(several, 1)])
    found = [point for line in lines(drawn) for point in line]
    assert len(found) == sum(math.isfinite(value) for values in several for value in values)
    assert all(TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for _, y in found)
