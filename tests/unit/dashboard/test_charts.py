"""What a chart shows and what it leaves out add up to what there is, whatever the values are."""

from __future__ import annotations

import itertools
import math
import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.dashboard.charts.axes import Power, axis_of, moments, quantile
from processor.dashboard.charts.best import best_picture
from processor.dashboard.charts.failures import failures_picture
from processor.dashboard.charts.parallel import MOST as MOST_LINES
from processor.dashboard.charts.parallel import parallel_picture
from processor.dashboard.charts.scatter import MOST as MOST_MARKS
from processor.dashboard.charts.scatter import Scattered, scatter_picture
from processor.dashboard.charts.spreads import spread_picture, spreads
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages import arms
from processor.dashboard.pages.drawing import Scale
from processor.dashboard.queries.charts import Best, Endings, Sampled
from processor.dashboard.statistics.results import Budget, BudgetPoint, Interval

MARKUP = "</title><script>alert(1)</script>\"'>"
numbers = st.one_of(st.floats(), st.integers(), st.none(), st.booleans(), st.text(max_size=5), st.just(10**400))
metrics = st.one_of(st.none(), st.floats())
POWERS: tuple[Power | None, ...] = (None, "linear", "log")
PATHS = (Path("parameters", ("lr",)), Path("metrics", ("accuracy",)))
#: numbers of trials; no part of a word
COUNTS = re.compile(r"(?:^| of |; )([\d,]+)")
COORDINATE = re.compile(r'(?:cx|cy|x1|y1|x|y|points|width|height)="([^"]*)"')


def trial(number: int, value: float | None, *parameters: Any) -> Sampled:
    return Sampled("run", f"t{number} {MARKUP}", "succeeded", number % 2 == 0, value, parameters)


def assert_drawable(picture: str | None) -> None:
    """Every coordinate is a number that a browser can place, and no text has become markup."""
    if picture is None:
        return
    assert "<script" not in picture
    for found in COORDINATE.findall(picture):
        assert all(math.isfinite(float(one)) for one in re.split(r"[ ,]+", found) if one)


@given(st.lists(st.tuples(metrics, numbers), max_size=40))
def test_marks_and_trials_that_lack_a_number_are_all_trials(rows: list[tuple[float | None, Any]]) -> None:
    trials = [trial(at, value, parameter) for at, (value, parameter) in enumerate(rows)]
    for powers in itertools.product(POWERS, POWERS):
        picture, words = scatter_picture(trials, Scattered(0, "lr", "accuracy", *powers))
        assert_drawable(picture)
        drawn, of, *left = (int(one.replace(",", "")) for one in COUNTS.findall(words))
        assert (drawn + sum(left), of) == (len(trials), len(trials))
        assert (picture or "").count("<circle") == drawn


def test_more_trials_than_can_be_looked_at_are_told() -> None:
    trials = [trial(at, at / 7, at) for at in range(2000)]
    picture, words = scatter_picture(trials, Scattered(0, "lr", "accuracy"))
    assert picture is not None
    assert 0 < picture.count("<circle") <= MOST_MARKS
    assert words == f"{picture.count('<circle'):,} of 2,000 trials drawn, every 4th of those that have a place"
    lines, said = parallel_picture(trials, ["lr"], "accuracy")
    assert lines is not None
    assert 0 < lines.count("<polyline") <= MOST_LINES
    assert said.startswith(f"{lines.count('<polyline'):,} of 2,000 trials drawn, every 10th in the order of time;")


def test_what_is_not_drawn_is_told_by_what_it_lacks() -> None:
    """A trial that failed lacks the metric, whatever its parameters; one that has it may lack the parameter."""
    trials = [trial(0, 0.5, 1), trial(1, None, 1), trial(2, None, None), trial(3, math.nan, 1), trial(4, 0.5, "auto")]
    words = scatter_picture(trials, Scattered(0, "lr", "accuracy"))[1]
    assert words == (
        "1 of 5 trials drawn; 3 have no accuracy that is a finite number, or did not succeed; "
        "1 has no lr that is a finite number"
    )
    trials = [trial(0, 0.5, 0.0), trial(1, 0.5, -1.0), trial(2, -0.5, 1.0), trial(3, 0.5, 0.1)]
    assert scatter_picture(trials, Scattered(0, "lr", "accuracy", "log", "log"))[1] == (
        "1 of 4 trials drawn; 3 have a value that is not above 0, which has no place by powers of ten"
    )


