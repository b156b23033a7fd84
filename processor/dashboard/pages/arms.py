"""A comparison in words and pictures: what each figure says, and the forest and the best of k as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from markupsafe import Markup

from processor.core.text import printable
from processor.dashboard.charts import axes
from processor.dashboard.comparing import read_path
from processor.dashboard.filters.text import called
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
from processor.dashboard.pages.rendering import brief, interval, number, share, signed
from processor.dashboard.statistics.results import Budget, Comparison, Contrast, Interval, PerRun

WIDTH = 800
#: characters of a run's, an arm's or a parameter's name in a picture
NAME = 26
#: pixels that such names have beside a picture's plot
LEFT = 210
FIGURES = 240
ROW = 24
#: rows of a forest that are drawn; the table below it has all that are handed on
DRAWN = 40
SERIES = ("without", "with")


class Sentence(NamedTuple):
    """The verdict: what is said before, the word that matters with its class, what is said behind it."""

    before: str
    word: str
    cls: str
    after: str


def verdict(found: Comparison, one: Contrast) -> Sentence:
    """The answer in one sentence: the effect and its interval first."""
    arm, base = printable(f"{name_of(found.parameter)} = {one.other}")[:120], printable(one.reference)[:80]
    metric = printable(name_of(found.metric))[:80]
    if one.verdict not in ("better", "worse", "higher", "lower"):
        word = one.verdict
        if word == "no difference is shown":
            return Sentence(
                f"Between {arm} and {base}, ", "no difference", "", f" of {metric} is shown{_range(found, one)}"
            )
        return Sentence(f"{arm} beside {base}: ", word, "", "")
    cls = one.verdict if one.verdict in ("better", "worse") else ""
    return Sentence(f"With {arm}, {metric} is ", one.verdict, cls, f" than with {base}{_range(found, one)}")


def name_of(path: str) -> str:
    """What a metric or a parameter, as it was asked for, is called."""
    return called(read_path(path))


def _range(found: Comparison, one: Contrast) -> str:
    shift = one.effect.shift
    if shift.estimate is None or (shift.low is None and shift.high is None):
        return ""
    sure = f"{100 * found.confidence:g} %"
    return f": a typical trial differs by {signed(shift.estimate)} ({sure} interval {interval(shift, 'signed')})"


def figures(one: Contrast) -> Iterator[tuple[str, Interval, str]]:
    """(name, interval, what it is) of every figure of a contrast that has one."""
    effect = one.effect
    yield "shift", effect.shift, "Hodges-Lehmann: other less reference"
    yield "superiority", effect.superiority, "P(other > reference), ties as halves"
    yield "mean_difference", effect.mean_difference, "other less reference"
    if effect.worst_rank is not None:
        yield "worst_rank", effect.worst_rank, "P(other better), failed and diverged trials being worst"
    if one.per_run.pooled is not None:
        yield "pooled_over_runs", one.per_run.pooled.shift, f"random effects over {one.per_run.pooled.runs} runs"
    if one.stratified.mean_difference is not None:
        yield "stratified_mean_difference", one.stratified.mean_difference, ", ".join(one.stratified.by)
    if one.stratified.superiority is not None:
        yield "stratified_superiority", one.stratified.superiority, ", ".join(one.stratified.by)
    for name, rates in (("failures", one.failures), ("divergences", one.divergences)):
        yield f"{name}_reference", rates.reference, rates.what
        yield f"{name}_other", rates.other, rates.what
        yield f"{name}_difference", rates.difference, "other less reference"
        if rates.stratified is not None:
            yield f"{name}_difference_stratified", rates.stratified, "other less reference, within strata"
    for point in one.budget.points:
        yield f"best_of_{point.k}_reference", point.reference, "median of the best"
        yield f"best_of_{point.k}_other", point.other, "median of the best"
        yield f"best_of_{point.k}_difference", point.difference, "other less reference"


def forest(per_run: PerRun, other: str, reference: str) -> Markup:
    """A line a run, the pooled one last; right of zero the other arm has the larger values."""
    rows = [(one.run, one.shift, one.weight, f"{one.reference_finite} / {one.other_finite}") for one in per_run.effects]
    rows = rows[:DRAWN]
    bounds = [end for _, shift, _, _ in rows for end in (shift.estimate, shift.low, shift.high) if end is not None]
    if per_run.pooled is not None:
        shift = per_run.pooled.shift
        bounds += [end for end in (shift.estimate, shift.low, shift.high) if end is not None]
    x = Scale(*spread(bounds, around=0.0), LEFT, WIDTH - FIGURES)
    top, height = 24.0, 24 + ROW * (len(rows) + (per_run.pooled is not None)) + 28
    parts = [
        element("text", "run (values in each arm)", x=0, y=14),
        element("text", "shift", x=WIDTH, y=14, text_anchor="end"),
        axis_x(x, height - 26, top, [(one, number(one)) for one in ticks(x.low, x.high)]),
        element("line", x1=x(0.0), x2=x(0.0), y1=top, y2=float(height - 26), cls="zero"),
    ]
    y = top + ROW / 2
    for run, shift, weight, sizes in rows:
        parts += _forest_row(x, y, axes.name(run, NAME), f" ({sizes})", shift, 3 + 6 * math.sqrt(weight), "one")
        y += ROW
    if per_run.pooled is not None:
        parts += _forest_row(x, y, f"{per_run.pooled.runs} runs together", "", per_run.pooled.shift, 0, "pooled")
    title = f"Shift from {axes.name(reference, NAME)} to {axes.name(other, NAME)} within each run, and over all"
    return picture(WIDTH, height, title, *parts)


def _forest_row(x: Scale, y: float, name: str, behind: str, shift: Interval, size: float, cls: str) -> list[Markup]:
    parts = [element("text", name + behind, x=0, y=y + 4, cls="name")]
    if shift.estimate is None:
        return parts
    if shift.low is not None or shift.high is not None:
        parts.append(whisker(x, y, shift.low, shift.high, cls))
    at = x(shift.estimate)
    if size:
        parts.append(element("rect", x=at - size / 2, y=y - size / 2, width=size, height=size, cls=cls))
    else:
        parts.append(
            element("polygon", points=points_of([(at - 7, y), (at, y - 7), (at + 7, y), (at, y + 7)]), cls=cls)
        )
    short = Interval(*(None if end is None else float(f"{end:.3g}") for end in (shift.estimate, shift.low, shift.high)))
    bounds = interval(short, "signed")
    said = f"{signed(short.estimate)} ({bounds})" if bounds else f"{signed(short.estimate)}, too few"
    parts.append(element("text", said, x=WIDTH, y=y + 4, text_anchor="end"))
    return parts


def best_of(budget: Budget, reference: str, other: str) -> Markup:
    """The median best of k trials of each arm with its band, k growing by decades."""
    height, left, bottom = 260, 70, 36
    points = budget.points
    known = [arm.estimate for point in points for arm in (point.reference, point.other) if arm.estimate is not None]
    x = Scale(0.0, math.log10(max(point.k for point in points)) or 1.0, left, WIDTH - 130)
    y = Scale(*_window(known), height - bottom, 12)
    steps = [point.k for point in points if str(point.k)[0] in "15" or len(points) < 8]
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


def said(found: Interval, how: str = "number") -> str:
    """`estimate (low to high)`; `points`: a difference of shares, in percentage points."""
    if found.estimate is None:
        return "–"
    if how == "points":
        bounds = "" if found.low is None or found.high is None else f" ({_points(found.low)} to {_points(found.high)})"
        return f"{_points(found.estimate)}{bounds} points"
    shown = {"number": brief, "share": share, "signed": signed}[how]
    bounds = interval(found, how)
    return f"{shown(found.estimate)} ({bounds})" if bounds else shown(found.estimate)


def _points(found: float) -> str:
    return signed(round(100 * found, 1))
