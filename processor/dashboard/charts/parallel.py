"""Parallel coordinates: an axis a parameter, the last one the metric; a line a trial.

What is missing has a place of its own below each axis, so that a trial with a parameter of its own is drawn as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from processor.core.numbers import to_json
from processor.dashboard.charts.axes import ARMS, axis_of, key, name
from processor.dashboard.charts.scatter import as_number
from processor.dashboard.pages.drawing import element, picture, points_of
from processor.dashboard.queries.charts import Sampled

WIDTH, HEIGHT, SIDE, TOP, BOTTOM, MISSING = 960, 360, 70, 44, 300, 336
#: lines: more are one dark field
MOST = 200
#: different texts of an axis; the rest share a place
LEVELS = 12
Axis = tuple[Callable[[Any], float], list[tuple[float, str]]]


def parallel_picture(trials: Sequence[Sampled], names: Sequence[str], metric: str) -> tuple[Markup | None, str]:
    """The picture, and how many of the trials it shows; none without a parameter."""
    drawn = trials[:: max(1, math.ceil(len(trials) / MOST))]
    words = f"{len(drawn):,} of {len(trials):,} trials drawn; what a trial lacks is a place below the axis"
    if not drawn or not names:
        return None, words
    columns = [[one.parameters[at] for one in drawn] for at in range(len(names))] + [[one.value for one in drawn]]
    axes = [_axis(column) for column in columns]
    gap = (WIDTH - 2 * SIDE) / len(names)
    parts: list[Markup] = [key(WIDTH, 14)]
    cls_of = {arm: cls for arm, cls, _ in ARMS}
    for row, one in enumerate(drawn):
        line = [
            (SIDE + gap * at, place(column[row]))
            for at, ((place, _), column) in enumerate(zip(axes, columns, strict=True))
        ]
        parts.append(element("polyline", points=points_of(line), cls=f"{cls_of[one.arm]} thin"))
    for at, ((_, marks), title) in enumerate(zip(axes, [*names, metric], strict=True)):
        parts += _drawn_axis(SIDE + gap * at, marks, name(title, max(6, int(gap / 8))))
    parts.append(element("text", "missing", x=0, y=MISSING + 4))
    return picture(WIDTH, HEIGHT, f"Parameters and {name(metric, 60)} of single trials", *parts), words


def _drawn_axis(x: float, marks: Sequence[tuple[float, str]], title: str) -> list[Markup]:
    parts = [
        element("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, cls="axis"),
        element("text", title, x=x, y=TOP - 12, text_anchor="middle", cls="name"),
        element("circle", cx=x, cy=MISSING, r=3, cls="one"),
    ]
    parts += [element("text", words, x=x + 5, y=y + 4, cls="name halo") for y, words in marks]
    return parts


def _axis(values: Sequence[Any]) -> Axis:
    """Numbers on a scale where there is no text among them, else each text at its place."""
    numbers = [found for one in values if (found := as_number(one)) is not None]
    texts = {_text(one) for one in values if one is not None and not _is_numeric(one)}
    if texts or not numbers:
        return _by_level(values)
    axis = axis_of(numbers, BOTTOM, TOP)

    def place(value: Any) -> float:
        found = as_number(value)
        return float(MISSING) if found is None else axis(found)

    return place, [(axis.scale(at), words) for at, words in axis.marks(4)]


def _by_level(values: Sequence[Any]) -> Axis:
    levels = sorted({_text(one) for one in values if one is not None})
    shown = levels[:LEVELS]
    gap = (BOTTOM - TOP) / max(1, len(shown))
    places = {level: TOP + gap * (at + 0.5) for at, level in enumerate(shown)}
    rest = BOTTOM if len(levels) > LEVELS else MISSING

    def place(value: Any) -> float:
        return float(MISSING) if value is None else places.get(_text(value), float(rest))

    marks = [(y, name(level, 16)) for level, y in places.items()]
    return place, [*marks, (float(BOTTOM), f"{len(levels) - LEVELS:,} others")] if len(levels) > LEVELS else marks


def _is_numeric(value: Any) -> bool:
    """Also what is not finite: it is missing from the scale, and makes no text of it."""
    return as_number(value) is not None or value in ("NaN", "Infinity", "-Infinity") or isinstance(value, float)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()