def test_how_an_axis_is_drawn_can_be_chosen() -> None:
    trials = [trial(at, 0.9, 10 ** (at / 10 - 3)) for at in range(21)]
    assert 'data-log="yes"' in str(scatter_picture(trials, Scattered(0, "lr", "accuracy"), PATHS)[0])
    linear = str(scatter_picture(trials, Scattered(0, "lr", "accuracy", "linear"), PATHS)[0])
    assert "data-log" not in linear
    assert "powers of ten" not in linear
    both = str(scatter_picture(trials, Scattered(0, "lr", "accuracy", "log", "log"), PATHS)[0])
    assert both.count('data-log="yes"') == 2


def test_one_text_among_numbers_makes_no_texts_of_them() -> None:
    trials = [trial(at, 0.5, at / 10) for at in range(20)] + [trial(20, 0.5, "auto")]
    picture, words = parallel_picture(trials, ["lr"], "accuracy", PATHS)
    assert 'data-kind="level"' not in str(picture)
    assert "what is no number" in words
    assert "what is no number" not in parallel_picture(trials[:20], ["lr"], "accuracy")[1]
    texts = [trial(at, 0.5, "auto" if at % 3 else at) for at in range(20)]
    assert 'data-kind="level"' in str(parallel_picture(texts, ["lr"], "accuracy", PATHS)[0])


def test_the_texts_of_an_axis_are_the_most_frequent_in_their_order() -> None:
    rare = [trial(at, 0.5, f"a{at:02}") for at in range(30)]
    often = [trial(100 + at, 0.5, ("zebra", "yak")[at % 2]) for at in range(8)]
    picture = str(parallel_picture(rare + often, ["kind"], "accuracy")[0])
    words = re.findall(r'class="name halo">([^<]*)<', picture)
    assert words[: words.index("20 others") + 1][-3:] == ["yak", "zebra", "20 others"]
    sizes = [trial(at, 0.5, str(at)) for at in (10, 9, 100)] + [trial(3, 0.5, [at]) for at in (1, 2)]
    assert parallel_picture(sizes, ["size"], "accuracy")[0] is not None


def marks_of(picture: str | None, cls: str) -> int:
    return len(re.findall(f'class="{cls} mark"', str(picture)))


def test_every_best_so_far_has_a_mark_the_newest_too() -> None:
    """An arm of one trial is one mark; the last trial has one where it is the best, and none where it is not."""

    def best(arm: bool, place: int, value: float | None, *, last: bool) -> Best:
        return Best(arm, place, datetime(2026, 11, 1, tzinfo=UTC), place * 10.0, value, "run", f"t{place}", last)

    one = best_picture([best(True, 1, 0.5, last=True), best(False, 1, 0.4, last=True)], "accuracy", "trial")
    assert (marks_of(one, "with"), marks_of(one, "without")) == (1, 1)
    newest = [best(True, 1, 0.5, last=False), best(True, 9, 0.7, last=True)]
    assert marks_of(best_picture(newest, "accuracy", "trial"), "with") == 2
    older = [best(True, 1, 0.5, last=False), best(True, 9, 0.5, last=True)]
    assert marks_of(best_picture(older, "accuracy", "trial"), "with") == 1
    assert marks_of(best_picture([best(True, 4, None, last=True)], "accuracy", "trial"), "with") == 0
    below = [best(True, 1, -0.5, last=False), best(True, 9, 0.5, last=True)]
    assert marks_of(best_picture(below, "accuracy", "trial", None, "log"), "with") == 1


@given(st.lists(st.tuples(metrics, numbers, numbers), min_size=1, max_size=30))
def test_every_trial_is_a_line_also_where_it_lacks_a_parameter(rows: list[tuple[float | None, Any, Any]]) -> None:
    trials = [trial(at, value, *rest) for at, (value, *rest) in enumerate(rows)]
    picture, _ = parallel_picture(trials, ["a", MARKUP], "accuracy")
    assert picture is not None
    assert_drawable(picture)
    assert picture.count("<polyline") == len(trials)


