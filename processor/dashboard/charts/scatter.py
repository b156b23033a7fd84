"""A metric over a parameter, a mark a trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from processor.dashboard.charts.axes import ARMS, axis_of, counted, key, name
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
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    try:
        made = float(found)
    except OverflowError:
        return None
    return made if math.isfinite(made) else None


def scatter_picture(
    trials: Sequence[Sampled], at: int, x_name: str, metric: str, paths: tuple[Path, Path] | None = None
) -> tuple[Markup | None, str]:
    """`at` is the place of the parameter in `Sampled.parameters`. The picture, and what it leaves out.

    With `paths`, of the parameter and the metric, both can be brushed.
    """
    points = [
        (x, y, one)
        for one in trials
        if (x := as_number(one.parameters[at])) is not None and (y := as_number(one.value)) is not None
    ]
    drawn = points[:: max(1, math.ceil(len(points) / MOST))]
    lack = len(trials) - len(points)
    words = f"{len(drawn):,} of {counted(len(trials), 'trial')} drawn; "
    words += f"{lack:,} {'lacks' if lack == 1 else 'lack'} one of the numbers"
    if not drawn:
        return None, words
    x_axis = axis_of([x for x, _, _ in drawn], LEFT, WIDTH - RIGHT)
    y_axis = axis_of([y for _, y, _ in drawn], HEIGHT - BOTTOM, TOP)
    parts = [
        axis_y(y_axis.scale, LEFT, WIDTH - RIGHT, y_axis.marks()),
        axis_x(x_axis.scale, HEIGHT - BOTTOM, TOP, x_axis.marks()),
        element("text", name(x_name), x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle"),
        key(WIDTH - RIGHT, 14),
    ]
    cls_of = {arm: cls for arm, cls, _ in ARMS}
    for x, y, one in drawn:
        title = element("title", f"{name(one.trial_id)}: {number(x)}, {number(y)}")
        place = {"cx": x_axis(x), "cy": y_axis(y), "r": 3}
        href = trial_path(one.run_id, one.trial_id)
        parts.append(element("circle", title, **place, cls=f"{cls_of[one.arm]} dot mark", data_href=href))
    log = " (by powers of ten)" if x_axis.log else ""
    brushes: list[Brush] = []
    if paths:
        kind = kind_of(x for x, _, _ in points)
        brushes = [
            Brush(paths[0], x_name, "x", x_axis.scale, PLOT.below(), x_axis.log, kind),
            Brush(paths[1], metric, "y", y_axis.scale, PLOT.beside(), y_axis.log, also=SUCCEEDED),
        ]
    shown = f"{name(metric, 60)} over {name(x_name, 60)}{log}"
    return brushable(WIDTH, HEIGHT, shown, parts, brushes, PLOT), words
