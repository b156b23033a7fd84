"""Shares of two arms and their difference, right also where nothing or everything failed.

Wilson's interval for one share; Newcombe's hybrid of both for the difference (Interval estimation for the difference
between independent proportions, Statistics in Medicine 17, 1998, method 10). For every look, Wilson's takes the
confidence sequence's multiplier in the normal quantile's place.
"""

from __future__ import annotations

import math

from processor.dashboard.statistics.intervals import Confidence
from processor.dashboard.statistics.results import Interval, RateDifference


def wilson(count: float, trials: float, confidence: Confidence) -> Interval:
    """The share `count / trials`; all None where there are no trials. Neither need be whole (see `strata`)."""
    if not trials:
        return Interval(None, None, None)
    z2 = confidence.multiplier(trials) ** 2
    share = count / trials
    middle = (count + z2 / 2) / (trials + z2)
    reach = math.sqrt(z2 * (share * (1 - share) * trials + z2 / 4)) / (trials + z2)
    low = 0.0 if not count else max(0.0, middle - reach)
    high = 1.0 if count == trials else min(1.0, middle + reach)
    return Interval(share, low, high)


def difference(reference: Interval, other: Interval) -> Interval:
    """other - reference from both intervals, each estimate's own distance to its bounds being its error."""
    if reference.estimate is None or other.estimate is None:
        return Interval(None, None, None)
    estimate = other.estimate - reference.estimate
    low = _reach(estimate, -1, other.estimate, other.low, reference.estimate, reference.high)
    high = _reach(estimate, 1, other.estimate, other.high, reference.estimate, reference.low)
    return Interval(estimate, low, high)


def _reach(
    estimate: float, side: int, one: float, bound: float | None, another: float, opposite: float | None
) -> float | None:
    if bound is None or opposite is None:
        return None
    return estimate + side * math.hypot(one - bound, another - opposite)


def rate_difference(
    what: str, reference: tuple[int, int], other: tuple[int, int], stratified: Interval | None, confidence: Confidence
) -> RateDifference:
    """Of (count, trials) in each arm."""
    shares = wilson(*reference, confidence), wilson(*other, confidence)
    return RateDifference(what, *shares, difference(*shares), stratified)
