"""Parallel coordinates: an axis a parameter, the last one the metric; a line a trial.

What is missing has a place of its own below each axis, so that a trial with a parameter of its own is drawn as well.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from processor.core.numbers import to_json
from processor.dashboard.charts.axes import ARMS, axis_of, counted, key, name
from processor.dashboard.charts.brushes import SUCCEEDED, Area, Brush, Kind, Level, brushable, kind_of
from processor.dashboard.charts.scatter import as_number
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages.drawing import Scale, element, points_of
from processor.dashboard.queries.charts import Sampled

WIDTH, HEIGHT, SIDE, TOP, BOTTOM, MISSING = 960, 360, 70, 44, 300, 336
#: lines: more are one dark field
MOST = 200
#: different texts of an axis; the rest share a place
LEVELS = 12
#: pixels beside an axis that belong to it
HALF = 22


class Drawn(NamedTuple):
    """An axis: where each value is, the marks beside it, and what a brush of it has to know."""

    place: Callable[[Any], float]
    marks: list[tuple[float, str]]
    scale: Scale
    kind: Kind
    log: bool = False
    levels: Sequence[Level] = ()

    def brush(self, path: Path, words: str, x: float, also: str | None) -> Brush:
        area = Area(x - HALF, TOP - 6, 2 * HALF, BOTTOM - TOP + 12)
        return Brush(path, words, "y", self.scale, area, self.log, self.kind, also, self.levels)


def parallel_picture(
    trials: Sequence[Sampled], names: Sequence[str], metric: str, paths: Sequence[Path] = ()
) -> tuple[Markup | None, str]:
    """The picture, and how many of the trials it shows; none without a parameter.

    With `paths`, of the parameters and then of the metric, each axis can be brushed.
    """
    drawn = trials[:: max(1, math.ceil(len(trials) / MOST))]
    words = f"{len(drawn):,} of {counted(len(trials), 'trial')} drawn; what a trial lacks is a place below the axis"
    if not drawn or not names:
        return None, words
    columns = [[one.parameters[at] for one in drawn] for at in range(len(names))] + [[one.value for one in drawn]]
    axes = [_axis(column) for column in columns]
    gap = (WIDTH - 2 * SIDE) / len(names)
    parts: list[Markup] = [key(WIDTH, 14)]
    cls_of = {arm: cls for arm, cls, _ in ARMS}
    for row, one in enumerate(drawn):
        line = [
            (SIDE + gap * at, axis.place(column[row]))
            for at, (axis, column) in enumerate(zip(axes, columns, strict=True))
        ]
        parts.append(element("polyline", points=points_of(line), cls=f"{cls_of[one.arm]} thin"))
    titles = [*names, metric]
    for at, (axis, title) in enumerate(zip(axes, titles, strict=True)):
        parts += _drawn_axis(SIDE + gap * at, axis.marks, name(title, max(6, int(gap / 8))))
    parts.append(element("text", "missing", x=0, y=MISSING + 4))
    brushes = [
        axis.brush(path, title, SIDE + gap * at, SUCCEEDED if at == len(names) else None)
        for at, (axis, title, path) in enumerate(zip(axes, titles, paths, strict=False))
    ]
    return brushable(WIDTH, HEIGHT, f"Parameters and {name(metric, 60)} of single trials", parts, brushes), words


def _drawn_axis(x: float, marks: Sequence[tuple[float, str]], title: str) -> list[Markup]:
    parts = [
        element("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, cls="axis"),
        element("text", title, x=x, y=TOP - 12, text_anchor="middle", cls="name"),
        element("circle", cx=x, cy=MISSING, r=3, cls="one"),
    ]
    parts += [element("text", words, x=x + 5, y=y + 4, cls="name halo") for y, words in marks]
    return parts


def _axis(values: Sequence[Any]) -> Drawn:
    """Numbers on a scale where there is no text among them, else each text at its place."""
    numbers = [found for one in values if (found := as_number(one)) is not None]
    texts = {_text(one) for one in values if one is not None and not _is_numeric(one)}
    if texts or not numbers:
        return _by_level(values)
    axis = axis_of(numbers, BOTTOM, TOP)

    def place(value: Any) -> float:
        found = as_number(value)
        return float(MISSING) if found is None else axis(found)

    return Drawn(
        place, [(axis.scale(at), words) for at, words in axis.marks(4)], axis.scale, kind_of(numbers), axis.log
    )


def _by_level(values: Sequence[Any]) -> Drawn:
    found: defaultdict[str, dict[bytes, Any]] = defaultdict(dict)
    for one in values:
        if one is not None:
            found[_text(one)][to_json(one)] = one  # 1 and "1" share a place
    levels = sorted(found)
    shown = levels[:LEVELS]
    gap = (BOTTOM - TOP) / max(1, len(shown))
    places = {level: TOP + gap * (at + 0.5) for at, level in enumerate(shown)}
    rest = BOTTOM if len(levels) > LEVELS else MISSING

    def place(value: Any) -> float:
        return float(MISSING) if value is None else places.get(_text(value), float(rest))

    marks = [(y, name(level, 16)) for level, y in places.items()]
    if len(levels) > LEVELS:
        marks.append((float(BOTTOM), counted(len(levels) - LEVELS, "other")))
    brushed = [Level(y, tuple(found[level].values())) for level, y in places.items()]
    return Drawn(place, marks, Scale(0.0, max(1.0, len(shown)), BOTTOM, TOP), "level", levels=brushed)


def _is_numeric(value: Any) -> bool:
    """Also what is not finite: it is missing from the scale, and makes no text of it."""
    return as_number(value) is not None or value in ("NaN", "Infinity", "-Infinity") or isinstance(value, float)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()
