"""One arm beside the reference: every figure of it, and what it takes to read them rightly.

A contrast depends on its two arms alone: what else is on the page changes no digit of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import NamedTuple

import msgspec
import numpy as np

from processor.dashboard.statistics import ranks
from processor.dashboard.statistics.balance import MARKED, balance
from processor.dashboard.statistics.budget import best_of
from processor.dashboard.statistics.intervals import FEWEST, Confidence
from processor.dashboard.statistics.pooling import per_run
from processor.dashboard.statistics.rates import rate_difference, wilson
from processor.dashboard.statistics.results import Better, Budget, Contrast, Effect, Imbalance, Interval, RateDifference
from processor.dashboard.statistics.sample import FAILED, OTHER, SUCCEEDED, Booleans, Floats, Parameter, Sample
from processor.dashboard.statistics.strata import Strata, stratified_rates, stratify

ESTIMAND = "the typical trial that succeeded with a finite value, of those that the filter holds"
#: more than so many parameters to match on leave nothing to match
MATCHED_PARAMETERS = 3
#: less than this share of the values in strata with both arms: the adjusted figure is about few
ENOUGH_MATCHED = 0.5


class Sides(NamedTuple):
    """The trials of both arms in a sample, and their finite values in order."""

    sample: Sample
    finite: Booleans
    reference: int
    other: int
    masks: tuple[Booleans, Booleans]
    values: tuple[Floats, Floats]

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.values[0]), len(self.values[1])


def sides_of(sample: Sample, reference: int, other: int) -> Sides:
    finite = sample.finite
    masks = sample.arm == reference, sample.arm == other
    values = np.sort(sample.value[masks[0] & finite]), np.sort(sample.value[masks[1] & finite])
    return Sides(sample, finite, reference, other, masks, values)


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
        effect, budget = by_values.result()
    found = Contrast(
        sample.arms[sides.reference],
        sample.arms[sides.other],
        estimand=ESTIMAND,
        verdict=_verdict(effect.superiority, better, sides.sizes),
        effect=effect,
        budget=budget,
        failures=rates[0],
        divergences=rates[1],
        per_run=per_run(sample, sides.finite, (sides.reference, sides.other), effect.shift, confidence),
        stratified=stratified,
        balance=balanced,
        warnings=(),
    )
    return msgspec.structs.replace(found, warnings=tuple(_warnings(found, sides, alike, confidence)))


def _by_values(sides: Sides, better: Better, confidence: Confidence) -> tuple[Effect, Budget]:
    """What both arms' values in order say, and how many trials of each ended with none."""
    without = [int((mask & ~sides.finite & (sides.sample.ending != OTHER)).sum()) for mask in sides.masks]
    arms = list(zip(sides.values, without, strict=True))
    return _effect(sides, better, confidence), best_of(arms[0], arms[1], better, confidence)


def _to_match(
    parameters: Sequence[Parameter], balanced: Sequence[Imbalance], matched: Sequence[str] | None
) -> list[Parameter]:
    if matched is None:
        # what differs without any overlap can't be matched on: the refusal then names it, by being asked for
        matched = [one.parameter for one in balanced if one.difference is not None and one.difference > MARKED]
        matched = matched[:MATCHED_PARAMETERS]
    return [one for one in parameters if one.name in matched]


def _effect(sides: Sides, better: Better, confidence: Confidence) -> Effect:
    x, y = sides.values
    mean = ranks.mean_difference(x, y, confidence)
    if not (len(x) and len(y)):
        nothing = Interval(None, None, None)
        return Effect(nothing, nothing, mean, None, None, None)
    found = ranks.superiority_of(x, y)
    enough = min(sides.sizes) >= FEWEST
    # of the spread within the arms: their difference is no part of what hides it
    sd = math.sqrt((float(x.var(ddof=1)) + float(y.var(ddof=1))) / 2) if enough else math.nan
    return Effect(
        shift=ranks.shift_interval(x, y, found, confidence),
        superiority=ranks.superiority_interval(found, min(sides.sizes), sum(sides.sizes), confidence),
        mean_difference=mean,
        worst_rank=_worst_rank(sides, better, confidence),
        detectable=ranks.detectable_shift(sd, sides.sizes, confidence),
        p=ranks.superiority_p(found, sides.sizes) if confidence.fixed and enough else None,
    )