@pytest.mark.parametrize("power", POWERS)
@given(values=st.lists(metrics, max_size=60))
def test_bins_and_values_beyond_the_picture_are_all_finite_values(values: list[float | None], power: Any) -> None:
    trials = [trial(at, value) for at, value in enumerate(values)]
    found, bounds = spreads(trials, power)
    finite = sum(value is not None and math.isfinite(value) for value in values)
    assert (bounds is None) == (finite == 0)
    assert sum(sum(one.bins) + one.outside for one in found) == sum(one.finite for one in found) == finite
    assert sum(one.trials for one in found) == (len(trials) if found else 0)
    assert_drawable(spread_picture(found, bounds, MARKUP))


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [float(at) for at in range(100)], [1.0] * 200 + [5.0]])
def test_the_least_and_the_greatest_value_are_drawn(values: list[float]) -> None:
    found, bounds = spreads([trial(at, value) for at, value in enumerate(values)])
    assert bounds == (min(values), max(values), False)
    assert sum(one.outside for one in found) == 0


def test_a_value_that_diverged_leaves_the_others_their_room() -> None:
    found, bounds = spreads([trial(at, float(at % 50)) for at in range(300)] + [trial(300, 1e9)])
    assert bounds is not None
    assert bounds[1] < 100
    assert sum(one.outside for one in found) == 1


def test_a_spread_over_many_powers_of_ten_is_drawn_by_those() -> None:
    """Also of the smallest ones each bin is as wide as any; one that diverged makes no others of them."""
    values = [10 ** (at / 20 - 5) for at in range(161)]
    found, bounds = spreads([trial(2 * at, value) for at, value in enumerate(values)])
    assert bounds is not None
    assert bounds.log
    assert bounds[:2] == pytest.approx((-5, 3))
    assert sum(one.outside for one in found) == 0
    assert all(3 <= size <= 5 for size in found[0].bins)
    picture = str(spread_picture(found, bounds, "loss", Path("metrics", ("loss",))))
    assert 'data-log="yes"' in picture
    assert "by powers of ten" in picture
    alike = [trial(at, 0.5 + at / 1000) for at in range(300)]
    diverged = spreads([*alike, trial(300, 1e30)])[1]
    assert diverged is not None
    assert not diverged.log
    assert diverged[:2] == pytest.approx((0.5, 0.8), rel=0.02)
    assert spreads([*(trial(at, value) for at, value in enumerate(values)), trial(0, -1.0)])[1].log is False  # type: ignore[union-attr]


def test_a_parameter_is_drawn_by_powers_of_ten_where_it_was_searched_by_them() -> None:
    draw = random.Random(7)
    for size in (30, 60, 1000):
        assert axis_of([10 ** draw.uniform(-4, -2) for _ in range(size)], 0, 100, searched=True).log
        assert not axis_of([draw.uniform(0, 0.5) for _ in range(size)], 0, 100, searched=True).log
    assert axis_of([16, 32, 64, 128, 256, 512, 1024], 0, 100, searched=True).log
    assert not axis_of([1, 2, 3, 4, 5, 6], 0, 100, searched=True).log


@pytest.mark.parametrize("power", POWERS)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_an_axis_has_a_place_for_each_of_its_values(values: list[float], power: Any) -> None:
    axis = axis_of(values, 300, 20, power)
    placed = [value for value in values if axis.has(value)]
    assert all(-1 <= 320 - axis(value) <= 321 and math.isfinite(axis(value)) for value in placed)
    assert len(placed) == len(values) or (power == "log" and placed == [value for value in values if value > 0])
    assert all(axis.scale.low <= at <= axis.scale.high for at, _ in axis.marks())


def test_values_over_many_powers_of_ten_are_drawn_by_those() -> None:
    axis = axis_of([1e-5, 1e-3, 0.1], 0, 100)
    assert axis.log
    assert [words for _, words in axis.marks()] == ["1e−05", "0.0001", "0.001", "0.01", "0.1"]
    assert not axis_of([1e-5, 0.0, 0.1], 0, 100).log


def test_an_axis_by_powers_of_ten_has_marks_however_short_it_is() -> None:
    for low, high in ((0.72, 0.97), (0.9, 1.1), (0.003, 0.4), (3.0, 4.0), (2e-9, 9e-7), (1.0, 10.0)):
        marks = axis_of([low, high], 0, 100, "log").marks()
        assert 2 <= len(marks) <= 9
        assert len({words for _, words in marks}) == len(marks)


