"""The effects of runs as one: runs are the unit of replication.

Random effects by DerSimonian and Laird; the interval is the wider one of Hartung's and Knapp's and the plain one
(hybrid 2 of Jackson, Law, Ruecker and Schwarzer, Statistics in Medicine 36, 2017). Hartung's and Knapp's counts that
runs are few; where those agree by chance it has next to no width, and the plain one is what is left.
"""

from __future__ import annotations

import math

import numpy as np

from processor.dashboard.statistics.intervals import Confidence, power_of, two_sided, within
from processor.dashboard.statistics.results import Interval, Pooled


def pool(
    effects: list[float], errors: list[float], confidence: Confidence, trials: int
) -> tuple[Pooled | None, list[float]]:
    """The pooled effect of effects with standard errors, and each one's share of it; None with fewer than two, or
    without any error.
    """
    count = len(effects)
    if count < 2 or not min(errors) > 0:
        return None, [1.0 / count] * count if count else []
    # in units of the most precise one: squares of values near a double's end, or of tiny ones, are no numbers
    unit = min(errors)
    effect, variance = np.array(effects) / unit, np.square(np.array(errors) / unit)
    fixed = 1 / variance
    spread = float(fixed @ (effect - fixed @ effect / fixed.sum()) ** 2)
    scale = float(fixed.sum() - (fixed**2).sum() / fixed.sum())
    tau2 = max(0.0, (spread - (count - 1)) / scale)
    weights = 1 / (variance + tau2)
    total = float(weights.sum())
    estimate = float(weights @ effect) / total
    hartung = float(weights @ (effect - estimate) ** 2) / (count - 1)
    plain, error = math.sqrt(1 / total), math.sqrt(hartung / total)
    reach = max(confidence.multiplier_of_runs(count, trials) * error, confidence.multiplier(trials) * plain)
    shift = _scaled(within(estimate, reach), unit)
    i2 = max(0.0, 1 - (count - 1) / spread) if spread else 0.0
    p = _p(estimate, error, plain, count) if confidence.fixed else None
    detectable = (reach + power_of(count - 1) * max(error, plain)) * unit
    found = Pooled(count, shift, tau2 * unit * unit, i2, p, None, "random effects", detectable)
    return found, [float(one) / total for one in weights]


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
    reach = confidence.multiplier_of_runs(count, trials) * error
    shift = _scaled(within(estimate, reach), unit)
    p = two_sided(estimate / error, count - 1) if confidence.fixed else None
    detectable = (reach + power_of(count - 1) * error) * unit
    return Pooled(count, shift, None, None, p, None, "plain average", detectable)


def _p(estimate: float, error: float, plain: float, count: int) -> float:
    """Of the wider interval: what it leaves out both leave out."""
    return max(two_sided(estimate / error, count - 1) if error else 0.0, two_sided(estimate / plain))


def _scaled(interval: Interval, unit: float) -> Interval:
    estimate, low, high = (
        None if one is None else one * unit for one in (interval.estimate, interval.low, interval.high)
    )
    return Interval(estimate, low, high)
