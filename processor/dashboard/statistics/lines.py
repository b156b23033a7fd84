"""The best so far of an arm, and how its trials ended over time, of all of them in arrays; pure.

What is drawn is few points, however many trials there are: a line that is exact wherever a screen could show it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.dashboard.statistics.sample import FAILED, OTHER, SUCCEEDED, Booleans, Floats, Integers

#: parts of an arm's trials, each of which shows the last trial in it that was better than all before
PARTS = 400
_LARGEST = 2**63 - 1


class Trials(NamedTuple):
    """All trials of a filter, one entry of each array a trial, in no order.

    `at` is in microseconds of any clock; `id` are 16 bytes, by which trials of one moment are ordered; `value` is NaN
    where there is no finite number; `ending` as in `statistics.sample`.
    """

    id: NDArray[Any]
    at: Integers
    arm: Booleans
    ending: Integers
    duration_ms: Integers
    value: Floats


class Mark(NamedTuple):
    """A trial that beat all of its arm before it, or the arm's last: `row` is its place in the arrays.

    `best` is that of the arm's first `place` trials, which took `cost_ms` together; None before the first value.
    """

    row: int
    arm: bool
    place: int
    cost_ms: float
    best: float | None
    last: bool


class Span(NamedTuple):
    """Trials of an arm in a span of time, from `at` on and before `until`; `ended` succeeded or failed."""

    at: int
    until: int
    arm: bool
    trials: int
    ended: int
    failed: int


def best_so_far(trials: Trials, *, higher: bool) -> list[Mark]:
    """By arm and place: the last mark in each of `PARTS` parts of the arm's trials, and its last trial."""
    return [mark for arm in (False, True) for mark in _marks(trials, arm, higher=higher)]


def _marks(trials: Trials, arm: bool, *, higher: bool) -> list[Mark]:
    rows = _in_order(trials, np.flatnonzero(trials.arm == arm))
    count = len(rows)
    if not count:
        return []
    value = np.where(trials.ending[rows] == SUCCEEDED, trials.value[rows], np.nan)
    best = (np.fmax if higher else np.fmin).accumulate(value)
    before = np.r_[np.nan, best[:-1]]
    better = np.flatnonzero((best > before if higher else best < before) | (np.isnan(before) & ~np.isnan(best)))
    better = better[better < count - 1]
    shown = better[np.flatnonzero(np.diff(better * PARTS // count, append=PARTS))]
    places = [*shown.tolist(), count - 1]
    costs = _added(trials.duration_ms[rows])
    return [
        Mark(int(rows[at]), arm, at + 1, float(costs[at]), None if np.isnan(best[at]) else float(best[at]), last)
        for at, last in zip(places, [False] * len(shown) + [True], strict=True)
    ]


def _in_order(trials: Trials, rows: Integers) -> Integers:
    """These rows by time and id. They come nearly in order, which a stable sort is quick with; ids decide few."""
    at = trials.at[rows]
    order = np.argsort(at, kind="stable")
    at, rows = at[order], rows[order]
    same = at[1:] == at[:-1]
    tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    if len(tied):
        ids = np.frombuffer(trials.id[rows[tied]].tobytes(), dtype=">u8").reshape(-1, 2).astype(np.uint64)
        rows[tied] = rows[tied][np.lexsort((ids[:, 1], ids[:, 0], at[tied]))]
    return rows


def _added(durations: Integers) -> NDArray[Any]:
    """Sums up to each place, exact however large: beyond 64 bits as Python's integers."""
    if len(durations) * float(np.abs(durations.astype(float)).max(initial=0)) < _LARGEST / 2:
        return np.cumsum(durations)
    return np.cumsum(durations.astype(object))


def endings(trials: Trials, spans: int) -> list[Span]:
    """By time and arm, in at most `spans` + 1 spans of whole seconds from the first trial on."""
    if not len(trials.at):
        return []
    first, last = int(trials.at.min()), int(trials.at.max())
    width = max(1, -(-(last - first) // (spans * 1_000_000))) * 1_000_000
    cells = (trials.at - first) // width * 2 + trials.arm
    ended, failed = trials.ending != OTHER, trials.ending == FAILED
    counts = [np.bincount(cells[mask] if mask is not None else cells, minlength=2 * (spans + 1)).tolist()
              for mask in (None, ended, failed)]  # fmt: skip
    return [
        Span(at := first + cell // 2 * width, at + width, cell % 2 == 1, *each)
        for cell, each in enumerate(zip(*counts, strict=True))
        if each[0]
    ]


def least(keys: Integers, ids: NDArray[Any], most: int) -> Integers:
    """The rows of the `most` least keys; of equal ones those with the least ids."""
    if len(keys) <= most:
        return np.arange(len(keys))
    bound = np.partition(keys, most - 1)[most - 1]
    rows = np.flatnonzero(keys <= bound)
    halves = np.frombuffer(ids[rows].tobytes(), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return np.asarray(rows[np.lexsort((halves[:, 1], halves[:, 0], keys[rows]))[:most]])
