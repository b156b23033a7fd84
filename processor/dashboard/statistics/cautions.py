"""What to read before the figures of a contrast: where they disagree, and where the comparison is not fair."""

from __future__ import annotations

from collections.abc import Iterator

from processor.dashboard.statistics.intervals import Confidence
from processor.dashboard.statistics.leading import none_of
from processor.dashboard.statistics.rates import wilson
from processor.dashboard.statistics.results import Contrast, Interval, figure_of
from processor.dashboard.statistics.sides import Sides
from processor.dashboard.statistics.verdicts import Decided

#: less than this share of the values in strata with both arms: the adjusted figure is about few
ENOUGH_MATCHED = 0.5
#: parameters that a sentence names
NAMED = 5


def warnings_of(found: Contrast, decided: Decided, sides: Sides, alike: Sides, confidence: Confidence) -> Iterator[str]:
    """`alike` are the trials that are in strata."""
    yield from _disagreements(found, decided)
    matched = found.stratified.matched_reference + found.stratified.matched_other
    if not found.stratified.refused and matched < ENOUGH_MATCHED * sum(alike.sizes):
        yield f"only {matched} of {sum(alike.sizes)} values are in strata with both arms: the rest is unmatched"
    uneven = [one.parameter for one in found.balance if one.marked]
    if uneven:
        rest = f" and {len(uneven) - NAMED} more" if len(uneven) > NAMED else ""
        yield f"the arms differ in other parameters too: {', '.join(uneven[:NAMED])}{rest}"
    if found.stratified.refused:
        yield found.stratified.refused
    trials = [int(mask.sum()) for mask in sides.masks]
    share = wilson(trials[1], sum(trials), confidence)
    if share.low is not None and share.high is not None and not share.low <= 0.5 <= share.high:
        yield (
            f"the arms are of unequal size, {trials[0]} and {trials[1]} trials: whoever chose them had a preference, "
            "which may have come from the results"
        )


def _disagreements(found: Contrast, decided: Decided) -> Iterator[str]:
    """Between all trials, those that are alike, and the runs."""
    raw, adjusted, pooled = found.effect.superiority, found.stratified.superiority, found.per_run.pooled
    none = none_of(found.leading)
    by_trials = bool(_leaves_out(figure_of(found.effect, found.leading), none))
    by = ", ".join(found.stratified.by)
    if adjusted is not None and _turns(raw, adjusted):
        yield (
            "the sign changes: over all trials one arm has the larger values, among trials that are alike "
            f"({by}) the other has (Simpson's paradox)"
        )
    elif adjusted is not None and (by_trials or decided.differs) and _leaves_out(adjusted, 0.5) is False:
        yield (
            f"the difference is not shown among trials that are alike ({by}): it may come from what the arms differ in"
        )
    if pooled is None:
        return
    by_runs = _leaves_out(pooled.figure, none)
    if by_trials and by_runs is False:
        yield (
            "the trials together show a difference, but it is not shown over the "
            f"{pooled.runs} runs together: trials of one run are alike, and that there are many of them does not tell "
            "what another run would come to"
        )
    elif decided.by == "runs" and by_runs and not by_trials:
        yield (
            f"the {pooled.runs} runs show a difference within them, the trials of all runs together do not: the arms "
            "were not tried alike in all runs, or runs differ more than arms do"
        )


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
