"""What is found out on arrays in a quicker way is what the plain way finds."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln

from processor.dashboard.statistics import pairs
from processor.dashboard.statistics.budget import expected_best, log_factorials
from processor.dashboard.statistics.lines import PARTS, Trials, best_so_far, endings, least
from processor.dashboard.statistics.sample import FAILED, OTHER, SUCCEEDED
from processor.dashboard.statistics.strata import Strata, compact
from tests.unit.dashboard.samples import sample

numbers = st.lists(st.integers(-5, 5).map(float) | st.floats(allow_nan=False), min_size=1, max_size=30)


@given(numbers, numbers)
def test_both_sides_of_a_value_are_those_of_two_searches(among: list[float], values: list[float]) -> None:
    ordered, asked = np.sort(among), np.array(values)
    below, up_to = pairs.both_sides(ordered, asked)
    assert below.tolist() == np.searchsorted(ordered, asked, "left").tolist()
    assert up_to.tolist() == np.searchsorted(ordered, asked, "right").tolist()


@given(numbers, numbers)
def test_places_are_turned_round_as_by_searching_once_more(among: list[float], values: list[float]) -> None:
    ordered, asked = np.sort(among), np.sort(values)
    turned = pairs.turned(pairs.both_sides(ordered, asked), len(ordered))
    assert [one.tolist() for one in turned] == [one.tolist() for one in pairs.both_sides(asked, ordered)]


@given(numbers, numbers, st.data())
def test_a_rank_is_the_same_whatever_a_part_of_the_values_says(x: list[float], y: list[float], data: Any) -> None:
    """With so few values the guesses are mostly wrong: nothing but time may depend on them."""
    ones, others = (np.sort(np.clip(one, -1e9, 1e9)) for one in (x, y))
    rank = data.draw(st.integers(0, len(ones) * len(others) - 1))
    every = np.sort(np.subtract.outer(others, ones).ravel())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pairs, "LEAST_THINNED", data.draw(st.sampled_from([1, 3, 10])))
        patched.setattr(pairs, "FEW", 4)
        assert pairs.select_differences(ones, others, [rank])[0] == pytest.approx(every[rank], rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(("first", "second"), [(70_000, 90_001), (200_000, 900)])
def test_a_sixteenth_of_the_values_tells_nearly_where_a_rank_is(first: int, second: int) -> None:
    random = np.random.default_rng(3)
    x, y = np.sort(random.normal(size=first)), np.sort(random.standard_cauchy(second))
    for share in (0.02, 0.5, 0.9):
        rank = int(share * first * second)
        guessed = pairs._Selection(x, y, rank)._guessed()
        off = [int(np.searchsorted(y, x + one).sum()) - rank for one in guessed]
        assert off[0] < off[1]
        assert max(map(abs, off)) < first * second / 5000


@given(st.lists(st.integers(0, 40) | st.integers(0, 1 << 40), max_size=50))
def test_codes_are_made_compact_as_by_sorting_them(codes: list[int]) -> None:
    given = np.array(codes, dtype=np.int64)
    expected = np.unique(given, return_inverse=True)[1] if codes else given
    assert compact(given).tolist() == expected.tolist()


@pytest.mark.parametrize("shape", ["normal", "tenths"])
def test_a_rank_is_the_same_whatever_was_found_out_for_others(shape: str) -> None:
    random = np.random.default_rng(5)
    x, y = (np.sort(random.normal(size=size)) for size in (900, 1100))
    if shape == "tenths":
        x, y = np.round(x, 1), np.round(y, 1)
    middle = len(x) * len(y) // 2
    wanted = [middle, middle - 9000, middle + 9000, 0, len(x) * len(y) - 1]
    tried: list[pairs.Tried] = []
    together = [pairs.select_differences(x, y, [rank], tried)[0] for rank in wanted]
    every = np.sort(np.subtract.outer(y, x).ravel())
    assert tried
    assert len(tried) <= pairs.REMEMBERED
    assert together == pytest.approx([float(every[rank]) for rank in wanted], rel=1e-12, abs=1e-12)
    assert together == pytest.approx([pairs.select_differences(x, y, [rank])[0] for rank in wanted], rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5, 40])
def test_logarithms_that_are_known_change_no_digit_of_what_is_expected(k: int) -> None:
    values = np.sort(np.random.default_rng(2).normal(size=57))
    logs = log_factorials(60)
    assert logs.tolist() == gammaln(np.arange(61) + 1.0).tolist()
    assert expected_best(values, 3, k, logs) == expected_best(values, 3, k)


def trials(count: int, seed: int) -> Trials:
    """In no order, many of one moment."""
    random = np.random.default_rng(seed)
    values = random.choice([0.25, 0.5, np.nan, 0.75, -1.0, 1e308], count)
    return Trials(
        np.frombuffer(random.bytes(16 * count), dtype="V16"),
        random.integers(0, max(1, count // 3), count) * 1_500_000,
        random.random(count) < 0.4,
        random.choice([SUCCEEDED, FAILED, OTHER], count),
        random.choice([0, 7, 2**62], count),
        values,
    )


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 50, 3000])
def test_the_best_so_far_is_what_one_trial_after_the_other_says(count: int, higher: bool) -> None:
    given = trials(count, count)
    order = sorted(range(count), key=lambda row: (int(given.at[row]), given.id[row].tobytes()))
    expected = []
    for arm in (False, True):
        mine = [row for row in order if bool(given.arm[row]) is arm]
        best, cost, shown = math.nan, 0, {}
        for place, row in enumerate(mine, start=1):
            cost += int(given.duration_ms[row])
            value = float(given.value[row]) if given.ending[row] == SUCCEEDED else math.nan
            better = not math.isnan(value) and (math.isnan(best) or (value > best if higher else value < best))
            best = value if better else best
            last = place == len(mine)
            if better or last:
                shown[last, (place - 1) * PARTS // len(mine)] = (row, arm, place, float(cost), best, last)
        expected += [(*one[:4], None if math.isnan(one[4]) else one[4], one[5]) for one in shown.values()]
    assert [tuple(one) for one in best_so_far(given, higher=higher)] == expected


@pytest.mark.parametrize("count", [0, 1, 7, 3000])
def test_every_trial_is_in_one_span(count: int) -> None:
    given = trials(count, count + 1)
    found = endings(given, 24)
    assert sum(one.trials for one in found) == count
    assert sum(one.failed for one in found) == int((given.ending == FAILED).sum())
    assert sum(one.ended for one in found) == int((given.ending != OTHER).sum())
    assert len({one.at for one in found}) <= 25
    assert len({one.until - one.at for one in found}) <= 1
    starts = sorted({one.at for one in found})
    assert all(later - earlier >= found[0].until - found[0].at for earlier, later in pairwise(starts))
    assert not count or starts[0] == given.at.min() <= given.at.max() < max(one.until for one in found)
    assert [(one.at, one.arm) for one in found] == sorted((one.at, one.arm) for one in found)


def test_the_least_keys_are_chosen_and_of_equal_ones_the_least_ids() -> None:
    given, keys = trials(200, 9), np.random.default_rng(9).integers(-3, 3, 200)
    order = sorted(range(200), key=lambda row: (int(keys[row]), UUID(bytes=given.id[row].tobytes()).int))
    for most in (1, 20, 199, 200, 300):
        assert sorted(least(keys, given.id, most).tolist()) == sorted(order[:most])


def test_phases_of_runs_are_those_of_an_order_by_run_and_time() -> None:
    random = np.random.default_rng(4)
    given = sample([0] * 500, [0.0] * 500, run=random.integers(0, 4, 500), order=random.integers(0, 90, 500) * 1.0)
    places = np.lexsort((given.order, given.run))
    sizes = np.bincount(given.run)
    within = np.empty(500, dtype=np.int64)
    within[places] = np.arange(500) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    for one in range(500):  # those of one moment are where the first of them is
        within[one] = within[places][
            (given.run[places] == given.run[one]) & (given.order[places] == given.order[one])
        ].min()
    joined = given.run * 5 + within * 5 // sizes[given.run]
    assert Strata(given).codes.tolist() == np.unique(joined, return_inverse=True)[1].tolist()