def test_a_quantile_is_that_of_numpy() -> None:
    import numpy as np

    values = sorted([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.6])
    for share in (0.0, 0.01, 0.25, 0.5, 0.77, 1.0):
        assert math.isclose(quantile(values, share), float(np.quantile(values, share)))


@given(st.floats(0, 4e9), st.floats(1e-2, 1e9))
def test_no_two_times_of_an_axis_read_the_same(first: float, span: float) -> None:
    scale = Scale(first, first + span, 0, 900)
    found = moments(scale)
    words = [one for _, one in found]
    assert 1 <= len(set(words)) == len(words) <= 6
    assert all(scale.low <= at <= scale.high for at, _ in found)
    assert [at for at, _ in found] == sorted(at for at, _ in found)


@pytest.mark.parametrize(
    ("first", "span", "expected"),
    [
        ("2026-12-03T06:33:47.123", 3600, ["03 Dec 06:45", "07:00", "07:15", "07:30"]),
        ("2026-12-03T23:10:00", 7200, ["03 Dec 23:30", "04 Dec 00:00", "00:30", "01:00"]),
        ("2026-12-30T10:00:00", 4 * 86_400, ["31 Dec 2026", "01 Jan 2027", "02 Jan", "03 Jan"]),
        ("2026-12-03T06:33:47", 0.4, ["03 Dec 06:33:47.000", *(f"06:33:47.{part}00" for part in (1, 2, 3, 4))]),
    ],
)  # fmt: skip
def test_times_are_round_and_say_the_day_once(first: str, span: float, expected: list[str]) -> None:
    low = datetime.fromisoformat(first).replace(tzinfo=UTC).timestamp()
    assert [words for _, words in moments(Scale(low, low + span, 0, 900))] == expected


def test_trials_of_one_moment_have_one_time() -> None:
    assert len(moments(Scale(5.5, 5.5, 0, 900))) == 1


@pytest.mark.parametrize(("failed", "ended"), [(1, 40), (3, 12), (7, 9), (400, 900), (0, 5)])
def test_shares_beside_the_failures_are_round(failed: int, ended: int) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    picture = failures_picture([Endings(at, at + timedelta(hours=1), True, ended, ended, failed)])
    shares = [float(one) for one in re.findall(r">([\d.]+) %<", str(picture))]
    assert len(shares) >= 3
    steps = {round(after - before, 9) for before, after in itertools.pairwise(shares)}
    assert len(steps) == 1
    assert f"{steps.pop():.9e}"[0] in "125"
    assert shares[0] == 0


def test_one_of_a_kind_is_no_plural() -> None:
    assert "1 value<" in str(spread_picture(*spreads([trial(0, 0.5, 1)]), "accuracy"))
    assert (
        scatter_picture([trial(0, None, 1)], Scattered(0, "lr", "accuracy"))[1]
        == "0 of 1 trial drawn; 1 has no accuracy that is a finite number, or did not succeed"
    )
    assert parallel_picture([trial(0, 1.0, 1)], ["lr"], "accuracy")[1].startswith("1 of 1 trial drawn")
    texts = [trial(at, 1.0, f"level {at}") for at in range(13)]
    assert "1 other<" in str(parallel_picture(texts, ["lr"], "accuracy")[0])


@pytest.mark.parametrize("last", [505, 559, 600, 999, 1000, 1001, 1500])
def test_numbers_below_the_best_of_k_do_not_touch(last: int) -> None:
    """The last k is how many trials there are, which may be next to a round one: 500 and 559 were one word."""
    one = Interval(0.5, 0.4, 0.6)
    steps = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k < last]
    points = tuple(BudgetPoint(k, one, one, one, None, None, 0.0, 0.0) for k in (*steps, last))
    drawn = arms.best_of(Budget(points, ()), "false", "true")
    found = re.findall(r'<text x="([0-9.]+)"[^>]*text-anchor="middle"[^>]*>([0-9,\u202f ]+)</text>', drawn)
    places = sorted((float(x), len(text)) for x, text in found)
    assert len(places) >= 5
    assert all(right - left >= 7 * size for (left, size), (right, _) in itertools.pairwise(places))
