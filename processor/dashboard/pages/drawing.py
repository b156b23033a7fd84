"""SVG made on the server: shapes of ours with numbers in them, and texts that are escaped.

Colours are classes of the style sheet, so that light, dark and print have their own; no `style` attribute stands
anywhere, the policy of the pages forbids it. Coordinates are pixels of a view box that a browser scales.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape


def element(_name: str, *inside: Any, **attributes: Any) -> Markup:
    """`cls` is the class; a `_` in a name stands for a dash; floats are written short."""
    said = "".join(
        f' {"class" if name == "cls" else name.replace("_", "-")}="{_written(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{_name}{said}>{''.join(escape(one) for one in inside)}</{_name}>")


def _written(value: Any) -> str:
    """Escaped; most attributes are coordinates, in which nothing has to be."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value) if type(value) is int else escape(str(value))


def picture(width: int, height: int, title: str, *inside: Any, cls: str = "chart") -> Markup:
    """An SVG that says what it shows."""
    return element(
        "svg", element("title", title), *inside,
        cls=cls, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=title,
        preserveAspectRatio="xMinYMin meet",
    )  # fmt: skip


class Scale(NamedTuple):
    """From values low..high to pixels first..last."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        # halves: the difference of two doubles may be none
        width = self.high / 2 - self.low / 2
        if not width:
            return (self.first + self.last) / 2
        return self.first + (value / 2 - self.low / 2) / width * (self.last - self.first)


def spread(values: Iterable[float], *, around: float | None = None) -> tuple[float, float]:
    """Least and greatest of the finite values, with some room; `around` is held too."""
    finite = [one for one in values if math.isfinite(one)] + ([] if around is None else [around])
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = (high / 2 - low / 2) * 0.1 or abs(high) * 0.1 or 1.0
    return max(low - room, -sys.float_info.max), min(high + room, sys.float_info.max)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers in low..high."""
    width = high / 2 - low / 2
    if not width or not math.isfinite(width):
        return [low]
    raw = 2 * (width / most)
    if raw < 1e-300 or not math.isfinite(raw):
        return [low, high]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= raw * 0.999)
    first = math.ceil(low / step)
    found = [(first + number) * step for number in range(most * 3)]
    return [one for one in found if low <= one <= high]


def bar(parts: Sequence[tuple[str, int]], title: str, width: int = 120, height: int = 10) -> Markup:
    """One bar of (class, count) parts beside each other."""
    total = sum(count for _, count in parts)
    rects, at = [], 0.0
    for cls, count in parts:
        if count:
            size = width * count / total
            rects.append(element("rect", x=at, y=0, width=max(size, 0.5), height=height, cls=cls))
            at += size
    if not total:
        rects.append(element("rect", x=0, y=0, width=width, height=height, cls="none"))
    return picture(width, height, title, *rects, cls="bar")


#: pixels from the end of an axis to words that would reach beyond it
ROOM = 24


def axis_x(scale: Scale, y: float, top: float, marks: Sequence[tuple[float, str]]) -> Markup:
    """A line with marked values below it, and faint lines up to `top`; at the left end words begin below it, since what
    stands beside the axis is there.
    """
    parts = [element("line", x1=scale.first, x2=scale.last, y1=y, y2=y, cls="axis")]
    for value, words in marks:
        x = scale(value)
        parts.append(element("line", x1=x, x2=x, y1=top, y2=y, cls="grid"))
        anchor = "start" if x - scale.first < ROOM else "middle"
        parts.append(element("text", words, x=x, y=y + 15, text_anchor=anchor))
    return Markup("").join(parts)


def axis_y(scale: Scale, x: float, right: float, marks: Sequence[tuple[float, str]]) -> Markup:
    """The same at the side."""
    parts = []
    for value, words in marks:
        y = scale(value)
        parts.append(element("line", x1=x, x2=right, y1=y, y2=y, cls="grid"))
        parts.append(element("text", words, x=x - 6, y=y + 4, text_anchor="end"))
    return Markup("").join(parts)


def whisker(scale: Scale, y: float, low: float | None, high: float | None, cls: str) -> Markup:
    """An interval as a line with ends; a bound that is missing is an arrow's end."""
    left = scale.first if low is None else max(scale(low), scale.first)
    right = scale.last if high is None else min(scale(high), scale.last)
    parts = [element("line", x1=left, x2=right, y1=y, y2=y, cls=f"{cls} whisker")]
    for x, bound in ((left, low), (right, high)):
        if bound is not None:
            parts.append(element("line", x1=x, x2=x, y1=y - 4, y2=y + 4, cls=f"{cls} whisker"))
    return Markup("").join(parts)


def points_of(found: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_written(float(x))},{_written(float(y))}" for x, y in found)