def _worst_rank(sides: Sides, better: Better, confidence: Confidence) -> Interval | None:
    """P(other better), every trial that failed or has no finite value being worse than all that have one."""
    if better == "unknown":
        return None
    sample, sign = sides.sample, 1.0 if better == "higher" else -1.0
    score = np.where(sides.finite, sign * np.where(sides.finite, sample.value, 0.0), -np.inf)
    x, y = (np.sort(score[mask & (sample.ending != OTHER)]) for mask in sides.masks)
    if not (len(x) and len(y)):
        return None
    found = ranks.superiority_of(x, y)
    return ranks.superiority_interval(found, min(len(x), len(y)), len(x) + len(y), confidence)


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


def _verdict(superiority: Interval, better: Better, sizes: tuple[int, int]) -> str:
    """In words that a page shows as they are; the figures beside it are what it rests on."""
    if not all(sizes):
        return "an arm has no finite value"
    if superiority.low is None or superiority.high is None:
        return f"too few values: an interval takes {FEWEST} in each arm"
    if superiority.low <= 0.5 <= superiority.high:
        return "no difference is shown"
    higher = superiority.low > 0.5
    if better == "unknown":
        return "higher" if higher else "lower"
    return "better" if higher == (better == "higher") else "worse"


def _warnings(found: Contrast, sides: Sides, alike: Sides, confidence: Confidence) -> list[str]:
    """`alike` are the trials that are in strata."""
    warnings = []
    raw, adjusted = found.effect.superiority, found.stratified.superiority
    if adjusted is not None and _turns(raw, adjusted):
        warnings.append(
            "the sign changes: over all trials one arm has the larger values, among trials that are alike "
            f"({', '.join(found.stratified.by)}) the other has (Simpson's paradox)"
        )
    elif adjusted is not None and _leaves_out(raw, 0.5) and _leaves_out(adjusted, 0.5) is False:
        warnings.append(
            f"the difference is not shown among trials that are alike ({', '.join(found.stratified.by)}): it may come "
            "from what the arms differ in"
        )
    pooled = found.per_run.pooled
    if pooled is not None and _leaves_out(raw, 0.5) and _leaves_out(pooled.shift, 0.0) is False:
        warnings.append(
            f"the difference is not shown over the {pooled.runs} runs together: trials of one run are alike, and that "
            "there are many of them does not tell what another run would come to"
        )
    matched = found.stratified.matched_reference + found.stratified.matched_other
    if not found.stratified.refused and matched < ENOUGH_MATCHED * sum(alike.sizes):
        warnings.append(
            f"only {matched} of {sum(alike.sizes)} values are in strata with both arms: the rest is unmatched"
        )
    uneven = [one.parameter for one in found.balance if one.marked]
    if uneven:
        warnings.append(f"the arms differ in other parameters too: {', '.join(uneven[:5])}")
    if found.stratified.refused:
        warnings.append(found.stratified.refused)
    trials = [int(mask.sum()) for mask in sides.masks]
    share = wilson(trials[1], sum(trials), confidence)
    if share.low is not None and share.high is not None and not share.low <= 0.5 <= share.high:
        warnings.append(
            f"the arms are of unequal size, {trials[0]} and {trials[1]} trials: whoever chose them had a preference, "
            "which may have come from the results"
        )
    return warnings


def _leaves_out(interval: Interval, none: float) -> bool | None:
    """Whether it does not hold what would be no difference; None where there is no interval."""
    if interval.low is None or interval.high is None:
        return None
    return not interval.low <= none <= interval.high


def _turns(raw: Interval, adjusted: Interval) -> bool:
    """Whether the two are on different sides of 1/2, and one of them surely so."""
    if raw.estimate is None or adjusted.estimate is None:
        return False
    apart = (raw.estimate - 0.5) * (adjusted.estimate - 0.5) < 0
    return apart and any(_leaves_out(one, 0.5) for one in (raw, adjusted))
