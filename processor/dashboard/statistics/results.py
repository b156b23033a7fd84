"""What a comparison comes to, as frozen values that are JSON as they stand.

Differences are `other` less `reference`, in the metric's unit; probabilities and shares lie in 0..1. None stands for
what can't be said, and a note says why. Nothing here is rounded.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

Better = Literal["higher", "lower", "unknown"]
#: fixed: for one look, at a number of trials that the figures themselves did not choose. always: whenever one looks
Validity = Literal["fixed", "always"]
#: the figure that a verdict goes by: the shift, or where values are few or tie often, P(other > reference)
Leading = Literal["shift", "superiority"]


class Interval(msgspec.Struct, frozen=True):
    """`estimate` within `low`..`high`; None where the data set no bound on that side."""

    estimate: float | None
    low: float | None
    high: float | None


class Direction(msgspec.Struct, frozen=True):
    """Which values of a metric are better, and how that is known: from the caller, from its name, or not at all."""

    better: Better
    because: str


class LeftOut(msgspec.Struct, frozen=True):
    """Trials that some figure does not have in it: how many, of which arm (None: any), and why."""

    arm: str | None
    count: int
    why: str


class ArmSummary(msgspec.Struct, frozen=True):
    """One arm. `trials` are all of it; `succeeded` ended well; the moments are of the `finite` values alone.

    `not_finite` are NaN and infinite values, `missing` trials that succeeded and have no number there. `quantiles` are
    (share, value). `mean` has an interval of its own.
    """

    arm: str
    trials: int
    succeeded: int
    failed: int
    other: int
    finite: int
    not_finite: int
    missing: int
    mean: Interval
    median: float | None
    sd: float | None
    least: float | None
    greatest: float | None
    quantiles: tuple[tuple[float, float], ...]


class RateDifference(msgspec.Struct, frozen=True):
    """A share in both arms (Wilson), and their difference (Newcombe), raw and within strata."""

    what: str
    reference: Interval
    other: Interval
    difference: Interval
    stratified: Interval | None


class BudgetPoint(msgspec.Struct, frozen=True):
    """What the best of `k` trials of an arm comes to, failed ones being part of the budget.

    `median` is exact for independent trials; `expected` is over draws with at least one value; `nothing` is the
    probability of a draw without any.
    """

    k: int
    reference: Interval
    other: Interval
    difference: Interval
    expected_reference: float | None
    expected_other: float | None
    nothing_reference: float
    nothing_other: float


class Budget(msgspec.Struct, frozen=True):
    """The best of k by equal number of trials; `points` by growing k, none where there is no direction."""

    points: tuple[BudgetPoint, ...]
    notes: tuple[str, ...]


class Imbalance(msgspec.Struct, frozen=True):
    """How differently a parameter is spread in the arms: standardised difference, and the shares that lack it.

    `difference` is None where both arms hold one value each, and not the same: they share nothing.
    """

    parameter: str
    kind: Literal["numeric", "categorical"]
    difference: float | None
    missing_reference: float
    missing_other: float
    marked: bool


class Figures(Protocol):
    """What a verdict may go by."""

    @property
    def shift(self) -> Interval: ...
    @property
    def superiority(self) -> Interval: ...


def figure_of(found: Figures, leading: Leading) -> Interval:
    """The one that leads."""
    return found.shift if leading == "shift" else found.superiority


class RunEffect(msgspec.Struct, frozen=True):
    """One run that has both arms; `weight` is its share of the pooled effect, 0 where it is not in it."""

    run: str
    reference_finite: int
    other_finite: int
    shift: Interval
    weight: float
    superiority: Interval


class Pooled(msgspec.Struct, frozen=True):
    """Runs as the unit of replication, by the `method` that is named.

    `superiority` is there where it leads, and then the spread between runs (`tau2`, `i2` in 0..1), `p` and `detectable`
    are of it, else of the shift. A plain average knows no `tau2`, `i2`. `detectable` is the effect that so many runs
    would show with a power of 80 %, as a difference from none. `freedom` are the degrees of freedom: one less than as
    many runs of one weight tell as much, from 1 (a single one weighs nearly all) to `runs` - 1.
    """

    runs: int
    shift: Interval
    tau2: float | None
    i2: float | None
    p: float | None
    superiority: Interval | None
    method: Literal["random effects", "plain average"]
    detectable: float | None
    freedom: float

    @property
    def figure(self) -> Interval:
        """Of the one that leads."""
        return self.shift if self.superiority is None else self.superiority


class PerRun(msgspec.Struct, frozen=True):
    """The forest: one effect a run, and what they come to together; None where fewer than two runs have an interval."""

    effects: tuple[RunEffect, ...]
    pooled: Pooled | None
    runs: int
    runs_with_both: int
    notes: tuple[str, ...]


class Stratified(msgspec.Struct, frozen=True):
    """The effect among trials that are alike, beside the raw one over all.

    `by` names what makes a stratum. Only strata with both arms count; `matched_*` say how many finite values those
    hold. `refused` is a sentence where nothing overlaps, and then there are no estimates.
    """

    by: tuple[str, ...]
    strata: int
    strata_with_both: int
    matched_reference: int
    matched_other: int
    mean_difference: Interval | None
    superiority: Interval | None
    refused: str | None


class Effect(msgspec.Struct, frozen=True):
    """The typical trial: `shift` is Hodges-Lehmann's, `superiority` is P(other > reference), ties as halves.

    `worst_rank` is P(other better than reference) where trials that failed or diverged are worse than all others: what
    leaving them out would hide. `p` is of Brunner and Munzel's test; None where it was not asked at one fixed moment.
    `detectable` is the shift that so many trials would show with a power of 80 %; the difference of means, where
    P(other > reference) leads.
    """

    shift: Interval
    superiority: Interval
    mean_difference: Interval
    worst_rank: Interval | None
    detectable: float | None
    p: float | None


class Contrast(msgspec.Struct, frozen=True):
    """One arm beside the reference.

    `verdict` is what the interval of the figure that is `leading` says: over the runs where those decide, else over the
    trials together.
    """

    reference: str
    other: str
    estimand: str
    verdict: str
    leading: Leading
    decided_by: Literal["runs", "trials"]
    effect: Effect
    budget: Budget
    failures: RateDifference
    divergences: RateDifference
    per_run: PerRun
    stratified: Stratified
    balance: tuple[Imbalance, ...]
    warnings: tuple[str, ...]

    @property
    def deciding_p(self) -> float | None:
        """Of what the verdict goes by: the runs together, or all trials; None where that has none."""
        if self.decided_by == "trials":
            return self.effect.p
        return None if self.per_run.pooled is None else self.per_run.pooled.p


class Comparison(msgspec.Struct, frozen=True):
    """All arms of a parameter, and each other one beside the reference.

    `adjusted_p` are the p values that the contrasts' verdicts go by (`deciding_p`), as Benjamini and Hochberg adjust
    them, in their order; None where there is none.
    """

    parameter: str
    metric: str
    direction: Direction
    validity: Validity
    confidence: float
    trials: int
    arms: tuple[ArmSummary, ...]
    contrasts: tuple[Contrast, ...]
    adjusted_p: tuple[float | None, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
