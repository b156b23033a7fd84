"""The share of trials that failed, over time, by arm."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from processor.dashboard.charts.axes import ARMS, key, moments
from processor.dashboard.charts.brushes import FIRST_SEEN, Area, Brush, brushable
from processor.dashboard.pages.drawing import Scale, axis_x, axis_y, element, points_of, ticks
from processor.dashboard.queries.charts import Endings
from processor.dashboard.statistics.intervals import Confidence
from processor.dashboard.statistics.rates import wilson

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 240, 70, 40, 24, 28
PLOT = Area(LEFT, TOP, WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP)


def failures_picture(rows: Sequence[Endings]) -> Markup | None:
    """A line an arm with Wilson's intervals, each in the middle of its span of time, which can be brushed.

    Spans without an ending have no mark. None where nothing has ended.
    """
    ended = [one for one in rows if one.ended]
    if not ended:
        return None
    confidence = Confidence()
    shares = [(one, wilson(one.failed, one.ended, confidence)) for one in ended]
    first, last = min(one.at for one in ended), max(one.until for one in ended)
    x = Scale(first.timestamp(), last.timestamp(), LEFT, WIDTH - RIGHT)
    y = Scale(0.0, max(found.high or 0.0 for _, found in shares) or 1.0, HEIGHT - BOTTOM, TOP)
    parts = [
        axis_y(y, LEFT, WIDTH - RIGHT, [(one, _percent(one)) for one in ticks(y.low, y.high)]),
        axis_x(x, HEIGHT - BOTTOM, TOP, moments(x, 6)),
        key(LEFT, 14),
    ]
    for place, (arm, cls, _) in enumerate(ARMS):
        line = []
        for one, found in shares:
            if one.arm is arm and found.estimate is not None and found.low is not None and found.high is not None:
                there = x((one.at.timestamp() + one.until.timestamp()) / 2) + 4 * place
                line.append((there, y(found.estimate)))
                parts.append(
                    element("line", x1=there, x2=there, y1=y(found.low), y2=y(found.high), cls=f"{cls} whisker")
                )
        parts.append(element("polyline", points=points_of(line), cls=cls))
        parts += [element("circle", cx=at, cy=there, r=3, cls=cls) for at, there in line]
    time = Brush(FIRST_SEEN, "time first seen", "x", x, PLOT.below(), kind="time")
    return brushable(WIDTH, HEIGHT, "Share of trials that failed, over time, by arm", parts, [time], PLOT)


def _percent(share: float) -> str:
    """A round one, of 0..1."""
    return f"{100 * share:.4g} %"
