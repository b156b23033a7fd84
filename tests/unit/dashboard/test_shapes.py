"""What charts are drawn from: few points, however many trials, and every trial in one of them or counted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from processor.dashboard.statistics.sample import FAILED
from processor.dashboard.statistics.shapes import best_so_far, distributions, history, scatter
from tests.unit.dashboard.samples import sample


def test_best_so_far_rises_by_the_trials_that_were_better_than_all_before() -> None:
    trials = sample([0, 1, 0, 1, 0], [0.5, 0.4, math.nan, 0.9, 0.7])
    (everything,) = best_so_far(trials, "higher")
    assert [(step.place, step.value) for step in everything.steps] == [(1, 0.5), (4, 0.9)]
    assert (everything.finite, everything.left_out) == (4, 1)
    (lower,) = best_so_far(trials, "lower")
    assert [(step.place, step.value) for step in lower.steps] == [(1, 0.5), (2, 0.4)]
    by_arm = best_so_far(trials, "higher", by_arm=True)
    assert [[step.value for step in one.steps] for one in by_arm] == [[0.5, 0.7], [0.4, 0.9]]
    assert best_so_far(trials, "unknown") == ()


def test_best_so_far_follows_the_order_of_time_not_that_of_rows() -> None:
    trials = sample([0] * 3, [3.0, 1.0, 2.0])._replace(order=np.array([30.0, 10.0, 20.0]))
    (found,) = best_so_far(trials, "higher")
    assert [(step.place, step.at, step.value) for step in found.steps] == [(1, 10, 1), (2, 20, 2), (3, 30, 3)]


@pytest.mark.parametrize("count", [0, 1, 7, 400, 12345])
def test_a_history_has_every_trial_in_one_column(count: int) -> None:
    values = np.random.default_rng(1).normal(size=count)
    ending = np.where(np.arange(count) % 5 == 0, FAILED, 0)
    columns = history(sample([0] * count, values, ending=ending))
    assert len(columns) == min(count, 400)
    assert sum(column.last - column.first + 1 for column in columns) == count
    finite = values[ending == 0]
    assert sum(column.finite for column in columns) == len(finite)
    if len(finite):
        assert max(column.greatest for column in columns if column.greatest is not None) == finite.max()


@pytest.mark.parametrize("robust", [False, True])
def test_a_distribution_counts_every_finite_value_once(robust: bool) -> None:
    random = np.random.default_rng(2)
    values = random.standard_cauchy(500)
    values[:3] = math.nan, math.inf, -math.inf
    found = distributions(sample(random.integers(0, 2, 500), values), robust=robust)
    counted = [sum(arm.counts) + arm.below + arm.above for arm in found.arms]
    assert sum(counted) == 497
    assert sum(arm.not_finite for arm in found.arms) == 3
    assert any(arm.below or arm.above for arm in found.arms) == robust
    assert len(found.edges) == 41


@pytest.mark.parametrize("values", [[], [math.nan], [0.25] * 9, [0.0, 1e308, -1e308], [1.0]])
def test_odd_values_have_a_distribution_or_none(values: list[float]) -> None:
    found = distributions(sample([0] * len(values), values), robust=False)
    finite = sum(math.isfinite(value) for value in values)
    assert sum(sum(arm.counts) + arm.below + arm.above for arm in found.arms) == finite


@pytest.mark.parametrize("robust", [False, True])
def test_a_scatter_counts_every_trial_once_in_few_cells(robust: bool) -> None:
    random = np.random.default_rng(3)
    x, y = random.normal(size=5000), random.standard_cauchy(5000)
    x[:7], y[5:11] = math.nan, math.inf
    found = scatter(x, y, robust=robust)
    assert sum(count for _, _, count in found.cells) + found.outside + found.left_out == 5000
    assert found.left_out == 11
    assert (found.outside > 0) == robust
    assert len(found.cells) <= 1600
    assert max(max(column, row) for column, row, _ in found.cells) < 40


def test_a_scatter_of_one_point_of_equal_ones_and_of_none_is_drawn() -> None:
    assert scatter(np.array([1.0]), np.array([2.0])).cells == ((0, 0, 1),)
    assert scatter(np.full(9, 1.0), np.arange(9.0), robust=False).outside == 0
    assert scatter(np.array([math.nan]), np.array([1.0])).left_out == 1
