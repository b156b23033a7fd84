"""Parallel coordinates: an axis a parameter, the last one the metric; a line a trial.

What is missing has a place of its own below each axis, so that a trial with a parameter of its own is drawn as well.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from processor.core.numbers import to_json
from processor.core.text import natural_order
from processor.dashboard.charts.axes import ARMS, Power, axis_of, counted, key, name, ordinal
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
    #: values of an axis of numbers that have no place on it
    others: int = 0

    def brush(self, path: Path, words: str, x: float, also: str | None) -> Brush:
        area = Area(x - HALF, TOP - 6, 2 * HALF, BOTTOM - TOP + 12)
        return Brush(path, words, "y", self.scale, area, self.log, self.kind, also, self.levels)


def parallel_picture(
    trials: Sequence[Sampled],
    names: Sequence[str],
    metric: str,
    paths: Sequence[Path] = (),
    places: Sequence[int] | None = None,
    power: Power | None = None,
) -> tuple[Markup | None, str]:
    """The picture, and how many of the trials it shows; none without a parameter.

    `names` are those of the axes, `places` where their values are in `Sampled.parameters` (None: in that order);
    `power` is of the metric's axis. With `paths`, of the parameters and then of the metric, each axis can be brushed.
    """
    drawn = trials[:: (step := max(1, math.ceil(len(trials) / MOST)))]
    words = f"{len(drawn):,} of {counted(len(trials), 'trial')} drawn"
    words += f", every {ordinal(step)} in the order of time" if step > 1 else ""
    words += "; what a trial lacks has a place below the axis"
    if not drawn or not names:
        return None, words
    places = range(len(names)) if places is None else places
    columns = [[one.parameters[at] for one in drawn] for at in places] + [[one.value for one in drawn]]
    axes = [_axis(column) for column in columns[:-1]] + [_axis(columns[-1], power, searched=False)]
    if any(axis.others for axis in axes):
        words += ", and so has what is no number, or not above 0 by powers of ten, on an axis of numbers"
    gap = (WIDTH - 2 * SIDE) / len(names)
    parts: list[Markup] = [key(0, 14)]
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


def _axis(values: Sequence[Any], power: Power | None = None, *, searched: bool = True) -> Drawn:
    """Numbers on a scale where most are numbers: an "auto" among them makes no texts of them. Else each text at its
    place.
    """
    given = [one for one in values if one is not None]
    numbers = [found for one in given if (found := as_number(one)) is not None]
    if not numbers or 2 * sum(map(_is_numeric, given)) <= len(given):
        return _by_level(values)
    axis = axis_of(numbers, BOTTOM, TOP, power, searched=searched)

    def place(value: Any) -> float:
        found = as_number(value)
        return float(MISSING) if found is None or not axis.has(found) else axis(found)

    marks = [(axis.scale(at), words) for at, words in axis.marks(4)]
    others = sum(not _is_numeric(one) for one in given) + sum(not axis.has(one) for one in numbers)
    return Drawn(place, marks, axis.scale, kind_of(numbers), axis.log, others=others)


def _by_level(values: Sequence[Any]) -> Drawn:
    """The most frequent texts each at a place, in their order; those of numbers by size."""
    found: defaultdict[str, dict[bytes, Any]] = defaultdict(dict)
    counts: Counter[str] = Counter()
    for one in values:
        if one is not None:
            found[_text(one)][to_json(one)] = one  # 1 and "1" share a place
            counts[_text(one)] += 1
    most = sorted(found, key=lambda level: (-counts[level], natural_order(level)))[:LEVELS]
    shown = sorted(most, key=lambda level: (as_number(next(iter(found[level].values()))) or 0.0, natural_order(level)))
    gap = (BOTTOM - TOP) / max(1, len(shown))
    places = {level: TOP + gap * (at + 0.5) for at, level in enumerate(shown)}
    left = len(found) - len(shown)
    rest = BOTTOM if left else MISSING

    def place(value: Any) -> float:
        return float(MISSING) if value is None else places.get(_text(value), float(rest))

    marks = [(y, name(level, 16)) for level, y in places.items()]
    if left:
        marks.append((float(BOTTOM), counted(left, "other")))
    brushed = [Level(y, tuple(found[level].values())) for level, y in places.items()]
    return Drawn(place, marks, Scale(0.0, max(1.0, len(shown)), BOTTOM, TOP), "level", levels=brushed)


def _is_numeric(value: Any) -> bool:
    """Also what is not finite: it is missing from the scale, and makes no text of it."""
    return as_number(value) is not None or value in ("NaN", "Infinity", "-Infinity") or isinstance(value, float)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()
