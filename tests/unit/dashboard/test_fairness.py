"""Comparisons that look like an effect and are none: parameters, runs that differ, constants, names, rare metrics."""

from __future__ import annotations

import numpy as np
import pytest

from processor.dashboard.pages.charts import TABLE, _climb
from processor.dashboard.pages.compare import usual_metric
from processor.dashboard.queries.charts import Best
from processor.dashboard.queries.trials import Key
from processor.dashboard.statistics.balance import balance
from processor.dashboard.statistics.compare import compare
from processor.dashboard.statistics.directions import guess_direction
from processor.dashboard.statistics.results import Contrast
from processor.dashboard.statistics.sample import Parameter, Sample
from tests.support.trials import START
from tests.unit.dashboard.samples import sample


def contrast(trials: Sample) -> Contrast:
    (found,) = compare(trials, parameter="spectral_norm", metric="accuracy").contrasts
    return found


@pytest.mark.parametrize("sizes", [(16.0, 64.0), (64.0, 16.0), (0.0, 1.0), (-1.0, 0.0), (16.0, 64.0, 128.0)])
def test_few_numbers_are_matched_each_for_itself(sizes: tuple[float, ...]) -> None:
    """The first of them adds 0.08, and the one arm has it far more often than the other: there is no other effect."""
    draw = np.random.default_rng(1)
    count = 3000
    arm = draw.integers(0, 2, count)
    first = draw.random(count) < np.where(arm == 1, 0.3, 0.02)
    number = np.where(first, sizes[0], draw.choice(sizes[1:], count))
    value = draw.normal(0.8, 0.03, count) + np.where(first, 0.08, 0.0)
    found = contrast(sample(arm, value, parameters=(Parameter("size", number, None),)))
    adjusted = found.stratified.superiority
    assert adjusted is not None
    assert adjusted.low is not None
    assert adjusted.high is not None
    assert adjusted.low <= 0.5 <= adjusted.high
    assert found.effect.superiority.low is not None
    assert found.effect.superiority.low > 0.5
    assert any("among trials that are alike" in warning for warning in found.warnings)


def test_parameters_that_differ_are_named_in_order_and_those_beyond_five_counted() -> None:
    arm = np.arange(200) % 2
    uneven = [Parameter(f"p{n}", arm + np.arange(200) // 2 % 2 / 2, None) for n in (10, 9, 8, 2, 1, 7, 6)]
    found = contrast(sample(arm, np.arange(200.0), parameters=uneven))
    assert "the arms differ in other parameters too: p1, p2, p6, p7, p8 and 2 more" in found.warnings
    assert [one.parameter for one in found.balance] == ["p1", "p2", "p6", "p7", "p8", "p9", "p10"]


def test_many_trials_of_runs_that_differ_are_warned_of() -> None:
    draw = np.random.default_rng(2)
    run = np.repeat(np.arange(6), 300)
    arm = np.tile([0, 1], 900)
    effect = np.array([0.06, -0.05, 0.07, -0.03, 0.05, 0.02])
    found = contrast(sample(arm, draw.normal(0.8, 0.03, 1800) + arm * effect[run], run=run))
    assert found.effect.shift.low is not None
    assert found.effect.shift.low > 0
    assert (found.verdict, found.decided_by) == ("no difference is shown", "runs")
    assert any("it is not shown over the 6 runs together" in warning for warning in found.warnings)
    same = contrast(sample(arm, draw.normal(0.8, 0.03, 1800) + arm * 0.02, run=run))
    assert (same.verdict, same.decided_by) == ("better", "runs")
    assert not any("is not shown" in warning for warning in same.warnings)


@pytest.mark.parametrize("constant", [0.9, 0.1, 3e-4, -0.7, 0.0, 64.0])
def test_what_is_constant_is_balanced(constant: float) -> None:
    for reference, other in ((37, 22), (101, 350), (3, 7)):
        numbers = np.full(reference + other, constant)
        arm = np.arange(reference + other) < reference
        (found,) = balance([Parameter("momentum", numbers, None)], arm, ~arm)
        assert found.difference == 0.0
        assert not found.marked


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("brier_score", "lower"), ("fid_score", "lower"), ("perplexity_score", "lower"), ("error_score", "lower"),
        ("davies_bouldin_score", "lower"), ("neg_brier_score", "higher"), ("score", "higher"), ("f1_score", "higher"),
        ("neg_score", "lower"), ("explained_variance", "higher"), ("explained_variance_ratio", "higher"),
        ("variance", "lower"), ("time_to_accuracy", "lower"), ("steps_to_accuracy", "unknown"),
        ("loss_per_token", "lower"), ("samples_per_ms", "unknown"), ("throughput_per_second", "higher"),
        ("loss_improvement", "unknown"), ("error_reduction", "unknown"), ("accuracy_std", "unknown"),
        ("accuracy_drop", "unknown"), ("per_class_accuracy", "higher"), ("dropout_accuracy", "higher"),
    ],
)  # fmt: skip
def test_a_direction_is_guessed_from_what_a_metric_is_about(metric: str, better: str) -> None:
    assert guess_direction(metric).better == better


def test_a_rare_metric_is_not_taken_for_its_name() -> None:
    def key(name: str, numbers: int) -> Key:
        return Key("metrics", (name,), numbers, numbers, 300, numbers, 0)

    assert usual_metric([key("top1", 300), key("warmup_loss", 3)]) == 'metrics."top1"'
    assert usual_metric([key("top1", 300), key("loss", 290)]) == 'metrics."loss"'
    assert usual_metric([]) == ""


def test_the_table_of_the_best_so_far_has_both_arms() -> None:
    best = [
        Best(arm, place, START, 1.0, None if place == 0 else place / 1000, "run", f"t{place}", place == 400)
        for arm in (False, True)
        for place in range(401)
    ]
    found = _climb(best)
    assert [one.place for one in found["climb"]] == 2 * list(range(401 - TABLE, 401))
    assert found["climb_left"] == 2 * (400 - TABLE)
