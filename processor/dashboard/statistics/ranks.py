"""Which of two arms has the larger values, and by how much, from ranks alone: an outlier weighs as much as any value.

Both intervals rest on one variance, that of Brunner and Munzel (The nonparametric Behrens-Fisher problem, Biometrical
Journal 42, 2000), which lets the arms spread differently. The shift is Hodges and Lehmann's: the median of all
differences; its interval are the two differences between which P(other > reference) can't be told from 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit, gammaln, logit

from processor.dashboard.statistics.intervals import FEWEST, Confidence, finite, two_sided
from processor.dashboard.statistics.pairs import Tried, both_sides, select_differences, turned
from processor.dashboard.statistics.results import Interval
from processor.dashboard.statistics.sample import Floats, Integers

#: squares that an arm's placements add up to at the least: where all are alike, as if half of one trial were not
LEAST_SPREAD = 0.5


class Superiority(NamedTuple):
    """P(y > x) + P(y = x) / 2, its standard error, and the degrees of freedom of that; `tied` is P(y = x)."""

    probability: float
    error: float
    freedom: float
    tied: float = 0.0


def superiority_of(x: Floats, y: Floats) -> Superiority:
    """Of two sorted samples; the error is infinite where one has fewer than two values."""
    places = both_sides(x, y)
    placed_y, placed_x = _placements(places, len(x)), _placements(turned(places, len(x)), len(y))
    probability, tied = float(placed_y.mean()), float((places[1] - places[0]).mean()) / len(x)
    if min(len(x), len(y)) < 2:
        return Superiority(probability, math.inf, math.inf, tied)
    parts = [float(one.var(ddof=1)) / len(one) for one in (placed_x, placed_y)]
    return Superiority(probability, math.sqrt(sum(parts)), _freedom(parts, (len(x), len(y))), tied)


def _freedom(parts: Sequence[float], sizes: Sequence[int]) -> float:
    """Welch's and Satterthwaite's, of the parts of a variance, by their shares: squares of them may be no doubles."""
    variance = sum(parts)
    if not variance or not math.isfinite(variance):
        return math.inf
    return 1 / sum((part / variance) ** 2 / (size - 1) for part, size in zip(parts, sizes, strict=True))


def _placements(places: tuple[Integers, Integers], among: int) -> Floats:
    """For each value the share of so many that is below it, those equal to it by half."""
    return np.asarray((places[0] + places[1]) / (2.0 * among))


def superiority_interval(found: Superiority, smaller: int, trials: int, confidence: Confidence) -> Interval:
    """On the logit scale, so that it stays within 0..1; `smaller` is the size of the smaller arm.

    Where the arms don't overlap there is no variance: the bound is the probability that `smaller` draws would with
    luck all have shown. It holds at every look too: who looks while they don't overlap saw nothing else before.
    """
    p = found.probability
    if smaller < FEWEST or not math.isfinite(found.error):
        return Interval(p, None, None)
    if p in (0.0, 1.0):
        bound = (confidence.alpha / 2) ** (1 / smaller)
        return Interval(p, bound, 1.0) if p else Interval(p, 0.0, 1 - bound)
    if not found.error:  # all values tie
        reach = confidence.multiplier(trials) * math.sqrt(2 * LEAST_SPREAD) / smaller
        return Interval(p, max(0.0, p - reach), min(1.0, p + reach))
    reach = confidence.multiplier(trials, found.freedom) * found.error / (p * (1 - p))
    return Interval(p, float(expit(logit(p) - reach)), float(expit(logit(p) + reach)))


def superiority_p(found: Superiority, sizes: tuple[int, int]) -> float | None:
    """Two-sided p of "neither is larger"; exact where the arms don't overlap, None where it can't be said."""
    if not math.isfinite(found.error):
        return None
    if found.error:
        return two_sided((found.probability - 0.5) / found.error, found.freedom)
    if found.probability == 0.5:
        return 1.0
    ways = gammaln(sum(sizes) + 1) - gammaln(sizes[0] + 1) - gammaln(sizes[1] + 1)
    return float(min(1.0, 2 * math.exp(-ways)))


def shift_interval(x: Floats, y: Floats, found: Superiority, confidence: Confidence) -> Interval:
    """The median of all y - x of two sorted samples; no bounds where an arm has fewer than `FEWEST` values.

    None of it is where a difference is beyond all doubles.
    """
    pairs = len(x) * len(y)
    if not pairs:
        return Interval(None, None, None)
    tried: list[Tried] = []
    shift = _middle(x, y, tried)
    if min(len(x), len(y)) < FEWEST or not math.isfinite(shift):
        return finite(shift, None, None)
    # the variance where neither arm is larger: arms that hardly overlap have next to none where they are
    centred = superiority_of(x, y - shift) if shift else found
    reach = confidence.multiplier(len(x) + len(y), centred.freedom) * centred.error
    below = math.floor(pairs * (0.5 - reach))
    if below < 0:  # an interval for every look reaches beyond all differences of a small arm
        return Interval(shift, None, None)
    low, high = select_differences(x, y, [below, pairs - 1 - below], tried)
    return finite(shift, min(low, shift), max(high, shift))


def holding_none(shift: Interval, found: Superiority, trials: int, confidence: Confidence) -> Interval:
    """The interval of a shift, which holds 0 unless the test of P(other > reference) = 1/2 tells that it is none.

    The bounds rest on the variance at the estimate. What there is where nothing is shifted is known, and is right for
    0: by the former alone few values with a long tail beside many would differ too often.
    """
    if shift.low is None or shift.high is None:
        return shift
    if abs(found.probability - 0.5) > confidence.multiplier(trials, found.freedom) * found.error:
        return shift
    return Interval(shift.estimate, min(shift.low, 0.0), max(shift.high, 0.0))


def _middle(x: Floats, y: Floats, tried: list[Tried]) -> float:
    """The median of all differences. Where values tie, the two middle ones may be far apart however many there are."""
    pairs = len(x) * len(y)
    lower, upper = select_differences(x, y, [(pairs - 1) // 2, pairs // 2], tried)
    return lower + (upper - lower) / 2


def mean_difference(x: Floats, y: Floats, confidence: Confidence) -> Interval:
    """Welch's interval of mean(y) - mean(x)."""
    if not (len(x) and len(y)):
        return Interval(None, None, None)
    estimate = float(y.mean() - x.mean())
    if not math.isfinite(estimate) or min(len(x), len(y)) < FEWEST:
        return Interval(estimate if math.isfinite(estimate) else None, None, None)
    parts = [float(side.var(ddof=1)) / len(side) for side in (x, y)]
    freedom = _freedom(parts, (len(x), len(y)))
    return confidence.around(estimate, math.sqrt(sum(parts)), len(x) + len(y), freedom)
