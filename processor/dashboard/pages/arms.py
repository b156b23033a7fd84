"""A comparison in pictures: the forest of the runs, the best of k and the balance, as SVG."""

from __future__ import annotations

import math

from markupsafe import Markup

from processor.dashboard.charts import axes
from processor.dashboard.pages.drawing import (
    Scale,
    axis_x,
    axis_y,
    element,
    picture,
    points_of,
    spread,
    ticks,
    whisker,
)
from processor.dashboard.pages.rendering import interval, number, share, signed
from processor.dashboard.statistics.leading import none_of
from processor.dashboard.statistics.results import Budget, Contrast, Interval, Leading, PerRun, figure_of

WIDTH = 800
#: characters of a run's, an arm's or a parameter's name in a picture
NAME = 26
#: pixels that such names have beside a picture's plot, and of a run's name with its sizes characters that they hold
LEFT = 220
NAMED, SHORTEST = 31, 8
FIGURES = 240
ROW = 24
#: rows of a forest that are drawn; the table below it has all that are handed on
DRAWN = 40
SERIES = ("without", "with")


#: of the figure that leads: what heads its column, how it is written
_LED: dict[Leading, tuple[str, str]] = {"shift": ("shift", "signed"), "superiority": ("has the larger value", "share")}


def forest(per_run: PerRun, leading: Leading, other: str, reference: str) -> Markup:
    """A line a run, the pooled one last; right of no difference the other arm has the larger values."""
    head, how = _LED[leading]
    rows = [
        (one.run, figure_of(one, leading), one.weight, f"{one.reference_finite} / {one.other_finite}")
        for one in per_run.effects[:DRAWN]
    ]
    pooled = per_run.pooled
    intervals = [found for _, found, _, _ in rows] + ([] if pooled is None else [pooled.figure])
    bounds = [end for one in intervals for end in (one.estimate, one.low, one.high) if end is not None]
    none = none_of(leading)
    x = Scale(*spread(bounds, around=none), LEFT, WIDTH - FIGURES)
    top, height = 24.0, 24 + ROW * len(intervals) + 28
    parts = [
        element("text", "run (values in each arm)", x=0, y=14),
        element("text", head, x=WIDTH, y=14, text_anchor="end"),
        axis_x(x, height - 26, top, [(one, _marked(one, how)) for one in ticks(x.low, x.high)]),
        element("line", x1=x(none), x2=x(none), y1=top, y2=float(height - 26), cls="zero"),
    ]
    y = top + ROW / 2
    for run, found, weight, sizes in rows:
        size = 3 + 6 * math.sqrt(weight)
        name = axes.name(run, max(SHORTEST, NAMED - len(sizes)))
        parts += _forest_row(x, y, f"{name} ({sizes})", found, how, size)
        y += ROW
    if pooled is not None:
        parts += _forest_row(x, y, f"{pooled.runs} runs together", pooled.figure, how)
    what = "Shift" if leading == "shift" else "How often the value is larger"
    title = f"{what} from {axes.name(reference, NAME)} to {axes.name(other, NAME)} within each run, and over all"
    return picture(WIDTH, height, title, *parts)


def _marked(place: float, how: str) -> str:
    return share(place) if how == "share" else number(place)


def _forest_row(x: Scale, y: float, name: str, found: Interval, how: str, size: float = 0) -> list[Markup]:
    """A square of a run's weight, or without a size the diamond of all."""
    cls = "one" if size else "pooled"
    parts = [element("text", name, x=0, y=y + 4, cls="name")]
    if found.estimate is None:
        return parts
    if found.low is not None or found.high is not None:
        parts.append(whisker(x, y, found.low, found.high, cls))
    at = x(found.estimate)
    if size:
        parts.append(element("rect", x=at - size / 2, y=y - size / 2, width=size, height=size, cls=cls))
    else:
        corners = points_of([(at - 7, y), (at, y - 7), (at + 7, y), (at, y + 7)])
        parts.append(element("polygon", points=corners, cls=cls))
    short = Interval(*(None if end is None else float(f"{end:.3g}") for end in (found.estimate, found.low, found.high)))
    shown = {"share": share, "signed": signed}[how](short.estimate)
    bounds = interval(short, how)
    parts.append(element("text", f"{shown} ({bounds})" if bounds else f"{shown}, too few", x=WIDTH, y=y + 4,
                         text_anchor="end"))  # fmt: skip
    return parts


