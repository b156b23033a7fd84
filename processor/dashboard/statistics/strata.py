"""The effect among trials that are alike: of one run, of one phase of it, of similar parameters.

A sampler that comes to prefer an arm tries it later and with better parameters; a run that is easy may hold more of it.
Within a stratum that is so for both arms. Strata weigh n1 * n2 / (n1 + n2), which is what they say about a difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from processor.dashboard.statistics.intervals import FEWEST, Confidence
from processor.dashboard.statistics.ranks import LEAST_SPREAD, Superiority, superiority_interval
from processor.dashboard.statistics.rates import difference, wilson
from processor.dashboard.statistics.results import Interval, Stratified
from processor.dashboard.statistics.sample import Booleans, Floats, Integers, Parameter, Sample

#: a run is cut into five phases, where each then has at least 20 trials
PHASES, TRIALS_OF_A_PHASE = 5, 20
#: coarsened exact matching: numbers fall into so many bins of equal size
BINS = 5
#: numbers of a parameter that is no measure but a choice, each a level of its own
LEVELS = 10
_NONE = Interval(None, None, None)


class Strata:
    """Which stratum each trial of a sample is in (`codes`, from 0), and by what (`by`)."""

    def __init__(self, sample: Sample, parameters: Sequence[Parameter] = ()) -> None:
        parts = [sample.run, _phases(sample.run, sample.order)]
        names = ["run", "phase of the run"]
        for one in parameters:
            parts.append(_coarse(one))
            names.append(one.name)
        self.codes = _combined(parts)
        self.by = tuple(names)


def _phases(run: Integers, order: Floats) -> Integers:
    """Which fifth of its run a trial is in, by the order of its trials; coarser in small runs.

    Trials of one moment, as those of one batch are, go together to where the first of them belongs: nothing says which
    of them ran before which.
    """
    places = np.argsort(order, kind="stable")
    places = places[sort_by_group(run[places])]
    sizes = np.bincount(run) if len(run) else np.empty(0, dtype=np.int64)
    within = np.empty(len(run), dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    moment, of_run = order[places], run[places]
    first = np.r_[True, (moment[1:] != moment[:-1]) | (of_run[1:] != of_run[:-1])][: len(run)]
    within[places] = np.flatnonzero(first)[np.cumsum(first) - 1] - np.repeat(starts, sizes)
    phases = np.clip(sizes // TRIALS_OF_A_PHASE, 1, PHASES)
    return np.asarray(within * phases[run] // sizes[run])


def _coarse(parameter: Parameter) -> Integers:
    """The level of a categorical parameter, or of a numeric one with few, else its bin; 0 where it is missing.

    By quantiles alone the two least of few levels would be one where less than a fifth of the trials have the least.
    """
    if parameter.numbers is None:
        return np.asarray(parameter.levels, dtype=np.int64) + 1
    finite = np.isfinite(parameter.numbers)
    if not finite.any():
        return np.zeros(len(finite), dtype=np.int64)
    values = parameter.numbers[finite]
    edges = _few_levels(values)
    if edges is None:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.where(finite, np.searchsorted(edges, parameter.numbers, "left") + 1, 0)


def _few_levels(values: Floats) -> Floats | None:
    """The different ones, where there are at most `LEVELS`; most others are known by their first ones already."""
    if len(np.unique(values[:1000])) > LEVELS:
        return None
    levels = np.unique(values)
    return levels if len(levels) <= LEVELS else None


def _combined(parts: list[Integers]) -> Integers:
    """One code for each combination that there is."""
    codes = parts[0]
    for part in parts[1:]:
        joined = codes * (int(part.max(initial=0)) + 1) + part
        codes = compact(joined)
    return codes


def compact(codes: Integers) -> Integers:
    """The place of each code among the different ones; those that are not large are counted and need no sorting."""
    most = int(codes.max(initial=-1)) + 1
    if most > max(4 * len(codes), 1 << 16):
        return np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return np.asarray((np.cumsum(np.bincount(codes, minlength=most) > 0) - 1)[codes], dtype=np.int64)


def stratify(
    strata: Strata, values: Floats, finite: Booleans, reference: Booleans, other: Booleans, confidence: Confidence
) -> Stratified:
    """`reference` and `other` are the trials of the two arms; those of them that are `finite` have a value."""
    chosen = finite & (reference | other)
    codes = compact(strata.codes[chosen])
    arm, value = other[chosen], values[chosen]
    counts = [np.bincount(codes[side], minlength=int(codes.max(initial=-1)) + 1) for side in (~arm, arm)]
    both = (counts[0] > 0) & (counts[1] > 0)
    matched = [int(side[both].sum()) for side in counts]
    means, superiority = None, None
    if both.any():
        inside = both[codes]
        columns = (codes, arm, value) if both.all() else (compact(codes[inside]), arm[inside], value[inside])
        means, superiority = stratified_mean(*columns, confidence), _stratified_superiority(*columns, confidence)
    return Stratified(
        by=strata.by,
        strata=len(both),
        strata_with_both=int(both.sum()),
        matched_reference=matched[0],
        matched_other=matched[1],
        mean_difference=means,
        superiority=superiority,
        refused=None if both.any() else _refusal(strata.by),
    )


def _refusal(by: tuple[str, ...]) -> str:
    return (
        f"no stratum (by {', '.join(by)}) holds values of both arms: what differs between the arms can't be told from "
        "the arms themselves, so there is no adjusted figure"
    )


def stratified_mean(codes: Integers, arm: Booleans, values: Floats, confidence: Confidence) -> Interval:
    """Difference of means within strata: least squares, an intercept each, errors robust to unequal spread (HC1)."""
    count, strata = len(values), int(codes.max(initial=-1)) + 1
    sizes = np.bincount(codes, minlength=strata)
    arms = arm - (np.bincount(codes, arm, strata) / sizes)[codes]
    rest = values - (np.bincount(codes, values, strata) / sizes)[codes]
    weight = float(arms @ arms)
    if not weight:
        return _NONE
    estimate = float(arms @ rest) / weight
    freedom = count - strata - 1
    if not math.isfinite(estimate) or freedom < FEWEST:
        return Interval(estimate if math.isfinite(estimate) else None, None, None)
    residual = (rest - estimate * arms) * arms
    error = math.sqrt(float(residual @ residual) * count / freedom) / weight
    return confidence.around(estimate, error, count, freedom)


def _sizes(codes: Integers, arm: Booleans, strata: int) -> Floats:
    """Trials of the reference and of the other arm, by stratum."""
    return np.stack([np.bincount(codes[side], minlength=strata) for side in (~arm, arm)]).astype(float)


def _weights(sizes: Floats) -> Floats:
    """n1 * n2 / (n1 + n2) of each stratum, which come to one."""
    weights = sizes[0] * sizes[1] / sizes.sum(axis=0)
    return np.asarray(weights / weights.sum())


def stratified_rates(codes: Integers, arm: Booleans, event: Booleans, confidence: Confidence) -> Interval:
    """Difference of shares within strata, in bounds that a difference of shares has.

    Each arm's share is that of its strata, weighed as means are; Wilson's interval takes the number of trials that
    would tell it as exactly, Newcombe's hybrid both (Yan and Su, Statistics in Biopharmaceutical Research 2, 2010).
    All None where no stratum holds both arms.
    """
    strata = int(codes.max(initial=-1)) + 1
    sizes = _sizes(codes, arm, strata)
    events = np.stack([np.bincount(codes[side & event], minlength=strata) for side in (~arm, arm)])
    both = sizes.min(axis=0, initial=np.inf) > 0
    if not both.any():
        return _NONE
    sizes, events = sizes[:, both], events[:, both]
    weights = _weights(sizes)
    told = 1 / np.square(weights).dot((1 / sizes).T)
    shares = (events / sizes) @ weights
    sides = [
        wilson(float(share * trials), float(trials), confidence) for share, trials in zip(shares, told, strict=True)
    ]
    return difference(*sides)


def _stratified_superiority(codes: Integers, arm: Booleans, values: Floats, confidence: Confidence) -> Interval:
    """P(other > reference) for two trials of one stratum; spreads of placements are pooled over the strata by arm."""
    strata = int(codes.max(initial=-1)) + 1
    sizes = _sizes(codes, arm, strata)
    order = np.argsort(values)
    placed = midranks(codes, values, order) - midranks(2 * codes + arm, values, order)
    placed /= sizes[(~arm).astype(np.int64), codes]
    per = np.bincount(codes[arm], placed[arm], strata) / sizes[1]
    weights = _weights(sizes)
    estimate = float(weights @ per)
    centre = np.where(arm, per[codes], 1 - per[codes])
    variance = 0.0
    for side, size in ((~arm, sizes[0]), (arm, sizes[1])):
        freedom = int(side.sum()) - strata
        if freedom < FEWEST:
            return Interval(estimate, None, None)
        # trials of two arms that don't overlap in a stratum are all placed alike, which is no certainty
        spread = max(float(np.square(placed[side] - centre[side]).sum()), LEAST_SPREAD) / freedom
        variance += spread * float((weights**2 / size).sum())
    if per[0] in (0.0, 1.0) and (per == per[0]).all():  # one arm is above in all strata: as `ranks` has it
        smaller = int(min(arm.sum(), (~arm).sum()))
        return superiority_interval(Superiority(float(per[0]), 0.0, math.inf), smaller, len(values), confidence)
    found = confidence.around(estimate, math.sqrt(variance), len(values))
    return Interval(estimate, max(0.0, found.low or 0.0), min(1.0, found.high if found.high is not None else 1.0))


def midranks(groups: Integers | NDArray[np.uint16], values: Floats, order: NDArray[np.intp]) -> Floats:
    """The rank (from 1) of each value among those of its group, the mean of ranks where values tie.

    `order` sorts the values; sorting it once more by group keeps that, and costs no comparison of doubles.
    """
    groups = narrowed(groups)
    places = order[sort_by_group(groups[order])]
    group, value = groups[places], values[places]
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    ties = np.flatnonzero(np.r_[True, (group[1:] != group[:-1]) | (value[1:] != value[:-1])])
    lengths = np.diff(np.r_[ties, len(value)])
    begins = starts[np.searchsorted(starts, ties, "right") - 1]
    ranks = np.empty(len(values))
    ranks[places] = np.repeat(ties - begins + (lengths + 1) / 2, lengths)
    return ranks


def sort_by_group(groups: Integers | NDArray[np.uint16]) -> NDArray[np.intp]:
    """A stable order by group; 16 bits are sorted by radix, ten times as fast as 64 by comparison."""
    return np.argsort(narrowed(groups), kind="stable")


def narrowed(groups: Integers | NDArray[np.uint16]) -> Integers | NDArray[np.uint16]:
    """In 16 bits, where that is enough: a quarter of the memory."""
    few = len(groups) and int(groups.max()) < 1 << 16
    return groups.astype(np.uint16, copy=False) if few else groups
