"""A metric over a parameter, a mark a trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from markupsafe import Markup

from processor.dashboard.charts.axes import ARMS, LOG, Power, axis_of, counted, key, name, ordinal
from processor.dashboard.charts.brushes import SUCCEEDED, Area, Brush, brushable, kind_of
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages.drawing import axis_x, axis_y, element
from processor.dashboard.pages.paths import trial_path
from processor.dashboard.pages.rendering import number
from processor.dashboard.queries.charts import Sampled

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 340, 70, 40, 24, 44
PLOT = Area(LEFT, TOP, WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP)
#: marks: each is some 200 bytes of the page
MOST = 600


def as_number(found: Any) -> float | None:
    """A finite number, or None."""
    if type(found) is float:  # most are, and five thousand trials are asked several times
        return found if math.isfinite(found) else None
    if isinstance(found, bool) or not isinstance(found, (int, float, Decimal)):
        return None
    try:
        made = float(found)
    except OverflowError:
        return None
    return made if math.isfinite(made) else None


class Scattered(NamedTuple):
    """What is drawn over what: the parameter's place in `Sampled.parameters`, names, and how the axes are drawn."""

    at: int
    x_name: str
    metric: str
    x_power: Power | None = None
    y_power: Power | None = None


def scatter_picture(
    trials: Sequence[Sampled], asked: Scattered, paths: tuple[Path, Path] | None = None
) -> tuple[Markup | None, str]:
    """The picture, and words that say of all trials which are drawn, which are not and why.

    With `paths`, of the parameter and the metric, both can be brushed.
    """
    measured = [(y, one) for one in trials if (y := as_number(one.value)) is not None]
    points = [(x, y, one) for y, one in measured if (x := as_number(one.parameters[asked.at])) is not None]
    x_axis = axis_of([x for x, _, _ in points], LEFT, WIDTH - RIGHT, asked.x_power, searched=True)
    y_axis = axis_of([y for _, y, _ in points], HEIGHT - BOTTOM, TOP, asked.y_power)
    placed = [(x, y, one) for x, y, one in points if x_axis.has(x) and y_axis.has(y)]
    drawn = placed[:: (step := max(1, math.ceil(len(placed) / MOST)))]
    thinned = f", every {ordinal(step)} of those that have a place" if step > 1 else ""
    words = f"{len(drawn):,} of {counted(len(trials), 'trial')} drawn{thinned}"
    words += _left(len(trials) - len(measured), f"no {name(asked.metric)} that is a finite number, or did not succeed")
    words += _left(len(measured) - len(points), f"no {name(asked.x_name)} that is a finite number")
    words += _left(len(points) - len(placed), "a value that is not above 0, which has no place by powers of ten")
    if not drawn:
        return None, words
    parts = [
        axis_y(y_axis.scale, LEFT, WIDTH - RIGHT, y_axis.marks()),
        axis_x(x_axis.scale, HEIGHT - BOTTOM, TOP, x_axis.marks()),
        element("text", name(asked.x_name), x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle"),
        key(LEFT, 14),
    ]
    cls_of = {arm: cls for arm, cls, _ in ARMS}
    for x, y, one in drawn:
        title = element("title", f"{name(one.trial_id)}: {number(x)}, {number(y)}")
        place = {"cx": x_axis(x), "cy": y_axis(y), "r": 3}
        href = trial_path(one.run_id, one.trial_id)
        parts.append(element("circle", title, **place, cls=f"{cls_of[one.arm]} dot mark", data_href=href))
    brushes: list[Brush] = []
    if paths:
        kind = kind_of(x for x, _, _ in placed)
        brushes = [
            Brush(paths[0], asked.x_name, "x", x_axis.scale, PLOT.below(), x_axis.log, kind),
            Brush(paths[1], asked.metric, "y", y_axis.scale, PLOT.beside(), y_axis.log, also=SUCCEEDED),
        ]
    shown = f"{name(asked.metric, 60)} over {name(asked.x_name, 60)}{LOG if x_axis.log or y_axis.log else ''}"
    return brushable(WIDTH, HEIGHT, shown, parts, brushes, PLOT), words


def _left(trials: int, why: str) -> str:
    return f"; {trials:,} {'has' if trials == 1 else 'have'} {why}" if trials else ""
