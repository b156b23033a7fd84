"""One arm beside the reference: every figure of it, and what it takes to read them rightly.

A contrast depends on its two arms alone: what else is on the page changes no digit of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import NamedTuple

import msgspec
import numpy as np

from processor.dashboard.statistics import ranks
from processor.dashboard.statistics.balance import MARKED, balance
from processor.dashboard.statistics.budget import best_of
from processor.dashboard.statistics.cautions import warnings_of
from processor.dashboard.statistics.intervals import FEWEST, Confidence
from processor.dashboard.statistics.leading import leading_of, superiority_between
from processor.dashboard.statistics.rates import rate_difference
from processor.dashboard.statistics.results import (
    Better,
    Budget,
    Contrast,
    Effect,
    Imbalance,
    Interval,
    Leading,
    RateDifference,
)
from processor.dashboard.statistics.runs import leading_within, per_run, runs_of
from processor.dashboard.statistics.sample import FAILED, OTHER, SUCCEEDED, Booleans, Floats, Parameter
from processor.dashboard.statistics.sides import Sides, sides_of
from processor.dashboard.statistics.strata import Strata, stratified_rates, stratify
from processor.dashboard.statistics.verdicts import decide, estimand

#: more than so many parameters to match on leave nothing to match
MATCHED_PARAMETERS = 3


def contrast(sides: Sides, better: Better, confidence: Confidence, matched: Sequence[str] | None = None) -> Contrast:
    """`matched` names the parameters to match on; None: the least balanced, at most three."""
    sample = sides.sample
    with ThreadPoolExecutor(1) as beside:
        # the values alone take as long as all the rest, and numpy lets both go on for the most part; which of its
        # warnings are off is in the context
        by_values = beside.submit(copy_context().run, _by_values, sides, better, confidence)
        told = sides if sample.looked is None else sides_of(sample.detailed(), sides.reference, sides.other)
        balanced = balance(list(told.sample.parameters), *told.masks)
        to_match = _to_match(told.sample.parameters, balanced, matched)
        alike = told if to_match else sides
        strata = Strata(alike.sample, to_match)
        stratified = stratify(strata, alike.sample.value, alike.finite, *alike.masks, confidence)
        rates = [_rates(rate, sides, alike, strata, confidence) for rate in _RATES]
        leading, effect, budget = by_values.result()
    arms = sides.reference, sides.other
    within = runs_of(sample, sides.finite, arms, effect, confidence)
    leading = leading_within(within, leading)
    if leading == "superiority":  # a shift is no figure of such values
        detectable = confidence.detectable(effect.mean_difference, sum(sides.sizes))
        effect = msgspec.structs.replace(effect, detectable=detectable)
    runs = per_run(sample, arms, within, leading, confidence)
    decided = decide(effect, runs, leading, better, sides.sizes)
    found = Contrast(
        sample.arms[sides.reference],
        sample.arms[sides.other],
        estimand=estimand(decided.by, leading),
        verdict=decided.word,
        leading=leading,
        decided_by=decided.by,
        effect=effect,
        budget=budget,
        failures=rates[0],
        divergences=rates[1],
        per_run=runs,
        stratified=stratified,
        balance=balanced,
        warnings=(),
    )
    return msgspec.structs.replace(found, warnings=tuple(warnings_of(found, decided, sides, alike, confidence)))


def _by_values(sides: Sides, better: Better, confidence: Confidence) -> tuple[Leading, Effect, Budget]:
    """What both arms' values in order say, and how many trials of each ended with none."""
    without = [int((mask & ~sides.finite & (sides.sample.ending != OTHER)).sum()) for mask in sides.masks]
    arms = list(zip(sides.values, without, strict=True))
    found = ranks.superiority_of(*sides.values) if all(sides.sizes) else None
    worst = None if found is None else _worst_rank(arms, found, better, confidence)
    leading, effect = leading_of(*sides.values, found), _effect(sides, found, worst, confidence)
    return leading, effect, best_of(arms[0], arms[1], better, confidence)


def _to_match(
    parameters: Sequence[Parameter], balanced: Sequence[Imbalance], matched: Sequence[str] | None
) -> list[Parameter]:
    if matched is None:
        # what differs without any overlap can't be matched on: the refusal then names it, by being asked for
        matched = [one.parameter for one in balanced if one.difference is not None and one.difference > MARKED]
        matched = matched[:MATCHED_PARAMETERS]
    return [one for one in parameters if one.name in matched]


def _effect(sides: Sides, found: ranks.Superiority | None, worst: Interval | None, confidence: Confidence) -> Effect:
    """`found`: what ranks say of the values, where both arms have some; `worst`: of those that have none as well."""
    x, y = sides.values
    mean = ranks.mean_difference(x, y, confidence)
    if found is None:
        nothing = Interval(None, None, None)
        return Effect(nothing, nothing, mean, None, None, None)
    enough = min(sides.sizes) >= FEWEST
    shift = ranks.shift_interval(x, y, found, confidence)
    return Effect(
        shift=ranks.holding_none(shift, found, sum(sides.sizes), confidence),
        superiority=superiority_between(x, y, found, confidence),
        mean_difference=mean,
        worst_rank=worst,
        detectable=confidence.detectable(shift, sum(sides.sizes)),
        p=ranks.superiority_p(found, sides.sizes) if confidence.fixed and enough else None,
    )


def _worst_rank(
    arms: Sequence[tuple[Floats, int]], found: ranks.Superiority, better: Better, confidence: Confidence
) -> Interval | None:
    """P(other better), every trial that failed or has no finite value being worse than all that have one.

    `arms` are (finite values in order, trials that ended with none), `found` what the values alone say.
    """
    if better == "unknown":
        return None
    x, y = (
        np.r_[np.full(without, -np.inf), values if better == "higher" else -values[::-1]] for values, without in arms
    )
    alone = better == "higher" and not any(without for _, without in arms)
    return superiority_between(x, y, found if alone else ranks.superiority_of(x, y), confidence)


class _Rate(NamedTuple):
    """A kind of event: of which trials it is counted, and which of them it befell."""

    what: str
    of: Callable[[Sides], tuple[Booleans, Booleans]]


def _failed(sides: Sides) -> tuple[Booleans, Booleans]:
    return sides.sample.ending != OTHER, sides.sample.ending == FAILED


def _diverged(sides: Sides) -> tuple[Booleans, Booleans]:
    numbers = (sides.sample.ending == SUCCEEDED) & sides.sample.has_value
    return numbers, numbers & ~sides.finite


_RATES = (
    _Rate("failed of those that succeeded or failed", _failed),
    _Rate("NaN or infinite of those that succeeded with a number", _diverged),
)


def _rates(rate: _Rate, sides: Sides, alike: Sides, strata: Strata, confidence: Confidence) -> RateDifference:
    """Of all trials; within strata of those that are in them."""
    among, event = rate.of(sides)
    shares = [(int((mask & event & among).sum()), int((mask & among).sum())) for mask in sides.masks]
    if alike is not sides:
        among, event = rate.of(alike)
    chosen = among & (alike.masks[0] | alike.masks[1])
    stratified = None
    if all(trials for _, trials in shares) and event[chosen].any():
        stratified = stratified_rates(strata.codes[chosen], alike.masks[1][chosen], event[chosen], confidence)
        stratified = None if stratified.estimate is None else stratified
    return rate_difference(rate.what, shares[0], shares[1], stratified, confidence)
