"""Metrics by step, of one trial or of several over each other, as pictures and as words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from processor.core.text import printable
from processor.dashboard.charts.axes import Axis, Power, axis_of, is_wide, quantile
from processor.dashboard.pages.drawing import Scale, axis_x, axis_y, element, picture, points_of, ticks
from processor.dashboard.pages.rendering import number
from processor.dashboard.queries.progress import Column, Curve

WIDTH, HEIGHT = 420, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 26
#: a value that is so many times farther beyond the middle nine tenths of all than these are wide is drawn at the edge:
#: one spike would make a flat line of the rest
BEYOND = 5.0
#: pixels from one line's number to the next
APART = 11.0


class Bounds(NamedTuple):
    """The values from `low` to `high` are drawn where they are, those beyond at the edge; `power` is of the axis."""

    low: float
    high: float
    power: Power

    def inside(self, value: float) -> float:
        return min(max(value, self.low), self.high)


def curve_picture(curve: Curve) -> Markup:
    """The last value of each column as a line, least to greatest as a band where a column holds several steps.

    Where a column has no finite value the line is broken, with a mark below.
    """
    columns = _with_step([curve])
    finite = [one for one in columns if one.last is not None]
    title = f"{printable(curve.metric)[:80]} by step"
    if not finite:
        return _nothing(title)
    bounds, x, y, parts = _axes(columns)
    for part in _unbroken(columns):
        if any(column.least != column.greatest for column in part):
            parts.append(element("polygon", points=_band(part, x, y, bounds), cls="band"))
        line = [(x(_middle(column)), y(bounds.inside(column.last))) for column in part if column.last is not None]
        parts.append(element("polyline", points=points_of(line), cls="with"))
        if len(finite) < 60 or len(line) == 1:
            parts += [element("circle", cx=at, cy=there, r=2.5, cls="with") for at, there in line]
    parts += [_cross(x(_middle(column))) for column in columns if column.not_finite]
    return picture(WIDTH, HEIGHT, title, *parts)


def curves_picture(curves: Sequence[tuple[int, Curve]]) -> Markup:
    """Curves of one metric, each with the number that is at its end: the last values as lines, without bands."""
    title = f"{printable(curves[0][1].metric)[:80]} by step"
    columns = _with_step([curve for _, curve in curves])
    if all(one.last is None for one in columns):
        return _nothing(title)
    bounds, x, y, parts = _axes(columns)
    ends: dict[int, tuple[float, float]] = {}
    for place, curve in curves:
        cls = f"line{place}"
        for part in _unbroken(_with_step([curve])):
            line = [(x(_middle(column)), y(bounds.inside(column.last))) for column in part if column.last is not None]
            parts.append(element("polyline", points=points_of(line), cls=cls))
            parts += [element("circle", cx=at, cy=there, r=2.5, cls=cls) for at, there in line if len(line) < 60]
            ends[place] = line[-1]
    return picture(WIDTH, HEIGHT, title, *parts, *_numbers(ends))


def _numbers(ends: Mapping[int, tuple[float, float]]) -> list[Markup]:
    """Each at the end of its line, or above the number below it where that would be in its way."""
    found, free = [], float(HEIGHT)
    for place, (at, there) in sorted(ends.items(), key=lambda one: -one[1][1]):
        free = min(there + 4, free)
        found.append(element("text", place, x=min(at + 4, WIDTH - 9.0), y=free, cls=f"halo line{place}"))
        free -= APART
    return found


def _nothing(title: str) -> Markup:
    words = element("text", "no finite value at a step", x=WIDTH / 2, y=40, text_anchor="middle")
    return picture(WIDTH, 80, title, words)


def _axes(columns: Sequence[Column]) -> tuple[Bounds, Scale, Axis, list[Markup]]:
    """From values and steps to pixels, and both axes drawn; one of the columns has a finite value."""
    finite = [one for one in columns if one.last is not None]
    bounds = _bounds(finite)
    y = axis_of([bounds.inside(one) for one in _values(finite)], HEIGHT - BOTTOM, TOP, bounds.power)
    middles = [_middle(one) for one in columns]
    x = Scale(min(middles), max(middles), LEFT, WIDTH - RIGHT)
    steps = [one for one in ticks(x.low, x.high) if float(one).is_integer()] or [x.low]
    marks = [(one, number(int(one))) for one in steps]
    return bounds, x, y, [axis_y(y.scale, LEFT, WIDTH - RIGHT, y.marks(4)), axis_x(x, HEIGHT - BOTTOM, TOP, marks)]


def _with_step(curves: Sequence[Curve]) -> list[Column]:
    return [one for curve in curves for one in curve.columns if one.first_step is not None]


def _values(columns: Sequence[Column]) -> list[float]:
    return [one for column in columns for one in (column.least, column.greatest) if one is not None]


def _bounds(columns: Sequence[Column]) -> Bounds:
    """All values, but for those far beyond nine tenths of them; by powers of ten, where the rest spans some, all."""
    values = sorted(_values(columns))
    low, high = quantile(values, 0.05), quantile(values, 0.95)
    room = BEYOND * 2 * (high / 2 - low / 2)
    least, greatest = values[0], values[-1]
    if room and math.isfinite(room):
        least, greatest = max(least, low - room), min(greatest, high + room)
    if values[0] > 0 and is_wide(least, greatest):
        return Bounds(values[0], values[-1], "log")
    return Bounds(least, greatest, "linear")


def _unbroken(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns in a row that have a finite value."""
    found: list[list[Column]] = [[]]
    for column in columns:
        if column.last is None:
            found.append([])
        else:
            found[-1].append(column)
    return [part for part in found if part]


def _cross(x: float) -> Markup:
    y = HEIGHT - BOTTOM - 4
    return element("path", d=f"M{x - 3:.1f} {y - 3}l6 6m0 -6l-6 6", cls="bad")


def _band(columns: Sequence[Column], x: Scale, y: Axis, bounds: Bounds) -> str:
    up = [(x(_middle(one)), y(bounds.inside(one.greatest))) for one in columns if one.greatest is not None]
    down = [(x(_middle(one)), y(bounds.inside(one.least))) for one in reversed(columns) if one.least is not None]
    return points_of([*up, *down])


def _middle(column: Column) -> float:
    return ((column.first_step or 0) + (column.last_step or 0)) / 2


def curve_words(curve: Curve) -> str:
    """Its name, its last value, and what the picture leaves out."""
    return f"{printable(curve.metric)[:80]}: {values_words(curve, [curve])}"


def values_words(curve: Curve, drawn: Sequence[Curve]) -> str:
    """The same without its name, in a picture of all that are `drawn`."""
    points = sum(one.points for one in curve.columns)
    last = next((one.last for one in reversed(curve.columns) if one.last is not None), None)
    words = f"{points:,} value{'' if points == 1 else 's'}"
    if last is not None and math.isfinite(last):
        words += f", the last {'finite one ' if curve.columns[-1].last is None else ''}{number(last)}"
    if bad := sum(one.not_finite for one in curve.columns):
        words += f"; {bad:,} NaN or infinite, crosses below"
    finite = [one for one in _with_step([curve]) if one.last is not None]
    if finite:
        bounds = _bounds([one for one in _with_step(drawn) if one.last is not None])
        if far := sorted({one for one in _values(finite) if bounds.inside(one) != one}):
            words += f"; {' to '.join(map(number, far[:1] + far[1:][-1:]))} far beyond the rest, drawn at the edge"
    if without := sum(one.points for one in curve.columns if one.first_step is None):
        words += f"; {without:,} without a step, not drawn"
    return words