#: of a number of trials below the axis, with room beside it
STEP_WIDTH = 34


def best_of(budget: Budget, reference: str, other: str) -> Markup:
    """The median best of k trials of each arm with its band, k growing by decades."""
    height, left, bottom = 260, 70, 36
    points = budget.points
    known = [arm.estimate for point in points for arm in (point.reference, point.other) if arm.estimate is not None]
    x = Scale(0.0, math.log10(max(point.k for point in points)) or 1.0, left, WIDTH - 130)
    y = Scale(*_window(known), height - bottom, 12)
    steps = _apart([point.k for point in points if str(point.k)[0] in "15" or len(points) < 8], x)
    parts = [
        axis_y(y, left, x.last, [(one, number(one)) for one in ticks(y.low, y.high)]),
        axis_x(x, height - bottom, 12, [(math.log10(k), number(k)) for k in steps]),
        element("text", "trials of each arm", x=(x.first + x.last) / 2, y=height - 4, text_anchor="middle"),
    ]
    ends = []
    for cls in SERIES:
        of_arm = [(point.k, point.reference if cls == "without" else point.other) for point in points]
        line = [(x(math.log10(k)), y(arm.estimate)) for k, arm in of_arm if arm.estimate is not None]
        for k, arm in of_arm:
            if arm.estimate is not None:
                shifted = x(math.log10(k)) + (3 if cls == "with" else -3)
                low, high = (y(_clipped(y, arm.estimate if end is None else end)) for end in (arm.low, arm.high))
                parts.append(element("line", x1=shifted, x2=shifted, y1=low, y2=high, cls=f"{cls} whisker"))
        parts.append(element("polyline", points=points_of(line), cls=cls))
        ends.append(line[-1] if line else (x.last, y.first))
    # names beside the lines' ends, apart from each other
    upper = 0 if ends[0][1] <= ends[1][1] else 1
    names = reference, other
    first = min(ends[upper][1] + 4, height - bottom - 14)
    for which, at in ((upper, first), (1 - upper, max(ends[1 - upper][1] + 4, first + 14))):
        parts.append(element("text", axes.name(names[which], 16), x=x.last + 12, y=at, cls=SERIES[which]))
    return picture(
        WIDTH,
        height,
        f"Median of the best of k trials, {axes.name(reference, NAME)} and {axes.name(other, NAME)}",
        *parts,
    )


def _apart(steps: list[int], x: Scale) -> list[int]:
    """Those whose numbers do not touch below the axis; the last one is always there."""
    kept: list[int] = []
    for k in reversed(steps):
        if not kept or x(math.log10(kept[-1])) - x(math.log10(k)) >= STEP_WIDTH:
            kept.append(k)
    return kept[::-1]


def _window(known: list[float]) -> tuple[float, float]:
    """What is seen of the values' axis: the lines, and intervals as far as the lines' own range goes again."""
    low, high = spread(known)
    room = (high / 2 - low / 2) * 0.8
    return max(low - room, -1.7e308), min(high + room, 1.7e308)


def _clipped(scale: Scale, value: float) -> float:
    return min(max(value, scale.low), scale.high)


def love(one: Contrast) -> Markup:
    """How differently each other parameter is spread in the arms."""
    rows = one.balance[:DRAWN]
    known = [row.difference for row in rows if row.difference is not None]
    x = Scale(0.0, max([0.5, *known]) * 1.05, LEFT, WIDTH - 60)
    height = 10 + ROW * len(rows) + 30
    parts = [axis_x(x, height - 26, 4, [(end, number(end)) for end in ticks(x.low, x.high)])]
    parts.append(element("line", x1=x(0.1), x2=x(0.1), y1=4, y2=height - 26, cls="zero"))
    for place, row in enumerate(rows):
        y = 10 + ROW * place + ROW / 2
        parts.append(element("text", axes.name(row.parameter, NAME), x=0, y=y + 4, cls="name"))
        if row.difference is None:
            parts.append(element("text", "nothing in common", x=x.last, y=y + 4, text_anchor="end"))
        else:
            parts.append(element("circle", cx=x(row.difference), cy=y, r=5, cls="failed" if row.marked else "one"))
    return picture(WIDTH, height, "Standardised difference of each other parameter between the arms", *parts)
