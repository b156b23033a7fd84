"""How many standard errors an interval reaches to either side.

A fixed interval is right for one look. A page that is looked at all day needs one that is right at every look: the
asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Time-uniform central limit theory and
asymptotic confidence sequences, arXiv 2103.06476, theorem 2.2). Any estimate that is asymptotically a mean over n
trials with a standard error takes it in the normal quantile's place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import betaincinv, ndtri, stdtr, stdtrit

from processor.dashboard.statistics.results import Interval, Validity

#: an arm with fewer finite values gets its points shown and no interval: variances of so few say nothing
FEWEST = 10
#: with fewer runs nothing can be said about the next one
REPLICATED = 5
#: of what is there, how often it is to be shown
_POWER = 0.8
#: the number of trials for which an always-valid interval is made tightest: a small search, where it decides most
TIGHTEST = 200


class Confidence:
    """The multiplier of standard errors for a confidence (0.95) and a validity."""

    def __init__(self, level: float = 0.95, validity: Validity = "fixed") -> None:
        if not 0.5 <= level < 1:
            raise ValueError(f"a confidence of {level} is not between 0.5 and 1")
        self.level, self.validity = level, validity
        self.alpha = 1 - level
        self.z = float(ndtri(1 - self.alpha / 2))
        log = -2 * math.log(self.alpha)
        self._rho2 = (log + math.log(log) + 1) / TIGHTEST

    @property
    def fixed(self) -> bool:
        return self.validity == "fixed"

    def multiplier(self, trials: float, freedom: float = math.inf) -> float:
        """For an estimate over so many trials; `freedom` is that of Student's t, for a fixed interval alone."""
        if self.fixed:
            return self.z if math.isinf(freedom) else float(stdtrit(freedom, 1 - self.alpha / 2))
        spread = trials * self._rho2
        return math.sqrt(2 * (spread + 1) / spread * math.log(math.sqrt(spread + 1) / self.alpha))

    def multiplier_of_runs(self, runs: int, trials: int, freedom: float) -> float:
        """For an estimate over runs that differ among each other, so many `trials` in all; `freedom` is Student's.

        One that holds at every look must hold at each number of runs there has been: a share 1 / (k (k - 1)) of what
        may go wrong is spent on k of them, and all of these come to one.
        """
        if self.fixed:
            return self.multiplier(trials, freedom)
        spent = self.alpha / (runs * (runs - 1))
        return max(self.multiplier(trials), float(stdtrit(freedom, 1 - spent / 2)))

    def error_of(self, interval: Interval, trials: int) -> float:
        """The standard error that an interval over so many trials rests on; infinite where it has no bounds."""
        if interval.low is None or interval.high is None:
            return math.inf
        return (interval.high / 2 - interval.low / 2) / self.multiplier(trials, trials - 2)

    def detectable(self, interval: Interval, trials: int) -> float | None:
        """The effect, up or down, for which such an interval leaves out none four times in five; None without bounds.

        By the longer one of its sides: values with a long tail tell a shift one way more surely than the other.
        """
        if interval.estimate is None or interval.low is None or interval.high is None:
            return None
        reach = max(interval.high - interval.estimate, interval.estimate - interval.low)
        found = reach * (1 + power_of(trials - 2) / self.multiplier(trials, trials - 2))
        return found if math.isfinite(found) else None

    def around(self, estimate: float, error: float, trials: int, freedom: float = math.inf) -> Interval:
        """estimate -+ multiplier * standard error; no bounds where the error is not known."""
        if not math.isfinite(error):
            return Interval(estimate, None, None)
        return within(estimate, self.multiplier(trials, freedom) * error)


def number_or_none(value: float | None) -> float | None:
    """None where it is no number: what is made of values near a double's end may be beyond it."""
    return value if value is not None and math.isfinite(value) else None


def finite(estimate: float, low: float | None, high: float | None) -> Interval:
    """An interval of numbers only; no bounds without an estimate."""
    if number_or_none(estimate) is None:
        return Interval(None, None, None)
    return Interval(estimate, number_or_none(low), number_or_none(high))


def within(estimate: float, reach: float) -> Interval:
    """estimate -+ reach; no bounds that are no numbers."""
    if not (math.isfinite(estimate - reach) and math.isfinite(estimate + reach)):
        return Interval(estimate, None, None)
    return Interval(estimate, estimate - reach, estimate + reach)


def power_of(freedom: float) -> float:
    """Standard errors that an effect must be beyond an interval's reach to be shown four times in five."""
    return float(stdtrit(freedom, _POWER))


def two_sided(statistic: float, freedom: float = math.inf) -> float:
    """The p value of a statistic that is Student's t under the null hypothesis."""
    return float(2 * stdtr(min(freedom, 1e12), -abs(statistic)))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's: so many of what is below a threshold may be false, of several metrics or arms."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place], reverse=True)
    found = [1.0] * len(p_values)
    least = 1.0
    for rank, place in zip(range(len(p_values), 0, -1), order, strict=True):
        least = min(least, p_values[place] * len(p_values) / rank)
        found[place] = least
    return found


def beta_quantile(a: float, b: float, share: float) -> float:
    return float(betaincinv(a, b, share))
