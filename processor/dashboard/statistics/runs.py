"""The effect within each run, and what they come to together: trials of one run are alike, as those of two are not."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np

from processor.dashboard.statistics.intervals import FEWEST, REPLICATED, Confidence
from processor.dashboard.statistics.leading import TIED, none_of, superiority_between
from processor.dashboard.statistics.pooling import average, pool
from processor.dashboard.statistics.ranks import shift_interval, superiority_of
from processor.dashboard.statistics.results import Effect, Interval, Leading, PerRun, Pooled, RunEffect, figure_of
from processor.dashboard.statistics.sample import Booleans, Floats, Integers, Sample
from processor.dashboard.statistics.strata import sort_by_group

#: effects that are handed on one by one; the pooled one is over all
SHOWN = 200
#: of runs, that are worth so few of one weight, it is told
FEW_WEIGH_MOST = 0.6
ONE_SEARCH = "within one search: nothing here says what another run would show"
_NOTHING = Interval(None, None, None)


class Run(NamedTuple):
    """Its place in `Sample.runs`, its finite values by arm, what they say, and the share of pairs that tie."""

    run: int
    sizes: tuple[int, int]
    shift: Interval
    superiority: Interval
    tied: float

    def error(self, leading: Leading, confidence: Confidence) -> float:
        return confidence.error_of(figure_of(self, leading), sum(self.sizes))


def runs_of(
    sample: Sample, finite: Booleans, arms: tuple[int, int], whole: Effect, confidence: Confidence
) -> list[Run]:
    """Those that have finite values of both arms.

    `whole` is the effect over all runs: where there is but one, it is not made twice.
    """
    reference, other = arms
    chosen = np.flatnonzero(finite & ((sample.arm == reference) | (sample.arm == other)))
    run, arm = sample.run[chosen], sample.arm[chosen] == other
    if len(run) and run.min() == run.max() and not arm.all() and arm.any():
        return [Run(int(run[0]), (int((~arm).sum()), int(arm.sum())), whole.shift, whole.superiority, 0.0)]
    return _runs(run, arm, sample.value[chosen], confidence)


def leading_within(runs: list[Run], leading: Leading) -> Leading:
    """Which figure leads: values that are many over all runs, since those differ, may be few in each."""
    pairs = [one.sizes[0] * one.sizes[1] for one in runs]
    tied = sum(one.tied * weight for one, weight in zip(runs, pairs, strict=True))
    return "superiority" if pairs and tied >= TIED * sum(pairs) else leading


def per_run(sample: Sample, arms: tuple[int, int], runs: list[Run], leading: Leading, confidence: Confidence) -> PerRun:
    """The effect in each run, the runs with most values first, and what they come to together."""
    reference, other = arms
    all_runs = int((np.bincount(sample.run[(sample.arm == reference) | (sample.arm == other)]) > 0).sum())
    pooled, share, notes = _pooled(runs, leading, confidence)
    runs = sorted(runs, key=lambda one: -sum(one.sizes))
    if len(runs) > SHOWN:
        notes.append(f"the {SHOWN} runs with most values are listed, {len(runs)} have both arms")
    effects = tuple(
        RunEffect(sample.runs[one.run], *one.sizes, one.shift, share.get(one.run, 0.0), one.superiority)
        for one in runs[:SHOWN]
    )
    return PerRun(effects, pooled, all_runs, len(runs), tuple(notes))


def _runs(run: Integers, arm: Booleans, value: Floats, confidence: Confidence) -> list[Run]:
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
    return [_run(one, parts[2 * one], parts[2 * one + 1], confidence) for one in runs]


def _run(run: int, x: Floats, y: Floats, confidence: Confidence) -> Run:
    found = superiority_of(x, y)
    shift, superiority = shift_interval(x, y, found, confidence), superiority_between(x, y, found, confidence)
    return Run(run, (len(x), len(y)), shift, superiority, found.tied)


def _pooled(
    runs: list[Run], leading: Leading, confidence: Confidence
) -> tuple[Pooled | None, dict[int, float], list[str]]:
    """What they come to together, each run's share of it, and what is to be said of it."""
    usable = [one for one in runs if math.isfinite(one.error(leading, confidence))]
    notes = _notes(runs, usable)
    if len(usable) < REPLICATED <= len(runs):
        pooled = _in_its_unit(average(_effects(runs, leading), confidence, _trials(runs)), runs, leading, confidence)
        return pooled, dict.fromkeys((one.run for one in runs), 1 / len(runs)) if pooled else {}, notes
    errors = [one.error(leading, confidence) for one in usable]
    if 0.0 in errors and any(errors):
        notes.append("a run whose values are all tied counts as one of the most precise other")
    found, weights = pool(_effects(usable, leading), _floored(errors), confidence, _trials(usable))
    share = {one.run: weight for one, weight in zip(usable, weights, strict=True)}
    if found is not None and found.runs > 2 and found.freedom + 1 < FEW_WEIGH_MOST * found.runs:
        notes.append(
            f"a few of these {found.runs} runs weigh most: together they tell as much of the next one as "
            f"{found.freedom + 1:.1f} runs of the same weight, and the interval is as wide as that"
        )
    return _in_its_unit(found, usable, leading, confidence), share, notes


def _effects(runs: list[Run], leading: Leading) -> list[float]:
    """As differences from none."""
    none = none_of(leading)
    return [
        none if one.estimate is None else one.estimate - none for one in (figure_of(each, leading) for each in runs)
    ]


def _trials(runs: list[Run]) -> int:
    return sum(sum(one.sizes) for one in runs)


def _floored(errors: list[float]) -> list[float]:
    """A run whose differences are all tied has no error, and counts as one of the most precise other."""
    least = min((one for one in errors if one > 0), default=0.0)
    return [max(one, least) for one in errors]


def _in_its_unit(found: Pooled | None, runs: list[Run], leading: Leading, confidence: Confidence) -> Pooled | None:
    """Where P(other > reference) leads, what was pooled is it; the shift is then pooled beside it, where it can be."""
    if found is None or leading == "shift":
        return found
    bounds = found.shift.estimate, found.shift.low, found.shift.high
    superiority = Interval(*(None if one is None else min(max(one + 0.5, 0.0), 1.0) for one in bounds))
    errors = [one.error("shift", confidence) for one in runs]
    if not all(map(math.isfinite, errors)):
        return msgspec.structs.replace(found, shift=_NOTHING, superiority=superiority)
    beside, _ = pool(_effects(runs, "shift"), _floored(errors), confidence, _trials(runs))
    shift = _NOTHING if beside is None else beside.shift
    return msgspec.structs.replace(found, shift=shift, superiority=superiority)


def _have(runs: int) -> str:
    return "1 run has" if runs == 1 else f"{runs} runs have"


def _notes(runs: list[Run], usable: list[Run]) -> list[str]:
    notes = []
    if len(runs) == 1:
        notes.append(ONE_SEARCH)
    elif len(runs) < REPLICATED:
        notes.append(
            f"{_have(len(usable))} at least {FEWEST} finite values in both arms: few to say it of the next run"
        )
    if len(usable) < REPLICATED <= len(runs):
        notes.append(
            f"fewer than {REPLICATED} runs have {FEWEST} finite values in both arms, which an interval of a run takes: "
            "each run with both arms weighs the same, whatever its size"
        )
    elif len(usable) < len(runs):
        few = len(runs) - len(usable)
        notes.append(f"{_have(few)} too few values in an arm for an interval: not in the pooled figure")
    return notes
