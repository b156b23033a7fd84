"""The k-th smallest of all differences between two samples, in n log n time and memory of n.

A million values make 250,000,000,000 differences. They are never made: how many are below a number is counted on the
sorted samples, numbers to try come from the same question of a sixteenth of each sample, then from differences drawn at
random between the bounds that are known, and when few are left between the bounds those few are made and sorted. The
answer is exact, whatever was tried.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from processor.dashboard.statistics.sample import Floats, Integers

#: so many differences are made at once rather than looked for, over all pairs and among those left: 0.5 MB, 8 MB
FEW, LEFT = 1 << 16, 1 << 20
#: differences drawn in a round; the bounds come closer by about the square root of it
FEWEST_DRAWN, MOST_DRAWN = 1 << 10, 1 << 16
#: the share of a sample by which the first numbers to try are told, and the least values that it has
THINNED, LEAST_THINNED = 16, 1 << 12
#: rounds after which bounds are halved instead, which always ends
ROUNDS = 40
#: numbers that are remembered for the next rank: 4 MB each for a million values
REMEMBERED = 8


class Tried(NamedTuple):
    """A number that is not the answer for some rank: of the differences of each x, `places` are below it, `below` in
    all; where it was too small, those that equal it are among them.
    """

    pivot: float
    too_small: bool
    places: Integers
    below: int


def both_sides(among: Floats, values: Floats) -> tuple[Integers, Integers]:
    """For each value how many of `among`, sorted, are below it, and how many are not above it."""
    below = np.searchsorted(among, values, "left")
    return below, not_above(among, values, below)


def not_above(among: Floats, values: Floats, below: Integers) -> Integers:
    """For each value how many of `among` are not above it, where it is known how many are below."""
    tied = np.flatnonzero(among[np.minimum(below, len(among) - 1)] == values)
    up_to = below.copy()
    up_to[tied] = np.searchsorted(among, values[tied], "right")
    return up_to


def turned(places: tuple[Integers, Integers], among: int) -> tuple[Integers, Integers]:
    """For each of so many `among` how many values are below it, and how many are not above it.

    `places` are those of the values, `both_sides` of them: a value is below the i-th where at most i are not above it.
    Counting is three times as fast as searching once more.
    """
    below, up_to = (np.cumsum(np.bincount(one, minlength=among + 1))[:among] for one in reversed(places))
    return below, up_to


def select_differences(x: Floats, y: Floats, ranks: list[int], tried: list[Tried] | None = None) -> list[float]:
    """For each rank (from 0) the y - x of that rank; both samples sorted, finite and not empty.

    `tried` is what searches among the same differences have found out, and is added to: ranks that are close to each
    other have the same bounds for the most part.
    """
    if len(x) * len(y) <= FEW:
        every = np.subtract.outer(y, x).ravel()
        every.partition(sorted(set(ranks)))
        return [float(every[rank]) for rank in ranks]
    tried = [] if tried is None else tried
    found = {rank: _Selection(x, y, rank, tried).find() for rank in dict.fromkeys(ranks)}
    return [found[rank] for rank in ranks]


class _Selection:
    """The search for one rank: the answer is above `low` and below `high`.

    Of the differences of each x, those with y from `first` up to `last` are between the bounds.
    """

    def __init__(self, x: Floats, y: Floats, rank: int, tried: list[Tried] | None = None) -> None:
        self._x, self._y, self._rank = x, y, rank
        self._low, self._high = -math.inf, math.inf
        self._first, self._last = np.zeros(len(x), dtype=np.int64), np.full(len(x), len(y), dtype=np.int64)
        self._random = np.random.default_rng(rank)
        root = math.isqrt(len(x) * len(y))
        self._drawn = min(max(4 * root, FEWEST_DRAWN), MOST_DRAWN)
        self._left = min(32 * root, LEFT)
        self._tried = [] if tried is None else tried
        for one in self._tried:
            self._take(one)

    def find(self) -> float:
        for pivot in self._guessed():
            if self._low < pivot < self._high and self._try(pivot):
                return pivot
        for _ in range(ROUNDS):
            count = np.maximum(self._last - self._first, 0)
            total = int(count.sum())
            if total <= self._left:
                return self._among(count, total)
            if (found := self._narrow(self._draw(count, total), total)) is not None:
                return found
        return self._halve()

    def _guessed(self) -> list[float]:
        """Two numbers that most likely enclose the answer, and hardly more differences than may be made at once.

        Of every sixteenth value, the same rank is off by about the power -3/2 of how many they are: what lies between
        two of them is even, and the values there differ from that as chance has it. Nothing where that saves nothing.
        """
        x, y = _thinned(self._x), _thinned(self._y)
        pairs, fewer = len(self._x) * len(self._y), len(x) * len(y)
        if 2 * fewer > pairs:
            return []
        off = math.ceil(2 * fewer * (len(x) ** -1.5 + len(y) ** -1.5))
        rank = (2 * self._rank + 1) * fewer // (2 * pairs)
        return select_differences(x, y, [max(rank - off, 0), min(rank + off, fewer - 1)])

    @property
    def _below(self) -> int:
        """How many differences are at most `low`."""
        return int(self._first.sum())

    def _among(self, count: Integers, total: int) -> float:
        if not total:  # the last digit of a sum and of a difference may disagree
            return self._high if math.isfinite(self._high) else self._low
        rows = np.repeat(np.arange(len(self._x)), count)
        places = np.arange(total) - np.repeat(np.cumsum(count) - count - self._first, count)
        left = self._y[places] - self._x[rows]
        rank = min(max(self._rank - self._below, 0), total - 1)
        return float(np.partition(left, rank)[rank])

    def _draw(self, count: Integers, total: int) -> Floats:
        ends = np.cumsum(count)
        drawn = np.sort(self._random.integers(0, total, self._drawn))
        rows = np.searchsorted(ends, drawn, "right")
        places = self._first[rows] + drawn - (ends[rows] - count[rows])
        return np.sort(self._y[places] - self._x[rows])

    def _narrow(self, drawn: Floats, total: int) -> float | None:
        """Tries the two drawn differences that most likely enclose the answer; the answer, where one of them is it."""
        expected = (self._rank - self._below) / total * len(drawn)
        margin = 1.5 * math.sqrt(len(drawn))
        for place in (expected - margin, expected + margin):
            pivot = float(drawn[int(min(max(place, 0), len(drawn) - 1))])
            if self._low < pivot < self._high and self._try(pivot):
                return pivot
        return None

    def _try(self, pivot: float) -> bool:
        """Whether this is the answer; else it is a bound from now on."""
        asked = self._x + pivot
        less = np.searchsorted(self._y, asked, "left")
        if (below := int(less.sum())) > self._rank:
            return self._remember(Tried(pivot, False, less, below))
        at_most = not_above(self._y, asked, less)
        if (below := int(at_most.sum())) > self._rank:
            return True
        return self._remember(Tried(pivot, True, at_most, below))

    def _remember(self, one: Tried) -> bool:
        if len(self._tried) < REMEMBERED:
            self._tried.append(one)
        self._take(one)
        return False

    def _take(self, one: Tried) -> None:
        """A bound, where it is one for this rank and closer than what is known."""
        if one.too_small and one.below <= self._rank and one.pivot > self._low:
            self._low, self._first = one.pivot, one.places
        if not one.too_small and one.below > self._rank and one.pivot < self._high:
            self._high, self._last = one.pivot, one.places

    def _halve(self) -> float:
        low = max(self._low, float(self._y[0] - self._x[-1]))
        high = min(self._high, float(self._y[-1] - self._x[0]))
        while low < (middle := low + (high - low) / 2) < high:
            if self._try(middle):
                return middle
            low, high = max(low, self._low), min(high, self._high)
        return high


def _thinned(values: Floats) -> Floats:
    """Every sixteenth, or as many as are enough, each from the middle of parts that are alike in size."""
    count = max(len(values) // THINNED, min(len(values), LEAST_THINNED))
    return values[(2 * np.arange(count) + 1) * len(values) // (2 * count)]
