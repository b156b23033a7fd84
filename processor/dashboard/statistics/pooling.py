"""The effects of runs as one: runs are the unit of replication.

Random effects by DerSimonian and Laird; the interval is the wider one of the robust one and the plain one. The robust
one has the variance of Bell and McCaffrey (CR2) with Satterthwaite's degrees of freedom (Tipton, Psychological Methods
20, 2015): it takes the spread of the runs from the runs themselves, and counts how few they are where some weigh most.
For runs of one weight it is that of Hartung and Knapp, which for runs of very different sizes is too narrow by far: how
much runs differ is hardly seen in small ones. Where runs agree by chance it has next to no width, and the plain one is
what is left.
"""

from __future__ import annotations

import math

import numpy as np

from processor.dashboard.statistics.intervals import (
    Confidence,
    finite,
    number_or_none,
    power_of,
    two_sided,
    within,
)
from processor.dashboard.statistics.results import Interval, Pooled
from processor.dashboard.statistics.sample import Floats


def pool(
    effects: list[float], errors: list[float], confidence: Confidence, trials: int
) -> tuple[Pooled | None, list[float]]:
    """The pooled effect of effects with standard errors, and each one's share of it; None with fewer than two, without
    any error, or where one is more precise than all others by more than a double tells apart.
    """
    count = len(effects)
    nothing = None, [1.0 / count] * count if count else []
    if count < 2 or not min(errors) > 0:
        return nothing
    # in units of the most precise one: squares of values near a double's end, or of tiny ones, are no numbers
    unit = min(errors)
    effect, error_of = np.array(effects) / unit, np.array(errors) / unit
    variance = np.square(error_of)
    fixed = 1 / variance
    spread = float((((effect - fixed @ effect / fixed.sum()) / error_of) ** 2).sum())
    scale = float(fixed @ _others(fixed) / fixed.sum())
    if not scale > 0:
        return nothing
    tau2 = max(0.0, (spread - (count - 1)) / scale)
    weights = 1 / (variance + tau2)
    total = float(weights.sum())
    estimate = float(weights @ effect) / total
    share, left = weights / total, _others(weights) / total
    plain, error = math.sqrt(1 / total), math.sqrt(float((share * (effect - estimate)) ** 2 @ (1 / left)))
    freedom = _freedom(share, left)
    reach = max(confidence.multiplier_of_runs(count, trials, freedom) * error, confidence.multiplier(trials) * plain)
    shift = _scaled(within(estimate, reach), unit)
    i2 = max(0.0, 1 - (count - 1) / spread) if spread else 0.0
    p = _p(estimate, error, plain, freedom) if confidence.fixed else None
    detectable = number_or_none((reach + power_of(freedom) * max(error, plain)) * unit)
    spread_of_runs = number_or_none(tau2 * unit * unit)
    found = Pooled(count, shift, spread_of_runs, i2, p, None, "random effects", detectable, freedom)
    return found, share.tolist()


def _others(weights: Floats) -> Floats:
    """The sum of all but each: of the largest not by a difference, which may be of two that are the same."""
    largest = int(weights.argmax())
    others: Floats = weights.sum() - weights
    others[largest] = weights[:largest].sum() + weights[largest + 1 :].sum()
    return others


def _freedom(share: Floats, left: Floats) -> float:
    """Satterthwaite's degrees of freedom of the robust variance, where runs vary as their weights say.

    One less than there are runs where all have one weight, and towards 1 the more a single one has. In units of the
    plain variance the residuals' covariance is 1 / share - 1 and, of two runs, -1; the variance is their squares'
    sum, weighted by share^2 / (1 - share).
    """
    by = share * share / left
    return 1 / float(share @ share + by @ _others(by))


def average(effects: list[float], confidence: Confidence, trials: int) -> Pooled | None:
    """Each run weighs the same, with Student's interval: for runs too small to say how sure each is.

    None with fewer than two, or where all are the same: that is no certainty.
    """
    count = len(effects)
    # as `pool` has it: squares of values near a double's end are no numbers
    unit = max(map(abs, effects), default=0.0)
    if count < 2 or min(effects) == max(effects):
        return None
    scaled = np.array(effects) / unit
    estimate, error = float(scaled.mean()), float(scaled.std(ddof=1)) / math.sqrt(count)
    reach = confidence.multiplier_of_runs(count, trials, count - 1) * error
    shift = _scaled(within(estimate, reach), unit)
    p = two_sided(estimate / error, count - 1) if confidence.fixed else None
    detectable = number_or_none((reach + power_of(count - 1) * error) * unit)
    return Pooled(count, shift, None, None, p, None, "plain average", detectable, float(count - 1))


def _p(estimate: float, error: float, plain: float, freedom: float) -> float:
    """Of the wider interval: what it leaves out both leave out."""
    return max(two_sided(estimate / error, freedom) if error else 0.0, two_sided(estimate / plain))


def _scaled(interval: Interval, unit: float) -> Interval:
    estimate, low, high = (
        math.nan if one is None else one * unit for one in (interval.estimate, interval.low, interval.high)
    )
    return finite(estimate, low, high)
