"""Which figure a verdict goes by: the shift, or where values are few or tie often, P(other > reference).

The median of all differences is 0 where enough of them are 0, whatever the others are, and its interval then has no
width: two arms of which 50 and 60 of 100 succeed differ by 0 (0 to 0). P(other > reference), ties as halves, moves with
every trial; of two values it is 1/2 and half the difference of their shares.
"""

from __future__ import annotations

import numpy as np

from processor.dashboard.statistics.intervals import FEWEST, Confidence
from processor.dashboard.statistics.ranks import Superiority, superiority_interval
from processor.dashboard.statistics.rates import difference, wilson
from processor.dashboard.statistics.results import Interval, Leading
from processor.dashboard.statistics.sample import Floats

#: different values that are few, as strata have it, where each is there twice on average
FEW_VALUES = 10
#: the share of pairs that tie above which P(other > reference) may move by 0.05 before the shift does
TIED = 0.1


def leading_of(x: Floats, y: Floats, found: Superiority | None) -> Leading:
    """Of two sorted samples, and of what ranks say of them where both hold values."""
    if found is None:
        return "shift"
    most = min(FEW_VALUES, (len(x) + len(y)) // 2)
    return "superiority" if found.tied >= TIED or _are_at_most(most, x, y) else "shift"


def none_of(leading: Leading) -> float:
    """What the figure is where the arms don't differ."""
    return 0.0 if leading == "shift" else 0.5


def _are_at_most(most: int, *sides: Floats) -> bool:
    """Whether they hold so few different values in all; two that hold more are known by each for itself."""
    each = [side[np.r_[True, side[1:] != side[:-1]]] for side in sides]
    return all(len(one) <= most for one in each) and len(np.unique(np.concatenate(each))) <= most


def superiority_between(x: Floats, y: Floats, found: Superiority, confidence: Confidence) -> Interval:
    """P(other > reference) of two sorted samples; of two values with Newcombe's interval of a difference of shares.

    An arm that has but one of the two would have no variance at all in the usual one.
    """
    above = _above(x, y)
    if above is None or min(len(x), len(y)) < FEWEST:
        return superiority_interval(found, min(len(x), len(y)), len(x) + len(y), confidence)
    apart = difference(*(wilson(count, len(side), confidence) for count, side in zip(above, (x, y), strict=True)))
    low, high = (None if bound is None else 0.5 + bound / 2 for bound in (apart.low, apart.high))
    return Interval(found.probability, low, high)


def _above(x: Floats, y: Floats) -> tuple[int, int] | None:
    """How many of each have the larger one of at most two values; None where there are more."""
    least, most = min(x[0], y[0]), max(x[-1], y[-1])
    counts = [len(side) - int(np.searchsorted(side, least, "right")) for side in (x, y)]
    if any(count and side[-count] != most for count, side in zip(counts, (x, y), strict=True)):
        return None
    return counts[0], counts[1]
