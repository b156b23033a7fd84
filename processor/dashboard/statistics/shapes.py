"""What charts are drawn from: as many points as a screen has room for, of however many trials; pure.

Each says how many trials it holds and how many it left out, and why.
"""

from __future__ import annotations

import msgspec
import numpy as np

from processor.dashboard.statistics.results import Better
from processor.dashboard.statistics.sample import Floats, Sample

#: columns of a history: more than a screen has pixels for two marks each
COLUMNS = 400
BINS = 40
#: a distribution's range, so that one outlier does not squeeze all the others into one bin
ROBUST = (0.01, 0.99)


class Step(msgspec.Struct, frozen=True):
    """A trial that was better than all before it: which one it was (from 1), when (seconds since 1970), its value."""

    place: int
    at: float
    value: float


class BestSoFar(msgspec.Struct, frozen=True):
    arm: str | None
    steps: tuple[Step, ...]
    finite: int
    left_out: int


class HistoryColumn(msgspec.Struct, frozen=True):
    """The trials from `first` to `last` (from 1, in order of time): the least, greatest and mean of their values."""

    first: int
    last: int
    finite: int
    least: float | None
    greatest: float | None
    mean: float | None


class Distribution(msgspec.Struct, frozen=True):
    """Counts of one arm in bins that all arms share; `below` and `above` are outside of the edges."""

    arm: str
    counts: tuple[int, ...]
    below: int
    above: int
    not_finite: int


class Distributions(msgspec.Struct, frozen=True):
    edges: tuple[float, ...]
    arms: tuple[Distribution, ...]


class Scatter(msgspec.Struct, frozen=True):
    """Counts of trials by (row, column) of a grid over both values, those alone that hold any; what lies outside.

    Cells are (column, row, trials). `left_out` lack one of the two, or it is not finite.
    """

    x_edges: tuple[float, ...]
    y_edges: tuple[float, ...]
    cells: tuple[tuple[int, int, int], ...]
    outside: int
    left_out: int


def scatter(x: Floats, y: Floats, bins: int = BINS, *, robust: bool = True) -> Scatter:
    """A million points as at most `bins` * `bins` cells; NaN stands for a value that is not there."""
    both = np.isfinite(x) & np.isfinite(y)
    if not both.any():
        return Scatter((), (), (), 0, len(x))
    edges = [_edges(side[both], bins, robust) for side in (x, y)]
    places = [np.searchsorted(edge, side[both], "right") - 1 for edge, side in zip(edges, (x, y), strict=True)]
    # the last bin has its upper edge in it
    places = [
        np.where(side[both] == edge[-1], len(edge) - 2, place)
        for place, edge, side in zip(places, edges, (x, y), strict=True)
    ]
    inside = (places[0] >= 0) & (places[0] < len(edges[0]) - 1) & (places[1] >= 0) & (places[1] < len(edges[1]) - 1)
    codes, counts = np.unique(places[0][inside] * bins + places[1][inside], return_counts=True)
    cells = zip((codes // bins).tolist(), (codes % bins).tolist(), counts.tolist(), strict=True)
    sides = [tuple(map(float, edge)) for edge in edges]
    return Scatter(sides[0], sides[1], tuple(cells), int((~inside).sum()), int((~both).sum()))


def _edges(values: Floats, bins: int, robust: bool) -> Floats:
    low, high = np.quantile(values, ROBUST if robust else (0, 1))
    if not high > low:
        low, high, bins = np.nextafter(low, -np.inf), np.nextafter(high, np.inf), 1
    # in quarters: the range of doubles is no double
    return np.asarray(np.linspace(low / 4, high / 4, bins + 1) * 4)


def best_so_far(sample: Sample, better: Better, *, by_arm: bool = False) -> tuple[BestSoFar, ...]:
    """The steps of each arm, or of all trials; none where nobody knows which values are better."""
    if better == "unknown":
        return ()
    codes = range(len(sample.arms)) if by_arm else (None,)
    found = []
    for code in codes:
        mine = np.flatnonzero(sample.arm == code) if code is not None else np.arange(len(sample.arm))
        mine = mine[np.argsort(sample.order[mine], kind="stable")]
        finite = sample.finite[mine]
        values = np.where(finite, sample.value[mine] * (1 if better == "higher" else -1), -np.inf)
        best = np.maximum.accumulate(values) if len(values) else values
        steps = np.flatnonzero(best > np.r_[-np.inf, best[:-1]]) if len(values) else np.empty(0, dtype=np.int64)
        found.append(
            BestSoFar(
                None if code is None else sample.arms[code],
                tuple(
                    Step(int(step) + 1, float(sample.order[mine[step]]), float(sample.value[mine[step]]))
                    for step in steps
                ),
                int(finite.sum()),
                int((~finite).sum()),
            )
        )
    return tuple(found)


def history(sample: Sample, columns: int = COLUMNS) -> tuple[HistoryColumn, ...]:
    """Trials in the order of time, in columns of equally many."""
    order = np.argsort(sample.order, kind="stable")
    finite, value = sample.finite[order], sample.value[order]
    found = []
    for part in np.array_split(np.arange(len(order)), min(columns, len(order)) or 1):
        if not len(part):
            continue
        values = value[part][finite[part]]
        figures = [_finite(one) for one in (values.min(), values.max(), values.mean())] if len(values) else [None] * 3
        found.append(HistoryColumn(int(part[0]) + 1, int(part[-1]) + 1, len(values), *figures))
    return tuple(found)


def distributions(sample: Sample, bins: int = BINS, *, robust: bool = True) -> Distributions:
    """Of each arm, in bins over all finite values, or over 98 % of them."""
    finite = sample.finite & (sample.arm >= 0)
    if not finite.any():
        return Distributions((), ())
    edges = _edges(sample.value[finite], bins, robust)
    arms = tuple(_distribution(sample, code, edges) for code in range(len(sample.arms)))
    return Distributions(tuple(map(float, edges)), arms)


def _distribution(sample: Sample, code: int, edges: Floats) -> Distribution:
    mine = sample.arm == code
    values = sample.value[mine & sample.finite]
    inside = values[(values >= edges[0]) & (values <= edges[-1])]
    places = np.clip(np.searchsorted(edges, inside, "right") - 1, 0, len(edges) - 2)
    counts = np.bincount(places, minlength=len(edges) - 1)
    return Distribution(
        sample.arms[code],
        tuple(map(int, counts)),
        int((values < edges[0]).sum()),
        int((values > edges[-1]).sum()),
        int((mine & sample.has_value & (sample.ending == 0) & ~np.isfinite(sample.value)).sum()),
    )


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
