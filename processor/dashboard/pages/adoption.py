"""`/adoption`: how much spectral normalisation is used, over time and by run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from markupsafe import Markup

from processor.core.errors import UsageError
from processor.dashboard.charts.axes import moments
from processor.dashboard.pages.drawing import Scale, axis_x, axis_y, element, picture, points_of, ticks
from processor.dashboard.pages.rendering import count, share
from processor.dashboard.pages.runs import counted_runs, query
from processor.dashboard.pages.views import Question, Site, Table, View, read_few
from processor.dashboard.queries.adoption import Adoption, adoption, first_span
from processor.dashboard.statistics.intervals import Confidence
from processor.dashboard.statistics.rates import wilson
from processor.dashboard.statistics.results import Interval

KNOWN = ("window",)
USUAL = "7d"
#: runs that are listed: the newest, which are the ones that tell whether it is taken up
RUNS = 50
WIDTH, HEIGHT, LEFT, RIGHT = 960, 300, 56, 12


class Window(NamedTuple):
    """How far back, in spans of how many seconds, and how it is called."""

    back: timedelta
    seconds: int
    words: str


WINDOWS = {
    "1h": Window(timedelta(hours=1), 60, "the last hour, by minute"),
    "24h": Window(timedelta(hours=24), 1800, "the last 24 hours, by half hour"),
    "7d": Window(timedelta(days=7), 3 * 3600, "the last 7 days, by three hours"),
    "30d": Window(timedelta(days=30), 86_400, "the last 30 days, by day"),
    "1y": Window(timedelta(days=365), 7 * 86_400, "the last year, by week"),
}


async def show_adoption(site: Site, question: Question) -> View:
    """The page; `window` is one of 1h, 24h, 7d, 30d, 1y."""
    given = read_few(question.pairs, KNOWN)
    name = given.get("window", USUAL)
    if name not in WINDOWS:
        raise UsageError(f"window is one of {', '.join(WINDOWS)}")
    window = WINDOWS[name]

    async def find() -> tuple[datetime, list[Adoption]]:
        now = datetime.now(UTC)
        return now, await adoption(site.pool, now - window.back, now, window.seconds)

    until, spans = await site.counts.get(("adoption", name), find)
    page = await counted_runs(site, limit=RUNS)
    trials, adopted = sum(one.trials for one in spans), sum(one.adopted for one in spans)
    runs = [
        {"run_id": run["run_id"], "counts": counts, "share": _share(counts.with_spectral_norm, counts.trials)}
        for run, counts in zip(page.runs, page.counts, strict=True)
    ]
    total = _share(adopted, trials)
    document = {"window": name, "seconds": window.seconds, "until": until, "share": total, "spans": spans, "runs": runs}
    context = {
        "name": name,
        "window": window,
        "windows": WINDOWS,
        "spans": spans,
        "since": first_span(until - window.back, window.seconds),
        "trials": trials,
        "adopted": adopted,
        "defaulted": sum(one.defaulted for one in spans),
        "share": total,
        "runs": runs,
        "more_runs": page.next is not None,
        "picture": over_time(spans, window, until) if spans else None,
        "query": query(given),
    }
    return View(context, document, lambda: _table(spans))


def _share(adopted: int, trials: int) -> Interval:
    return wilson(adopted, trials, Confidence())


def _table(spans: Sequence[Adoption]) -> Table:
    names = ("at", "trials", "with_spectral_norm", "defaulted", "share", "low", "high")
    return Table(
        names,
        [
            (one.at, one.trials, one.adopted, one.defaulted, one.share.estimate, one.share.low, one.share.high)
            for one in spans
        ],
    )


def over_time(spans: Sequence[Adoption], window: Window, until: datetime) -> Markup:
    """Below: trials a span, stacked; above: the share that has it, with its interval."""
    middle, bottom = 170, HEIGHT - 24
    x = Scale((until - window.back).timestamp(), until.timestamp(), LEFT, WIDTH - RIGHT)
    shares, most = Scale(0.0, 1.0, middle - 14, 12), max(one.trials for one in spans)
    counts = Scale(0.0, float(most), bottom, middle + 10)
    whole = x(x.low + window.seconds) - x(x.low) - 1
    parts = [
        axis_y(shares, LEFT, WIDTH - RIGHT, [(one, share(one)) for one in (0.0, 0.5, 1.0)]),
        axis_y(counts, LEFT, WIDTH - RIGHT, [(one, count(int(one))) for one in ticks(0.0, float(most), 2) if one]),
        axis_x(x, bottom, 12, moments(x, 7)),
    ]
    line = []
    for one in spans:
        left = x(max(one.at.timestamp(), x.low))
        wide = max(1.0, min(whole, WIDTH - RIGHT - left))  # the newest span is still going on
        parts += _bars(one, counts, left, wide)
        if one.share.estimate is not None and one.share.low is not None and one.share.high is not None:
            at = left + wide / 2
            top, low = shares(one.share.high), shares(one.share.low)
            parts.append(element("line", x1=at, x2=at, y1=top, y2=low, cls="with whisker"))
            line.append((at, shares(one.share.estimate)))
    parts.append(element("polyline", points=points_of(line), cls="with"))
    parts += [element("circle", cx=at, cy=y, r=2.5, cls="with") for at, y in line]
    return picture(WIDTH, HEIGHT, f"Share of trials with spectral norm, and their number, {window.words}", *parts)


def _bars(one: Adoption, counts: Scale, left: float, wide: float) -> list[Markup]:
    """With it, without it, and those that did not say, on top of each other."""
    parts, below = [], 0
    for cls, size in (
        ("with", one.adopted),
        ("without", one.trials - one.adopted - one.defaulted),
        ("defaulted", one.defaulted),
    ):
        if size > 0:
            y = counts(float(below + size))
            height = counts(float(below)) - y
            parts.append(element("rect", x=left, y=y, width=wide, height=height, cls=cls))
            below += size
    return parts
