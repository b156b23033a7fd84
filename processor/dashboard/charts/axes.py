"""Axes: linear, or by powers of ten where the values ask for it; and what is common to all charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

from processor.core.text import printable
from processor.dashboard.pages.drawing import Scale, element, spread, ticks
from processor.dashboard.pages.rendering import middle, number

#: positive values that span more than so many times their least are drawn by powers of ten
WIDE = 1000
#: how a time is written on an axis that spans so many seconds; a form tells times apart that are a quarter of it apart
TIMES = ((3e7, "%d %b %Y"), (4 * 86_400.0, "%d %b"), (3600.0, "%d %b %H:%M"), (5.0, "%H:%M:%S"), (0.0, "%H:%M:%S.%f"))
ARMS = ((True, "with", "with spectral norm"), (False, "without", "without"))


class Axis(NamedTuple):
    scale: Scale
    log: bool = False

    def __call__(self, value: float) -> float:
        return self.scale(math.log10(value) if self.log else value)

    def marks(self, most: int = 5) -> list[tuple[float, str]]:
        """Values of the scale with their words."""
        if not self.log:
            return [(one, number(one)) for one in ticks(self.scale.low, self.scale.high, most)]
        # beyond these a double is none, or has lost its digits
        first, last = max(-307, math.ceil(self.scale.low)), min(307, math.floor(self.scale.high))
        step = max(1, math.ceil((last - first) / most))
        return [(float(power), number(10.0**power)) for power in range(first, last + 1, step)]


def moments(scale: Scale, parts: Sequence[float]) -> list[tuple[float, str]]:
    """Times at these parts of a scale of seconds since 1970 (0: its low end), with their words, which are different."""
    span = scale.high - scale.low
    form = next(form for least, form in TIMES if span > least or not least)
    found: dict[str, float] = {}
    for part in parts:
        at = scale.low + span * part
        words = datetime.fromtimestamp(at, UTC).strftime(form)
        found.setdefault(words[:-3] if form.endswith("%f") else words, at)  # to the millisecond
    return [(at, words) for words, at in found.items()]


def is_wide(low: float, high: float) -> bool:
    """Whether values from `low` to `high` are drawn by powers of ten."""
    return low > 0 and high / WIDE > low


def axis_of(values: Iterable[float], first: float, last: float) -> Axis:
    """From pixel `first` to `last`, with some room around the values, which are finite."""
    found = list(values)
    if found and is_wide(min(found), max(found)):
        return Axis(Scale(*spread(map(math.log10, found)), first, last), log=True)
    return Axis(Scale(*spread(found), first, last))


def name(text: str, limit: int = 40) -> str:
    """An id, or a name of a metric or parameter, as it can stand in a picture."""
    return middle(printable(text), limit)


def counted(number: int, word: str) -> str:
    """`1 trial`, `2,000 trials`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def key(width: float, y: float) -> Markup:
    """Which arm has which colour."""
    parts: list[Markup] = []
    x = width
    for _, cls, words in reversed(ARMS):
        parts.append(element("text", words, x=x, y=y, text_anchor="end", cls=cls))
        x -= 8 * len(words) + 10
    return Markup("").join(parts)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of values in order, of which there is one at least; between two of them in proportion."""
    at = share * (len(ordered) - 1)
    below = math.floor(at)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return low + (high - low) * (at - below)
