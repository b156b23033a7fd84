"""Every figure against somebody else's: scipy, statsmodels, opda, or all pairs one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opda.nonparametric import EmpiricalDistribution
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.nonparametric import rank_compare_2indep
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from processor.dashboard.statistics import pairs, ranks
from processor.dashboard.statistics.budget import best_of, expected_best, median_best
from processor.dashboard.statistics.intervals import Confidence, adjusted
from processor.dashboard.statistics.pooling import pool
from processor.dashboard.statistics.rates import rate_difference, wilson
from processor.dashboard.statistics.strata import midranks, stratified_mean

SURE = Confidence()
SHAPES: dict[str, Callable[[Any, int], Any]] = {
    "normal": lambda random, n: random.normal(size=n),
    "heavy": lambda random, n: random.standard_cauchy(n),
    "ties": lambda random, n: random.integers(0, 6, n).astype(float),
    "tenths": lambda random, n: random.integers(0, 50, n) / 10,
    "one value": lambda random, n: np.full(n, 0.25),
    "far apart": lambda random, n: random.normal(size=n) * np.exp(random.normal(size=n) * 20),
}


def two(shape: str, seed: int, sizes: tuple[int, int]) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return np.sort(SHAPES[shape](random, sizes[0])), np.sort(SHAPES[shape](random, sizes[1]) + 0.25)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sizes", [(1, 1), (3, 40), (300, 301), (1500, 700)])
def test_a_difference_is_selected_as_if_all_had_been_sorted(shape: str, sizes: tuple[int, int]) -> None:
    x, y = two(shape, 1, sizes)
    every = np.sort(np.subtract.outer(y, x).ravel())
    wanted = sorted({0, len(every) // 40, (len(every) - 1) // 2, len(every) // 2, len(every) - 1})
    found = pairs.select_differences(x, y, wanted)
    # a sum and a difference may round the last digit differently
    assert found == pytest.approx([float(every[rank]) for rank in wanted], rel=1e-12, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_selection_that_has_to_search_finds_the_same(data: Any) -> None:
    numbers = st.lists(st.integers(-30, 30) | st.floats(-1e6, 1e6), min_size=1, max_size=40)
    x, y = (np.sort(np.array(data.draw(numbers), dtype=float)) for _ in range(2))
    rank = data.draw(st.integers(0, len(x) * len(y) - 1))
    search = pairs._Selection(x, y, rank)
    search._left, search._drawn = data.draw(st.sampled_from([(0, 4), (1, 16), (5, 2)]))
    every = np.sort(np.subtract.outer(y, x).ravel())
    assert search.find() == pytest.approx(every[rank], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", ["normal", "heavy", "ties"])
@pytest.mark.parametrize("sizes", [(12, 15), (80, 200)])
def test_superiority_is_that_of_statsmodels_and_its_p_that_of_scipy(shape: str, sizes: tuple[int, int]) -> None:
    x, y = two(shape, 2, sizes)
    found = ranks.superiority_of(x, y)
    oracle = rank_compare_2indep(y, x)
    assert found.probability == pytest.approx(oracle.prob1)
    assert found.error == pytest.approx(math.sqrt(oracle.var_prob))
    assert found.freedom == pytest.approx(oracle.df)
    assert ranks.superiority_p(found, sizes) == pytest.approx(stats.brunnermunzel(x, y).pvalue)
    assert found.probability == pytest.approx(stats.mannwhitneyu(y, x).statistic / sizes[0] / sizes[1])


def test_the_interval_of_superiority_is_statsmodels_on_the_scale_of_logits() -> None:
    x, y = two("normal", 3, (40, 60))
    found = ranks.superiority_of(x, y)
    interval = ranks.superiority_interval(found, 40, 100, SURE)
    p = found.probability
    low, high = rank_compare_2indep(y, x).conf_int()  # on the plain scale
    reach = (high - low) / 2 / (p * (1 - p))
    assert interval.low == pytest.approx(1 / (1 + math.exp(-(math.log(p / (1 - p)) - reach))))
    assert interval.high == pytest.approx(1 / (1 + math.exp(-(math.log(p / (1 - p)) + reach))))


def test_the_shift_is_the_median_of_all_differences_and_close_to_the_classic_interval() -> None:
    x, y = two("normal", 4, (90, 110))
    shift = ranks.shift_interval(x, y, ranks.superiority_of(x, y), SURE)
    every = np.sort(np.subtract.outer(y, x).ravel())
    assert shift.estimate == np.median(every)
    # Mann and Whitney's variance, which takes both arms to spread alike, as here
    below = math.floor(len(every) / 2 - SURE.z * math.sqrt(90 * 110 * 201 / 12))
    assert shift.low == pytest.approx(every[below], abs=0.03)
    assert shift.high == pytest.approx(every[-1 - below], abs=0.03)


def test_means_differ_as_by_welch() -> None:
    x, y = two("normal", 5, (30, 77))
    found = ranks.mean_difference(x, y, SURE)
    oracle = CompareMeans(DescrStatsW(y), DescrStatsW(x)).tconfint_diff(usevar="unequal")
    assert (found.low, found.high) == pytest.approx(oracle)


@pytest.mark.parametrize(("count", "trials"), [(0, 12), (1, 12), (12, 12), (37, 200), (0, 1)])
def test_a_share_has_the_interval_of_wilson(count: int, trials: int) -> None:
    found = wilson(count, trials, SURE)
    oracle = stats.binomtest(count, trials).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert (found.low, found.high) == pytest.approx(proportion_confint(count, trials, method="wilson"))


@pytest.mark.parametrize(("reference", "other"), [((3, 40), (9, 35)), ((0, 10), (0, 12)), ((10, 10), (0, 5))])
def test_shares_differ_as_by_newcombe(reference: tuple[int, int], other: tuple[int, int]) -> None:
    found = rate_difference("failed", reference, other, None, SURE).difference
    oracle = confint_proportions_2indep(*other, *reference, method="newcomb")
    assert (found.low, found.high) == pytest.approx(oracle)


def bell_and_mccaffrey(effects: Any, variances: Any) -> tuple[float, float]:
    """The CR2 variance of a weighted mean and its degrees of freedom, as matrices of any regression have them."""
    x, weight, cov = np.ones((len(effects), 1)), np.diag(1 / variances), np.diag(variances)
    bread = np.linalg.inv(x.T @ weight @ x)
    left = np.eye(len(effects)) - x @ bread @ x.T @ weight  # what makes residuals of effects
    residual = left @ cov @ left.T
    adjust = np.diag(np.sqrt(np.diag(cov) / np.diag(residual)))
    score = (bread @ x.T @ weight @ adjust)[0]
    shape = np.diag(score**2) @ residual
    return float(((score * (left @ effects)) ** 2).sum()), float(np.trace(shape) ** 2 / np.trace(shape @ shape))


def test_runs_of_one_weight_are_pooled_as_by_hartung_and_knapp() -> None:
    effects = np.random.default_rng(4).normal(0.3, 0.5, 7)
    found, _ = pool(effects.tolist(), [0.2] * 7, SURE, 700)
    assert found is not None
    oracle = combine_effects(effects, np.full(7, 0.04), method_re="dl")
    assert found.freedom == pytest.approx(6)
    assert found.shift.high == pytest.approx(
        oracle.mean_effect_re + stats.t.ppf(0.975, 6) * math.sqrt(oracle.var_hksj_re)
    )


@pytest.mark.parametrize("seed", range(4))
def test_runs_are_pooled_as_by_statsmodels(seed: int) -> None:
    random = np.random.default_rng(seed)
    effects, variances = random.normal(0.3, 0.5, 9).tolist(), (random.random(9) * 0.1 + 0.01).tolist()
    found, weights = pool(effects, np.sqrt(variances).tolist(), SURE, 900)
    assert found is not None
    oracle = combine_effects(np.array(effects), np.array(variances), method_re="dl")
    assert (found.shift.estimate, found.tau2, found.i2) == pytest.approx(
        (oracle.mean_effect_re, oracle.tau2, max(0.0, oracle.i2))
    )
    variance, freedom = bell_and_mccaffrey(np.array(effects), np.array(variances) + oracle.tau2)
    assert found.freedom == pytest.approx(freedom)
    robust = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    reach = max(robust, stats.norm.ppf(0.975) * oracle.sd_eff_w_re)
    assert found.shift.high == pytest.approx(oracle.mean_effect_re + reach)
    # of the wider one: at its confidence a bound is 0
    level = 1 - (found.p or 0)
    if level < 0.5:
        return
    at_p, _ = pool(effects, np.sqrt(variances).tolist(), Confidence(level), 900)
    assert at_p is not None
    assert min(map(abs, (at_p.shift.low or 0, at_p.shift.high or 0))) == pytest.approx(0, abs=1e-9)
    assert weights == pytest.approx(oracle.weights_re / oracle.weights_re.sum())


@pytest.mark.parametrize("k", [1, 2, 7, 40])
def test_the_expected_best_is_opdas_and_that_of_all_draws(k: int) -> None:
    values = np.sort(np.random.default_rng(6).normal(size=40))
    expected, nothing = expected_best(values, 0, k)
    assert nothing == 0
    assert EmpiricalDistribution(values).average_tuning_curve(k) == pytest.approx(expected, abs=0.15)  # V beside U
    few = values[::5]
    every = [max(draw) for draw in itertools.combinations(few, min(k, len(few)))]
    assert expected_best(few, 0, min(k, len(few)))[0] == pytest.approx(np.mean(every))


def test_the_expected_best_counts_draws_without_a_value_apart() -> None:
    values, without = np.array([1.0, 2.0, 5.0]), 3
    draws = list(itertools.combinations([-math.inf] * without + values.tolist(), 2))
    held = [max(draw) for draw in draws if max(draw) > -math.inf]
    expected, nothing = expected_best(values, without, 2)
    assert expected == pytest.approx(np.mean(held))
    assert nothing == pytest.approx(1 - len(held) / len(draws))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_the_median_best_is_a_quantile_whose_ranks_the_binomial_gives(k: int) -> None:
    values = np.arange(1.0, 201)
    share = 0.5 ** (1 / k)
    found = median_best(values, 0, k, SURE)
    ranks_ = [rank for rank in range(1, 201) if stats.binom.cdf(rank - 1, 200, share) <= 0.025]
    assert found.low == max(ranks_)
    above = [rank for rank in range(1, 201) if stats.binom.sf(rank - 1, 200, share) < 0.025]
    assert found.high == (min(above) if above else None)
    assert found.estimate == pytest.approx(EmpiricalDistribution(values).quantile_tuning_curve(k), abs=1)


def test_a_lower_best_is_the_mirror_of_a_higher_one() -> None:
    x, y = two("normal", 7, (50, 60))
    lower = best_of((x, 2), (y, 3), "lower", SURE).points
    higher = best_of((np.sort(-x), 2), (np.sort(-y), 3), "higher", SURE).points
    for one, other in zip(lower, higher, strict=True):
        assert one.difference.estimate == pytest.approx(-(other.difference.estimate or 0))
        assert one.expected_other == pytest.approx(-(other.expected_other or 0))
        assert one.reference.low == (None if other.reference.high is None else -other.reference.high)


def test_a_stratified_difference_is_least_squares_with_robust_errors() -> None:
    import statsmodels.api as sm

    random = np.random.default_rng(8)
    codes = random.integers(0, 6, 150)
    arm = random.random(150) < 0.2 + codes / 10
    values = random.normal(size=150) * (1 + codes) + codes + 0.5 * arm
    found = stratified_mean(codes, arm, values, SURE)
    design = np.column_stack([arm.astype(float), *(codes == code for code in range(6))])
    oracle = sm.OLS(values, design).fit(cov_type="HC1", use_t=True)
    assert (found.estimate, found.low, found.high) == pytest.approx((oracle.params[0], *oracle.conf_int()[0]))


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_p_values_of_several_metrics_are_adjusted_as_by_scipy(count: int) -> None:
    p_values = np.random.default_rng(10).random(count).round(2).tolist()
    assert adjusted(p_values) == pytest.approx(stats.false_discovery_control(p_values).tolist() if count else [])


def test_ranks_within_groups_are_those_of_scipy() -> None:
    random = np.random.default_rng(9)
    groups, values = random.integers(0, 7, 300), random.integers(0, 20, 300).astype(float)
    found = midranks(groups, values, np.argsort(values, kind="stable"))
    for group in range(7):
        assert found[groups == group] == pytest.approx(stats.rankdata(values[groups == group]))
