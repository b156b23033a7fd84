"""The best so far of either arm: by trials, by time, or by what the trials took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from markupsafe import Markup

from processor.dashboard.charts.axes import ARMS, LOG, Power, axis_of, key, moments, name
from processor.dashboard.charts.brushes import FIRST_SEEN, SUCCEEDED, Area, Brush, brushable
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages.drawing import Scale, axis_x, axis_y, element, points_of, ticks
from processor.dashboard.pages.paths import trial_path
from processor.dashboard.pages.rendering import count, duration, number
from processor.dashboard.queries.charts import Best

By = Literal["trial", "time", "cost"]
WORDS: dict[By, str] = {
    "trial": "trials of the arm",
    "time": "time at which the trial was first seen",
    "cost": "duration of the arm's trials together",
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 320, 70, 40, 24, 44
PLOT = Area(LEFT, TOP, WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP)
#: marks of an arm; a line with more has none
MARKS = 60


def best_picture(
    rows: Sequence[Best], metric: str, by: By, path: Path | None = None, power: Power | None = None
) -> Markup | None:
    """A step line an arm, which ends at the arm's last trial; None where no trial has a finite value.

    With `path`, that of the metric, it can be brushed, and so can the time. By powers of ten a line begins with the
    first best that is above 0.
    """
    held = [(one, one.best) for one in rows if one.best is not None]
    if not held:
        return None
    y = axis_of([best for _, best in held], HEIGHT - BOTTOM, TOP, power)
    held = [(one, best) for one, best in held if y.has(best)]
    places = [_place(one, by) for one, _ in held]
    x = Scale(min(places), max(places), LEFT, WIDTH - RIGHT)
    parts = [
        axis_y(y.scale, LEFT, WIDTH - RIGHT, y.marks()),
        axis_x(x, HEIGHT - BOTTOM, TOP, _marks(x, by)),
        element("text", WORDS[by], x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle"),
        key(LEFT, 14),
    ]
    for arm, cls, _ in ARMS:
        line = [(x(_place(one, by)), y(best), one) for one, best in held if one.arm is arm]
        parts.append(element("polyline", points=points_of(_steps([(at, there) for at, there, _ in line])), cls=cls))
        found = _better(line)
        if len(found) <= MARKS:
            parts += [_mark(at, there, one, cls) for at, there, one in found]
    brushes = []
    if path:
        brushes.append(Brush(path, metric, "y", y.scale, PLOT.beside(), y.log, also=SUCCEEDED))
        if by == "time":
            brushes.append(Brush(FIRST_SEEN, "time first seen", "x", x, PLOT.below(), kind="time"))
    log = LOG if y.log else ""
    return brushable(WIDTH, HEIGHT, f"Best {name(metric, 60)} so far, by {WORDS[by]}{log}", parts, brushes, PLOT)


def _better(line: Sequence[tuple[float, float, Best]]) -> list[tuple[float, float, Best]]:
    """Without the arm's last trial where that was no better than the one before."""
    return [
        (x, y, one)
        for place, (x, y, one) in enumerate(line)
        if not one.last or not place or one.best != line[place - 1][2].best
    ]


def _mark(x: float, y: float, one: Best, cls: str) -> Markup:
    words = f"{name(one.trial_id)}: {number(one.best)}"
    return element(
        "circle",
        element("title", words),
        cx=x, cy=y, r=3, cls=f"{cls} mark", data_href=trial_path(one.run_id, one.trial_id),
    )  # fmt: skip


def _place(one: Best, by: By) -> float:
    return {"trial": float(one.place), "time": one.at.timestamp(), "cost": one.cost_ms}[by]


def _marks(x: Scale, by: By) -> list[tuple[float, str]]:
    if by == "time":
        return moments(x)
    if by == "cost":
        return [(one, duration(one)) for one in ticks(x.low, x.high, 5)]
    return [(one, count(int(one))) for one in ticks(x.low, x.high, 6) if one.is_integer()]


def _steps(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The best stays what it was until the next."""
    found: list[tuple[float, float]] = []
    for x, y in line:
        if found:
            found.append((x, found[-1][1]))
        found.append((x, y))
    return found
