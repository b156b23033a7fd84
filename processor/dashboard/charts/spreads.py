"""How the values of a metric are spread in either arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from markupsafe import Markup

from processor.dashboard.charts.axes import ARMS, LOG, Axis, Power, counted, is_wide, name, quantile
from processor.dashboard.charts.brushes import SUCCEEDED, Area, Brush, brushable
from processor.dashboard.charts.scatter import as_number
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages.drawing import Scale, axis_x, element, spread
from processor.dashboard.queries.charts import Sampled

WIDTH, ROW, LEFT, RIGHT, BOTTOM = 960, 110, 150, 40, 30
BINS = 40
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Bounds(NamedTuple):
    """The range that the bins of all arms share: of logarithms where `log` is true."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        return math.log10(value) if self.log else value


class Spread(msgspec.Struct, frozen=True):
    """Of an arm in the sample: trials, finite values, quantiles at 5, 25, 50, 75, 95 %, values beyond the picture."""

    arm: bool
    trials: int
    finite: int
    quantiles: tuple[float, ...]
    outside: int
    bins: tuple[int, ...]


def spreads(trials: Sequence[Sampled], power: Power | None = None) -> tuple[list[Spread], Bounds | None]:
    """Of the arms, and the range that the bins share: all values of both, but for some far beyond all others, and
    those not above 0 where `power` asks for powers of ten.
    """
    values = {arm: sorted(_finite(trials, arm)) for arm, _, _ in ARMS}
    together = sorted([*values[True], *values[False]])
    if not together:
        return [], None
    bounds = _bounds(together, power)
    low, high, _ = bounds
    found = []
    for arm, _, _ in ARMS:
        bins = [0] * BINS
        placed = (bounds.place(one) for one in values[arm] if one > 0 or not bounds.log)
        inside = [one for one in placed if low <= one <= high]
        for one in inside:
            # halves: the difference of two doubles may be none
            share = (one / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.0
            bins[min(BINS - 1, int(share * BINS))] += 1
        mine = values[arm]
        shares = tuple(quantile(mine, share) for share in SHARES) if mine else ()
        size = sum(one.arm is arm for one in trials)
        found.append(Spread(arm, size, len(mine), shares, len(mine) - len(inside), tuple(bins)))
    return found, bounds


def _bounds(together: Sequence[float], power: Power | None) -> Bounds:
    """Of values in order. By powers of ten where those that are not far beyond all others span a thousandfold."""
    low, high = _range(together)
    above = [math.log10(one) for one in together if one > 0]
    if above and (power == "log" or (power is None and together[0] > 0 and is_wide(low, high))):
        return Bounds(*_range(above), log=True)
    return Bounds(low, high)


def _range(together: Sequence[float]) -> tuple[float, float]:
    """From the 1st to the 99th percentile, and to the end on a side that is no farther off than these are apart: the
    best trial is there, and one that diverged leaves the others their room.
    """
    low, high = quantile(together, 0.01), quantile(together, 0.99)
    half = high / 2 - low / 2
    least = together[0] if not half or low / 2 - together[0] / 2 <= half else low
    greatest = together[-1] if not half or together[-1] / 2 - high / 2 <= half else high
    return least, greatest


def _finite(trials: Sequence[Sampled], arm: bool) -> list[float]:
    return [found for one in trials if one.arm is arm and (found := as_number(one.value)) is not None]


def spread_picture(
    found: Sequence[Spread], bounds: Bounds | None, metric: str, path: Path | None = None
) -> Markup | None:
    """A histogram an arm, with its median and the middle half and nine tenths below it.

    With `path`, that of the metric, it can be brushed.
    """
    if bounds is None:
        return None
    height = ROW * len(found) + BOTTOM
    x = Axis(Scale(*spread(bounds[:2]), LEFT, WIDTH - RIGHT), bounds.log)
    parts = [axis_x(x.scale, height - BOTTOM, 4, x.marks())]
    most = max(max(one.bins) / max(1, one.finite) for one in found) or 1.0
    words = {arm: (cls, said) for arm, cls, said in ARMS}
    for at, one in enumerate(found):
        cls, said = words[one.arm]
        parts += _row(one, x, bounds, ROW * at + 6, most, cls)
        parts.append(element("text", said, x=0, y=ROW * at + 40, cls=cls))
        parts.append(element("text", counted(one.finite, "value"), x=0, y=ROW * at + 58))
    plot = Area(LEFT, 4, WIDTH - RIGHT - LEFT, height - BOTTOM - 4)
    brushes = [Brush(path, metric, "x", x.scale, plot.below(), x.log, also=SUCCEEDED)] if path else []
    log = LOG if x.log else ""
    return brushable(WIDTH, height, f"Values of {name(metric, 60)} by arm{log}", parts, brushes, plot)


def _row(one: Spread, x: Axis, bounds: Bounds, top: float, most: float, cls: str) -> list[Markup]:
    parts = []
    first, last = x.scale(bounds.low), x.scale(bounds.high)
    wide = (last - first) / BINS
    for at, size in enumerate(one.bins):
        if size:
            height = 70 * size / max(1, one.finite) / most
            parts.append(
                element(
                    "rect", x=first + at * wide, y=top + 70 - height, width=max(1.0, wide - 1), height=height, cls=cls
                )
            )
    if one.quantiles:
        q5, q25, q50, q75, q95 = (min(max(x(value), first), last) if x.has(value) else first for value in one.quantiles)
        y = top + 82
        parts.append(element("line", x1=q5, x2=q95, y1=y, y2=y, cls=f"{cls} whisker"))
        parts.append(element("rect", x=q25, y=y - 5, width=max(1.0, q75 - q25), height=10, cls=cls))
        parts.append(element("line", x1=q50, x2=q50, y1=y - 8, y2=y + 8, cls="zero"))
    return parts
