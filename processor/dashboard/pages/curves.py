"""A trial's metric by step, as a picture and as words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from processor.core.text import printable
from processor.dashboard.pages.drawing import Scale, axis_x, axis_y, element, picture, points_of, spread, ticks
from processor.dashboard.pages.rendering import number
from processor.dashboard.queries.progress import Column, Curve

WIDTH, HEIGHT = 420, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 26


def curve_picture(curve: Curve) -> Markup:
    """The last value of each column as a line, least to greatest as a band where a column holds several steps."""
    columns = [one for one in curve.columns if one.last is not None and one.first_step is not None]
    title = f"{printable(curve.metric)[:80]} by step"
    if not columns:
        words = element("text", "no finite value at a step", x=WIDTH / 2, y=40, text_anchor="middle")
        return picture(WIDTH, 80, title, words)
    bounds = [one for column in columns for one in (column.least, column.greatest) if one is not None]
    y = Scale(*spread(bounds), HEIGHT - BOTTOM, TOP)
    x = Scale(_middle(columns[0]), _middle(columns[-1]), LEFT, WIDTH - RIGHT)
    steps = [one for one in ticks(x.low, x.high) if float(one).is_integer()] or [x.low]
    parts = [
        axis_y(y, LEFT, WIDTH - RIGHT, [(one, number(one)) for one in ticks(y.low, y.high, 4)]),
        axis_x(x, HEIGHT - BOTTOM, TOP, [(one, number(int(one))) for one in steps]),
    ]
    if any(column.least != column.greatest for column in columns):
        parts.append(element("polygon", points=_band(columns, x, y), cls="band"))
    line = [(x(_middle(column)), y(column.last)) for column in columns if column.last is not None]
    parts.append(element("polyline", points=points_of(line), cls="with"))
    if len(line) < 60:
        parts += [element("circle", cx=at, cy=there, r=2.5, cls="with") for at, there in line]
    return picture(WIDTH, HEIGHT, title, *parts)


def _band(columns: Sequence[Column], x: Scale, y: Scale) -> str:
    up = [(x(_middle(one)), y(one.greatest)) for one in columns if one.greatest is not None]
    down = [(x(_middle(one)), y(one.least)) for one in reversed(columns) if one.least is not None]
    return points_of([*up, *down])


def _middle(column: Column) -> float:
    return ((column.first_step or 0) + (column.last_step or 0)) / 2


def curve_words(curve: Curve) -> str:
    """Its name, its last value, and what the picture leaves out."""
    points = sum(one.points for one in curve.columns)
    last = next((one.last for one in reversed(curve.columns) if one.last is not None), None)
    words = f"{printable(curve.metric)[:80]}: {points:,} value{'' if points == 1 else 's'}"
    if last is not None and math.isfinite(last):
        words += f", the last {number(last)}"
    if bad := sum(one.not_finite for one in curve.columns):
        words += f"; {bad:,} NaN or infinite, not drawn"
    if without := sum(one.points for one in curve.columns if one.first_step is None):
        words += f"; {without:,} without a step, not drawn"
    return words
