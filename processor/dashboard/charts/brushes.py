"""What can be brushed in a picture: which axis stands where, and what it is called in a filter.

A brush is a condition of the filter in the URL. The picture says of each axis its path, where it begins and ends, in
pixels and in values; `static/brushing.js` draws the band and asks for the page with the narrower filter. Without
scripts nothing of it is seen. An axis whose path could not be written in a filter has no brush.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from processor.core.numbers import to_json
from processor.dashboard.charts.axes import name
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.text import write, write_path, write_scalar
from processor.dashboard.filters.tree import Compare, FilterError, Operator, Path, Scalar
from processor.dashboard.pages.drawing import Scale, element, picture

#: pixels across an axis that a pointer can hold
STRIP = 26
#: a clause has its path twice, and a filter 2,000 characters
LONGEST_PATH = 500
LONGEST_LEVEL = 200
#: the time of a trial in pictures
FIRST_SEEN = Path("inserted_at")
#: a metric is drawn of trials that succeeded alone
SUCCEEDED = write(Compare(Path("status"), "=", "succeeded"))
KEYS = "arrow keys move the lower bound, with Shift the upper one, Enter applies, Escape cancels"
Kind = Literal["number", "whole", "time", "level"]


class Area(NamedTuple):
    """A rectangle in pixels of the picture."""

    x: float
    y: float
    width: float
    height: float

    def below(self) -> Area:
        """Where the words of its horizontal axis stand."""
        return Area(self.x, self.y + self.height, self.width, STRIP)

    def beside(self) -> Area:
        """Where those of its vertical axis do, at the left."""
        return Area(self.x - 2 * STRIP, self.y, 2 * STRIP, self.height)


class Level(NamedTuple):
    """Values that share a place on an axis of texts."""

    at: float
    values: tuple[Any, ...]


class Brush(NamedTuple):
    """An axis that can be brushed where the pointer is in `area`, or, of both axes at once, in the picture's plot.

    `scale` is of logarithms where `log` is true, of seconds since 1970 where `kind` is time. `also` is what holds of
    every trial that the axis has a place for.
    """

    path: Path
    words: str
    along: Literal["x", "y"]
    scale: Scale
    area: Area
    log: bool = False
    kind: Kind = "number"
    also: str | None = None
    levels: Sequence[Level] = ()

    @property
    def possible(self) -> bool:
        if self.kind == "level":
            return any(literals for _, literals in self._levels())
        low, high = self.scale.low, self.scale.high
        probe = datetime.fromtimestamp(0, UTC) if self.kind == "time" else Decimal(0)
        return math.isfinite(low) and math.isfinite(high) and low < high and _is_read(self.path, ">=", probe)

    def _levels(self) -> list[tuple[float, list[str]]]:
        return [(round(one.at, 2), literals_of(self.path, one.values)) for one in self.levels]

    def drawn(self) -> Markup:
        """The strip along the axis: what the pointer takes hold of, and what has the focus."""
        levels = self._levels() if self.kind == "level" else None
        return element(
            "rect", cls=f"brush {self.along}", **_box(self.area),
            tabindex=0, role="slider", aria_label=f"narrow by {name(self.words)}: {KEYS}",
            aria_orientation="horizontal" if self.along == "x" else "vertical",
            aria_valuemin=0, aria_valuemax=100, aria_valuenow=0, aria_valuetext="all",
            data_path=write_path(self.path), data_label=name(self.words), data_along=self.along,
            data_kind=self.kind, data_log="yes" if self.log else None, data_also=self.also,
            data_low=repr(float(self.scale.low)), data_high=repr(float(self.scale.high)),
            data_first=float(self.scale.first), data_last=float(self.scale.last),
            data_levels=None if levels is None else to_json(levels).decode(),
        )  # fmt: skip


def brushable(
    width: int, height: int, title: str, inside: Iterable[Markup], brushes: Iterable[Brush], plot: Area | None = None
) -> Markup:
    """The picture, with those of its brushes that are possible; `plot` is where marks are, and both axes are brushed.

    The drawing is an image, its brushes stand beside it: what is inside of an image nobody can reach.
    """
    possible = [one for one in brushes if one.possible]
    if not possible:
        return picture(width, height, title, *inside)
    return element(
        "svg",
        element("rect", cls="plot", **_box(plot)) if plot else "",
        element("g", element("title", title), *inside, role="img", aria_label=title),
        element("g", *[one.drawn() for one in possible]),
        cls="chart brushable", viewBox=f"0 0 {width} {height}", width=width, height=height, role="group",
        aria_label=f"{title}, with axes to narrow by", preserveAspectRatio="xMinYMin meet",
    )  # fmt: skip


def kind_of(values: Iterable[float]) -> Kind:
    """Bounds of whole numbers are whole numbers."""
    return "whole" if all(one.is_integer() for one in values) else "number"


def literals_of(path: Path, values: Iterable[Any]) -> list[str]:
    """The values as a filter writes them, without those that it can't ask for: lists, objects, very long texts."""
    found: dict[str, None] = {}
    for value in values:
        scalar = _scalar(value)
        if scalar is not None and _is_read(path, "=", scalar):
            found[write_scalar(scalar)] = None
    return list(found)


def _scalar(value: Any) -> Scalar | None:
    if isinstance(value, (bool, str)):
        return value if isinstance(value, bool) or len(value) <= LONGEST_LEVEL else None
    if isinstance(value, (int, float, Decimal)) and (isinstance(value, int) or math.isfinite(value)):
        return Decimal(to_json(value).decode())
    return None


def _is_read(path: Path, operator: Operator, value: Scalar) -> bool:
    """Whether the language of filters reads what it writes of them."""
    condition = Compare(path, operator, value)
    try:
        return len(write_path(path)) <= LONGEST_PATH and parse(write(condition)) == condition
    except FilterError:
        return False


def _box(area: Area) -> dict[str, float]:
    return {name: float(value) for name, value in area._asdict().items()}
