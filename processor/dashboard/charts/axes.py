"""Axes: linear, or by powers of ten where the values ask for it; and what is common to all charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from markupsafe import Markup

from processor.core.text import printable
from processor.dashboard.pages.drawing import Scale, element, spread, ticks
from processor.dashboard.pages.rendering import middle, number

Power = Literal["linear", "log"]
#: positive values that span more than so many times their least are drawn by powers of ten where nobody says otherwise
WIDE = 1000
#: those of a parameter where they span so many times, and half of them are below a `LOW`th of the greatest: as where
#: two decades are searched by powers of ten, and not where a range from 0 on is searched evenly
SEARCHED, LOW = 30, 5
#: seconds between the times of an axis, and how those are written; beyond them whole years
STEPS = (
    *((step, "%H:%M:%S.%f") for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)),
    *((step, "%H:%M:%S") for step in (1, 2, 5, 10, 15, 30)),
    *((60 * step, "%H:%M") for step in (1, 2, 5, 10, 15, 30)),
    *((3600 * step, "%H:%M") for step in (1, 2, 3, 6, 12)),
    *((86_400 * step, "%d %b") for step in (1, 2, 4, 7, 14, 30, 60, 120, 180)),
)
YEAR = 31_557_600.0
#: in a picture's title
LOG = " (by powers of ten)"
ARMS = ((True, "with", "with spectral norm"), (False, "without", "without"))


class Axis(NamedTuple):
    scale: Scale
    log: bool = False

    def has(self, value: float) -> bool:
        """Whether the value has a place."""
        return value > 0 or not self.log

    def __call__(self, value: float) -> float:
        return self.scale(math.log10(value) if self.log else value)

    def marks(self, most: int = 5) -> list[tuple[float, str]]:
        """Values of the scale with their words."""
        if not self.log:
            return [(one, number(one)) for one in ticks(self.scale.low, self.scale.high, most)]
        low, high = self.scale.low, self.scale.high
        # beyond these a double is none, or has lost its digits
        first, last = max(-307, math.ceil(low)), min(307, math.floor(high))
        if last - first >= 2:
            step = max(1, math.ceil((last - first) / most))
            return [(float(power), number(10.0**power)) for power in range(first, last + 1, step)]
        # two powers of ten at the most: what lies between them is told too
        found = [step * 10.0**power for power in range(first - 1, last + 1) for step in (1, 2, 5)]
        found = [one for one in found if low <= math.log10(one) <= high]
        if len(found) < 2 and low > -307 and high < 307:
            found = [one for one in ticks(10.0**low, 10.0**high, most) if low <= math.log10(one) <= high]
        within = found[:: max(1, math.ceil(len(found) / (most + 2)))]
        return [(math.log10(one), number(float(f"{one:.12g}"))) for one in within]


def moments(scale: Scale, most: int = 5) -> list[tuple[float, str]]:
    """Round times in UTC on a scale of seconds since 1970, `most` or a few less, with their words, all different.

    The first of a day says which day it is, the first day of a year which year. A scale of a moment has that one.
    """
    span = scale.high - scale.low
    step, form = next((one for one in STEPS if span / one[0] <= most), (0.0, "%b %Y"))
    step = step or YEAR / 2 * math.ceil(2 * span / most / YEAR)
    around = "%d %b " if "%H" in form else ""
    found: list[tuple[float, str]] = []
    before = ""
    for place in range(math.ceil(scale.low / step), math.floor(scale.high / step) + 1):
        at = min(max(place * step, scale.low), scale.high)  # a product may be a digit beyond
        now = _written(at, around or "%Y")
        words = _written(at, form)
        if now != before and form != "%b %Y":
            words = now + words if around else f"{words} {now}"
        before = now
        found.append((at, words))
    return found or [(scale.low, _written(scale.low, "%d %b %H:%M:%S.%f"))]


def _written(at: float, form: str) -> str:
    """To the millisecond at the most."""
    words = datetime.fromtimestamp(round(at, 3), UTC).strftime(form)
    return words[:-3] if form.endswith("%f") else words


def is_wide(low: float, high: float, wide: float = WIDE) -> bool:
    """Whether values from `low` to `high` are drawn by powers of ten."""
    return low > 0 and high / wide > low


def _is_searched(found: Sequence[float]) -> bool:
    ordered = sorted(found)
    return is_wide(ordered[0], ordered[-1], SEARCHED) and ordered[-1] / LOW > quantile(ordered, 0.5)


def axis_of(
    values: Iterable[float], first: float, last: float, power: Power | None = None, *, searched: bool = False
) -> Axis:
    """From pixel `first` to `last`, with some room around the values, which are finite; by powers of ten where `power`
    says so and there are any above 0, or where it says nothing and they are spread so; `searched` are a parameter's.

    What is not above 0 has no place by powers of ten (`has`).
    """
    found = list(values)
    above = [one for one in found if one > 0]
    spread_so = _is_searched if searched else lambda some: is_wide(min(some), max(some))
    if above and (power == "log" or (power is None and spread_so(found))):
        return Axis(Scale(*spread(map(math.log10, above)), first, last), log=True)
    return Axis(Scale(*spread(found), first, last))


def name(text: str, limit: int = 40) -> str:
    """An id, or a name of a metric or parameter, as it can stand in a picture."""
    return middle(printable(text), limit)


def counted(number: int, word: str) -> str:
    """`1 trial`, `2,000 trials`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def ordinal(number: int) -> str:
    """`2nd`, `3rd`, `11th`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def key(x: float, y: float) -> Markup:
    """Which arm has which colour; from the left on, which is what a telephone shows of a picture first."""
    parts: list[Markup] = []
    for _, cls, words in ARMS:
        parts.append(element("text", words, x=x, y=y, cls=cls))
        x += 8 * len(words) + 10
    return Markup("").join(parts)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of values in order, of which there is one at least; between two of them in proportion."""
    at = share * (len(ordered) - 1)
    below = math.floor(at)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return low + (high - low) * (at - below)
