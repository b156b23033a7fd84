"""Runs as the unit of replication: the shift within each, and what they come to together.

Random effects by DerSimonian and Laird; the interval is Hartung's and Knapp's, never narrower than the plain one
(Roever, Knapp, Friede, BMC Medical Research Methodology 15, 2015): runs are few, and differ among each other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from processor.dashboard.statistics.intervals import FEWEST, Confidence, two_sided
from processor.dashboard.statistics.ranks import shift_interval, superiority_of
from processor.dashboard.statistics.results import Interval, PerRun, Pooled, RunEffect
from processor.dashboard.statistics.sample import Booleans, Floats, Integers, Sample
from processor.dashboard.statistics.strata import sort_by_group

#: with fewer runs nothing can be said about the next one
REPLICATED = 5
#: effects that are handed on one by one; the pooled one is over all
SHOWN = 200
ONE_SEARCH = "within one search: nothing here says what another run would show"


class _RunShift(NamedTuple):
    run: int
    sizes: tuple[int, int]
    shift: Interval
    error: float


def per_run(sample: Sample, finite: Booleans, arms: tuple[int, int], whole: Interval, confidence: Confidence) -> PerRun:
    """The effect in each run that has finite values of both arms, the runs with most of them first.

    `whole` is the shift over all runs: where there is but one, it is not made twice.
    """
    reference, other = arms
    chosen = np.flatnonzero(finite & ((sample.arm == reference) | (sample.arm == other)))
    all_runs = int((np.bincount(sample.run[(sample.arm == reference) | (sample.arm == other)]) > 0).sum())
    run, arm = sample.run[chosen], sample.arm[chosen] == other
    if len(run) and run.min() == run.max() and not arm.all() and arm.any():
        shifts = [_weighed(int(run[0]), (int((~arm).sum()), int(arm.sum())), whole, confidence)]
    else:
        shifts = _shifts(run, arm, sample.value[chosen], confidence)
    usable = [one for one in shifts if math.isfinite(one.error)]
    notes = _notes(shifts, usable)
    pooled, weights = pool(
        [float(one.shift.estimate or 0) for one in usable],
        _floored(usable),
        confidence,
        sum(sum(s.sizes) for s in usable),
    )
    share = {one.run: weight for one, weight in zip(usable, weights, strict=True)}
    shifts.sort(key=lambda one: -sum(one.sizes))
    if len(shifts) > SHOWN:
        notes.append(f"the {SHOWN} runs with most values are listed, {len(shifts)} are in the pooled figure")
    effects = tuple(
        RunEffect(sample.runs[run], reference, other, shift, share.get(run, 0.0))
        for run, (reference, other), shift, _ in shifts[:SHOWN]
    )
    return PerRun(effects, pooled, all_runs, len(shifts), tuple(notes))


def _shifts(run: Integers, arm: Booleans, value: Floats, confidence: Confidence) -> list[_RunShift]:
    if not len(run):
        return []  # no trial of any run has a finite value
    group = 2 * run + arm
    order = np.argsort(value, kind="stable")
    order = order[sort_by_group(group[order])]
    groups, starts = np.unique(group[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    values = value[order]
    parts = {code: values[begin:end] for code, begin, end in zip(groups.tolist(), starts.tolist(), ends, strict=True)}
    runs = [code // 2 for code in parts if code % 2 and code - 1 in parts]
    return [_shift(one, parts[2 * one], parts[2 * one + 1], confidence) for one in runs]


def _shift(run: int, x: Floats, y: Floats, confidence: Confidence) -> _RunShift:
    return _weighed(run, (len(x), len(y)), shift_interval(x, y, superiority_of(x, y), confidence), confidence)


def _weighed(run: int, sizes: tuple[int, int], shift: Interval, confidence: Confidence) -> _RunShift:
    if shift.low is None or shift.high is None:
        return _RunShift(run, sizes, shift, math.inf)
    reach = confidence.multiplier(sum(sizes), sum(sizes) - 2)
    return _RunShift(run, sizes, shift, (shift.high - shift.low) / 2 / reach)


def _floored(usable: list[_RunShift]) -> list[float]:
    """Standard errors; a run whose differences are all tied has none, and counts as one of the most precise other."""
    least = min((one.error for one in usable if one.error > 0), default=0.0)
    return [max(one.error, least) for one in usable]


def _have(runs: int) -> str:
    return "1 run has" if runs == 1 else f"{runs} runs have"


def _notes(shifts: list[_RunShift], usable: list[_RunShift]) -> list[str]:
    notes = []
    if len(shifts) == 1:
        notes.append(ONE_SEARCH)
    elif len(usable) < REPLICATED:
        notes.append(
            f"{_have(len(usable))} at least {FEWEST} finite values in both arms: few to say it of the next run"
        )
    if len(usable) < len(shifts):
        few = len(shifts) - len(usable)
        notes.append(f"{_have(few)} too few values in an arm for an interval: not in the pooled figure")
    if any(not one.error for one in usable):
        notes.append("a run whose values are all tied counts as one of the most precise other")
    return notes


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
    error = math.sqrt(max(1.0, hartung) / total)
    shift = _scaled(confidence.around_runs(estimate, error, count, trials), unit)
    i2 = max(0.0, 1 - (count - 1) / spread) if spread else 0.0
    p = two_sided(estimate / error, count - 1) if confidence.fixed else None
    return Pooled(count, shift, tau2 * unit * unit, i2, p), [float(one) / total for one in weights]


def _scaled(interval: Interval, unit: float) -> Interval:
    estimate, low, high = (
        None if one is None else one * unit for one in (interval.estimate, interval.low, interval.high)
    )
    return Interval(estimate, low, high)
