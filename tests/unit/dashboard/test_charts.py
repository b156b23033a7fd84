"""What a chart shows and what it leaves out add up to what there is, whatever the values are."""

from __future__ import annotations

import itertools
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.dashboard.charts.axes import axis_of, moments, quantile
from processor.dashboard.charts.failures import failures_picture
from processor.dashboard.charts.parallel import MOST as MOST_LINES
from processor.dashboard.charts.parallel import parallel_picture
from processor.dashboard.charts.scatter import MOST as MOST_MARKS
from processor.dashboard.charts.scatter import scatter_picture
from processor.dashboard.charts.spreads import spread_picture, spreads
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages.drawing import Scale
from processor.dashboard.queries.charts import Endings, Sampled

MARKUP = "</title><script>alert(1)</script>\"'>"
numbers = st.one_of(st.floats(), st.integers(), st.none(), st.booleans(), st.text(max_size=5), st.just(10**400))
metrics = st.one_of(st.none(), st.floats())
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
    picture, words = scatter_picture(trials, 0, MARKUP, MARKUP)
    assert_drawable(picture)
    drawn, of, lacking = (int(one.replace(",", "")) for one in re.findall(r"[\d,]+", words))
    assert (drawn + lacking, of) == (len(trials), len(trials))
    assert (picture or "").count("<circle") == drawn


def test_more_trials_than_can_be_looked_at_are_told() -> None:
    trials = [trial(at, at / 7, at) for at in range(2000)]
    picture, words = scatter_picture(trials, 0, "lr", "accuracy")
    assert picture is not None
    assert 0 < picture.count("<circle") <= MOST_MARKS
    assert words.startswith(f"{picture.count('<circle'):,} of 2,000 trials drawn")
    lines, said = parallel_picture(trials, ["lr"], "accuracy")
    assert lines is not None
    assert 0 < lines.count("<polyline") <= MOST_LINES
    assert said.startswith(f"{lines.count('<polyline'):,} of 2,000 trials drawn")


@given(st.lists(st.tuples(metrics, numbers, numbers), min_size=1, max_size=30))
def test_every_trial_is_a_line_also_where_it_lacks_a_parameter(rows: list[tuple[float | None, Any, Any]]) -> None:
    trials = [trial(at, value, *rest) for at, (value, *rest) in enumerate(rows)]
    picture, _ = parallel_picture(trials, ["a", MARKUP], "accuracy")
    assert picture is not None
    assert_drawable(picture)
    assert picture.count("<polyline") == len(trials)


@given(st.lists(metrics, max_size=60))
def test_bins_and_values_beyond_the_picture_are_all_finite_values(values: list[float | None]) -> None:
    trials = [trial(at, value) for at, value in enumerate(values)]
    found, bounds = spreads(trials)
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


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_an_axis_has_a_place_for_each_of_its_values(values: list[float]) -> None:
    axis = axis_of(values, 300, 20)
    assert all(-1 <= 320 - axis(value) <= 321 and math.isfinite(axis(value)) for value in values)
    assert not axis.log or min(values) > 0


def test_values_over_many_powers_of_ten_are_drawn_by_those() -> None:
    axis = axis_of([1e-5, 1e-3, 0.1], 0, 100)
    assert axis.log
    assert [words for _, words in axis.marks()] == ["1e−05", "0.0001", "0.001", "0.01", "0.1"]
    assert not axis_of([1e-5, 0.0, 0.1], 0, 100).log


def test_a_quantile_is_that_of_numpy() -> None:
    import numpy as np

    values = sorted([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.6])
    for share in (0.0, 0.01, 0.25, 0.5, 0.77, 1.0):
        assert math.isclose(quantile(values, share), float(np.quantile(values, share)))


@given(st.floats(0, 4e9), st.floats(1e-2, 1e9))
def test_no_two_times_of_an_axis_read_the_same(first: float, span: float) -> None:
    scale = Scale(first, first + span, 0, 900)
    found = moments(scale, (0, 0.25, 0.5, 0.75, 1))
    words = [one for _, one in found]
    assert len(set(words)) == len(words) == 5
    assert [at for at, _ in found] == sorted(at for at, _ in found)


def test_trials_of_one_moment_have_one_time() -> None:
    assert len(moments(Scale(5.0, 5.0, 0, 900), (0, 0.5, 1))) == 1


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
        scatter_picture([trial(0, None, 1)], 0, "lr", "accuracy")[1] == "0 of 1 trial drawn; 1 lacks one of the numbers"
    )
    assert parallel_picture([trial(0, 1.0, 1)], ["lr"], "accuracy")[1].startswith("1 of 1 trial drawn")
    texts = [trial(at, 1.0, f"level {at}") for at in range(13)]
    assert "1 other<" in str(parallel_picture(texts, ["lr"], "accuracy")[0])
