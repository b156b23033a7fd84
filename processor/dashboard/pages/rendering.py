"""Values -> what people read, and templates that escape whatever is not of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from processor import __version__
from processor.core.numbers import to_json
from processor.core.text import natural_order, printable
from processor.dashboard.pages import drawing
from processor.dashboard.pages.paths import run_path, trial_path, write_name
from processor.dashboard.statistics.results import Interval

#: characters of a value in a table's cell; the whole of it stands on the trial's page
CELL = 60
#: those of an id: a table breaks it where there is no room
ID = 64
NOTHING = "–"
#: in base.html, and nowhere before; what comes from outside is escaped
_MAIN = '<main id="main"'


@cache
def environment() -> Environment:
    """All templates; every expression is escaped, a name that is missing is an error."""
    made = Environment(
        loader=PackageLoader("processor.dashboard.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "value": value,
        "text": text,
        "name": name,
        "plain": plain,
        "line": line,
        "whole": whole,
        "lines": lines,
        "moment": moment,
        "duration": duration,
        "share": share,
        "interval": interval,
        "count": count,
        "json": pretty,
        "signed": signed,
        "brief": brief,
        "sentence": sentence,
        "coded": coded,
        "in_order": in_order,
    }
    made.globals |= {"run_path": run_path, "trial_path": trial_path, "write_name": write_name}
    made.globals |= {"draw": drawing, "version": __version__}
    return made


def render(template: str, context: Mapping[str, Any]) -> bytes:
    return environment().get_template(template).render(context).encode()


def beginning(template: str, context: Mapping[str, Any]) -> bytes:
    """A page up to what it is about, which `context` need not hold: no more of the template is run."""
    found: list[str] = []
    for part in environment().get_template(template).generate(context):
        found.append(part)  # not added up: a text that is safe would escape what it is added to
        if _MAIN in part:
            break
    return "".join(found).partition(_MAIN)[0].encode()


def rest(page: bytes) -> bytes:
    """What follows the beginning of a page."""
    return b"".join(page.partition(_MAIN.encode())[1:])


def number(found: Any) -> str:
    """Six digits; a count keeps all of its own."""
    if found is None:
        return NOTHING
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int) and abs(found) < 10**15:
        return count(found)
    if isinstance(found, float) and not math.isfinite(found):
        return "NaN" if math.isnan(found) else "infinite"
    within = abs(found) < 1e308  # a decimal may be larger than any double
    # what is minus nothing, as a small difference that was rounded, is nothing
    return (f"{float(found) or 0.0:.6g}" if within else f"{Decimal(found):.6g}").replace("-", "−")


def brief(found: float | None) -> str:
    """Four digits, or six before the point: more of an estimate say nothing to a reader, and are in the JSON."""
    if found is None or not math.isfinite(found) or abs(found) >= 1000:
        return number(found)
    return number(float(f"{found:.4g}"))


def signed(found: float | None) -> str:
    """A difference: with its sign, brief."""
    if found is None or not found:
        return number(found)
    return brief(found) if found < 0 else f"+{brief(found)}"


def count(found: int | None) -> str:
    return NOTHING if found is None else f"{found:,}".replace("-", "−")


def share(found: float | None) -> str:
    """Of 0..1, in percent."""
    if found is None:
        return NOTHING
    percent = 100 * found
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def interval(found: Interval, how: str = "number") -> str:
    """The bounds alone: `0.1 to 0.4`; empty where there are none."""
    if found.low is None and found.high is None:
        return ""
    said = {"number": brief, "share": share, "signed": signed}[how]
    low = "any lower value" if found.low is None else said(found.low)
    return f"{low} to {'any higher value' if found.high is None else said(found.high)}"


def text(found: Any, limit: int = CELL) -> Markup | str:
    """One line, without what is invisible; what is longer than `limit` is cut, and can be read whole on hovering."""
    shown = line(found)
    return shown if len(shown) <= limit else _hovered(shown, f"{shown[: limit - 1]}…")


def name(found: Any, limit: int = ID) -> Markup | str:
    """As `text`, but cut in the middle: ids and names of metrics often differ in their last characters alone."""
    shown = line(found)
    return shown if len(shown) <= limit else _hovered(shown, middle(shown, limit))


def plain(found: Any, limit: int = CELL) -> str:
    """As `name`, where no markup can stand: in a title, an option, an attribute."""
    return middle(line(found), limit)


def middle(shown: str, limit: int) -> str:
    """Its beginning and its end where it is longer than `limit`."""
    if len(shown) <= limit:
        return shown
    end = (limit - 1) // 2
    return f"{shown[: limit - 1 - end]}…{shown[-end:]}"


def _hovered(shown: str, cut: str) -> Markup:
    return Markup('<span title="{}">{}</span>').format(shown[:1000], cut)


def line(found: Any) -> str:
    """All of it in one line, also of an id of blanks: that could not be seen, nor clicked on."""
    if found is None or found == "":
        return NOTHING
    shown = printable(str(found))
    return shown if shown.strip() else "␣" * len(shown)


def whole(found: Any) -> str:
    """All of it, without what is invisible."""
    return NOTHING if found is None or found == "" else printable(str(found))


def sentence(found: str) -> str:
    """It begins with a capital letter."""
    shown = whole(found)
    return shown[:1].upper() + shown[1:]


def coded(found: str) -> Markup:
    """A sentence of ours, in which what stands between backticks is code."""
    parts = sentence(found).split("`") if found else [NOTHING]
    return Markup("").join(Markup("<code>{}</code>" if at % 2 else "{}").format(one) for at, one in enumerate(parts))


def in_order(held: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Names with their values, in the order that people look them up in."""
    return sorted(held.items(), key=lambda one: natural_order(one[0]))


def lines(found: str) -> str:
    """A text of several lines: those are kept, and whatever else is invisible is shown."""
    return "\n".join(printable(line.replace("\t", "    ")) for line in found.split("\n"))


def value(found: Any, limit: int = CELL) -> Markup | str:
    """A metric, a parameter, a column: numbers short, with all their digits on hovering."""
    if found is None:
        return NOTHING
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, datetime):
        return moment(found)
    if isinstance(found, UUID):
        return str(found)
    if isinstance(found, (int, float, Decimal)):
        exact = to_json(found).decode()[:1000]
        short = exact if len(exact) <= 10 else number(found)
        return short if short == exact else Markup('<span title="{}">{}</span>').format(exact, short)
    return text(found if isinstance(found, str) else to_json(found).decode(), limit)


def moment(found: datetime | None) -> Markup | str:
    """In UTC, to the second."""
    if found is None:
        return NOTHING
    there = found.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        there.isoformat(timespec="milliseconds"), there.strftime("%Y-%m-%d %H:%M:%S")
    )


def duration(milliseconds: float | None) -> str:
    """Two units at the most: `3 h 12 min`, `2.5 s`."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole_seconds = round(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole_seconds >= size:
            rest = whole_seconds % size // smaller
            return f"{whole_seconds // size:,} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{seconds:.3g} s"


def pretty(found: Any) -> str:
    """JSON for people: indented, without what is invisible."""
    return lines(msgspec.json.format(to_json(found), indent=2).decode())
