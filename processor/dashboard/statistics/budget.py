"""What the best of k trials of an arm comes to: what a search is for. It need not favour the arm with the better mean.

The median of the best of k is the quantile 0.5 ** (1 / k) of a single trial; two order statistics enclose a quantile
with an exact probability, whatever the distribution (Lourie, Cho, He: Show your work with confidence, arXiv 2311.09480,
shows that bootstrapped bands are not right here). A trial that failed is part of the budget and worse than all others.
This holds for trials that are independent, as in a random search; in an adaptive one it describes what happened.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import gammaln

from processor.dashboard.statistics.intervals import Confidence, beta_quantile
from processor.dashboard.statistics.rates import difference
from processor.dashboard.statistics.results import Better, Budget, BudgetPoint, Interval
from processor.dashboard.statistics.sample import Floats

#: -log of what is no digit of a double beside 1
_NOTHING = 40.0
_STEPS = (1, 2, 5)
ADAPTIVE = (
    "the intervals take trials as independent draws, as in a random search; a sampler that learns makes them "
    "describe this search rather than the next one"
)


def best_of(reference: tuple[Floats, int], other: tuple[Floats, int], better: Better, confidence: Confidence) -> Budget:
    """Of (finite values in order, trials that ended with none) in each arm; k up to the smaller arm's trials."""
    if better == "unknown":
        return Budget((), ("which values are better is not known, so there is no best: choose a direction",))
    sign = 1.0 if better == "higher" else -1.0
    arms = [(values if sign > 0 else -values[::-1], without) for values, without in (reference, other)]
    trials = [len(values) + without for values, without in arms]
    if not all(len(values) for values, _ in arms):
        return Budget((), ("an arm has no finite value",))
    notes = [ADAPTIVE]
    if any(without for _, without in arms):
        notes.append("trials without a finite value are part of the budget, and worse than all others")
    if not confidence.fixed:
        notes.append("these intervals are for one look, not for every one")
    logs = [log_factorials(count) for count in trials]
    return Budget(tuple(_point(k, arms, logs, sign, confidence) for k in budgets(min(trials))), tuple(notes))


def budgets(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... and the last possible one."""
    steps = (step * 10**power for power in range(7) for step in _STEPS)
    return [*(step for step in steps if step < most), most]


def _point(
    k: int, arms: list[tuple[Floats, int]], logs: list[Floats], sign: float, confidence: Confidence
) -> BudgetPoint:
    medians = [median_best(values, without, k, confidence) for values, without in arms]
    if sign < 0:
        medians = [_mirrored(one) for one in medians]
    expected = [expected_best(*arm, k, known) for arm, known in zip(arms, logs, strict=True)]
    best = [None if value is None else sign * value for value, _ in expected]
    return BudgetPoint(
        k=k,
        reference=medians[0],
        other=medians[1],
        difference=difference(medians[0], medians[1]),
        expected_reference=best[0],
        expected_other=best[1],
        nothing_reference=expected[0][1],
        nothing_other=expected[1][1],
    )


def _mirrored(one: Interval) -> Interval:
    low, high = (None if bound is None else -bound for bound in (one.high, one.low))
    return Interval(None if one.estimate is None else -one.estimate, low, high)


def median_best(values: Floats, without: int, k: int, confidence: Confidence) -> Interval:
    """The median of the best of k draws from a distribution that `values` (ascending) and `without` worse ones show."""
    trials = len(values) + without
    share = 0.5 ** (1 / k)
    ranks = [math.ceil(share * trials), *_enclosing(share, trials, confidence.alpha)]
    found = [_order_statistic(values, without, rank) for rank in ranks]
    return Interval(*found)


def _enclosing(share: float, trials: int, alpha: float) -> tuple[int, int]:
    """The ranks (from 1) of the two order statistics around the quantile; 0 or trials + 1 where none is so far out.

    The i-th of n order statistics is below the quantile with the probability of a Beta(i, n + 1 - i) below its share.
    """

    def quantile(rank: int, tail: float) -> float:
        return beta_quantile(rank, trials + 1 - rank, tail)

    low = _last(trials, lambda rank: quantile(rank, 1 - alpha / 2) <= share)
    high = _last(trials, lambda rank: quantile(rank, alpha / 2) < share) + 1
    return low, high


def _last(most: int, holds: Callable[[int], bool]) -> int:
    """The last of 1..most for which something holds that holds for all before it; 0 where for none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _order_statistic(values: Floats, without: int, rank: int) -> float | None:
    place = rank - without - 1
    return float(values[place]) if 0 <= place < len(values) else None


def log_factorials(most: int) -> Floats:
    """Of 0..most: each k of a budget takes nearly all of them, and they are the same for all."""
    return np.asarray(gammaln(np.arange(1.0, most + 2)))


def expected_best(values: Floats, without: int, k: int, logs: Floats | None = None) -> tuple[float | None, float]:
    """The mean over all draws of k that hold a value, and the share of draws that hold none; unbiased, no bands.

    `logs` are `log_factorials` of all trials, where they are known.
    """
    trials = len(values) + without
    logs = log_factorials(trials) if logs is None else logs
    if k > trials:
        return None, 1.0
    every = float(logs[trials] - logs[k] - logs[trials - k])
    # the i-th of n is the best of k with a probability that falls as (i / n) ** (k - 1): far down it is no digit
    least = max(without + 1, k, math.floor(trials * math.exp(-_NOTHING / (k - 1))) if k > 1 else 1)
    # of the ways to draw k, those whose best is the i-th: k - 1 of the i - 1 below it
    weights = np.exp(logs[least - 1 : trials] - logs[k - 1] - logs[least - k : trials - k + 1] - every)
    nothing = math.exp(float(logs[without] - logs[k] - logs[without - k]) - every) if without >= k else 0.0
    total = float(weights.sum())
    return (float(weights @ values[least - without - 1 :]) / total if total else None), nothing
