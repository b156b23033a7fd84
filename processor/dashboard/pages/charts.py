"""`/charts`: best so far, single trials, their spread and failures, by arm, among the trials of a filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from processor.core.numbers import to_json
from processor.dashboard.charts.best import WORDS, best_picture
from processor.dashboard.charts.failures import failures_picture
from processor.dashboard.charts.parallel import parallel_picture
from processor.dashboard.charts.scatter import Scattered, scatter_picture
from processor.dashboard.charts.spreads import SHARES, Bounds, Spread, spread_picture, spreads
from processor.dashboard.comparing import read_path
from processor.dashboard.filters.terms import joined, paths_in, terms_of
from processor.dashboard.filters.text import called, write, write_path
from processor.dashboard.filters.tree import MAX_LENGTH, And
from processor.dashboard.pages.choosing import MOST_CHOSEN, Axes, Own, axes_offered, choose_axes, overs, read_own
from processor.dashboard.pages.compare import metrics_of, usual_metric
from processor.dashboard.pages.names import unknown_names
from processor.dashboard.pages.views import Question, Reading, Site, Table, View, read
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.charts import (
    ERRORS,
    SAMPLE,
    Best,
    Endings,
    Errors,
    Figures,
    Sampled,
    read_figures,
    sampled_trials,
)
from processor.dashboard.statistics.directions import guess_direction
from processor.dashboard.statistics.results import Direction

#: rows of an arm in the table of the best so far
TABLE = 200
#: the arrays of the page's JSON
CHARTS = ("best_so_far", "spread", "failures", "errors", "sample")
#: conditions of a filter that can be left out one by one
MOST_TERMS = 12
NAMES = ("chart", "arm", "name", "at", "value", "of")


class Charts(NamedTuple):
    """All that the page is drawn from. Without a metric there are failures alone, and the sample has no values."""

    direction: Direction
    axes: Axes
    best: list[Best]
    sample: list[Sampled]
    endings: list[Endings]
    errors: list[Errors]


async def show_charts(site: Site, question: Question) -> View:
    """The page of a filter, a metric and what else is asked for; `columns` are the parallel coordinates."""
    own, others = read_own(question.pairs)
    reading = read(others)
    asked = reading.asked
    scope = Scope(None, asked.filter)
    keys = await site.keys_of(scope)
    metric = asked.metric or usual_metric(keys)
    axes = choose_axes(keys, own.x, asked.columns)
    named = [*paths_in(scope.filter), *map(read_path, filter(None, (metric, own.x))), *(asked.columns or ())]
    without_columns = _query(reading, own, columns=None)
    context = {
        "reading": reading,
        "metric": metric,
        "metric_name": called(read_path(metric)) if metric else "",
        "metrics": metrics_of(keys, metric),
        "parameters": overs(keys, axes.over),
        "axes": axes,
        "axes_offered": axes_offered(keys, axes),
        "most_axes": MOST_CHOSEN,
        "own": own,
        "write_path": write_path,
        "ways": WORDS,
        "query": _query(reading, own),
        "kept": parse_qsl(without_columns.removeprefix("?")),
        "without_columns": without_columns,
        "empty": not keys,
        "narrowed": _narrowed(reading, own),
        "unfiltered": _query(reading, own, text=""),
        "brush": _brush(reading, {"metric": metric, "x": write_path(axes.over) if axes.over else ""}),
        "unknown": await unknown_names(site, scope, keys, named),
    }
    charts = await _charts(site, reading, metric, axes)
    found, bounds = spreads(charts.sample, own.metric_scale)
    context |= {"charts": charts, "sample_of": SAMPLE, "errors_of": ERRORS, "shares": SHARES, "spreads": found}
    context |= {"log": bounds is not None and bounds.log} | _climb(charts.best)
    context |= _pictures(charts, own, metric, found, bounds) | _tables(reading, metric, axes)
    document = {
        "metric": metric or None,
        "direction": charts.direction if metric else None,
        "axes": [write_path(path) for path in axes.paths],
        "best_so_far": charts.best,
        "spread": found,
        "failures": charts.endings,
        "errors": charts.errors,
        "sample": charts.sample,
    }
    return View(context, document, lambda: Table(NAMES, _rows(charts, found)))


def _query(reading: Reading, own: Own, **changes: Any) -> str:
    """The query string of the page, with its question mark, but for these changes of the reading."""
    more = urlencode(own.given(), quote_via=quote)
    query = reading.query(**changes)
    return query + ("&" if query and more else "?" if more else "") + more


def _narrowed(reading: Reading, own: Own) -> list[tuple[str, str]]:
    """The conditions of the filter, each with the query string without it; too many are one."""
    terms = list(joined(reading.asked.filter))
    if len(terms) > MOST_TERMS:
        return [(reading.text, _query(reading, own, text="") or "?")]
    return [
        (write(And((term,))), _query(reading, own, text=write(And((*terms[:at], *terms[at + 1 :])))) or "?")
        for at, term in enumerate(terms)
    ]


def _brush(reading: Reading, drawn: dict[str, str]) -> dict[str, str]:
    """What the script of the brushes has to know: the filter, and what is drawn where nobody asked for it.

    A narrower filter may make other choices, and the link that a brush makes is to show what was brushed.
    """
    return {
        "terms": to_json(terms_of(reading.asked.filter)).decode(),
        "drawn": to_json({name: value for name, value in drawn.items() if value}).decode(),
        "most": str(MAX_LENGTH),
    }


async def _charts(site: Site, reading: Reading, metric: str, axes: Axes) -> Charts:
    """Once for however many ask the same; as many at once as comparisons, which take as long.

    What all trials are read for is the same whichever way is better and whatever is drawn over what.
    """
    scope, path = Scope(None, reading.asked.filter), read_path(metric) if metric else None
    direction = _direction(metric, reading)

    async def find() -> Figures:
        async with site.comparing:
            return await read_figures(site.pool, scope, path)

    key = (write(scope.filter), path)
    found: Figures = await site.charts.get(key, find)
    sample: list[Sampled] = await site.charts.get(
        (*key, axes.paths, found.made), lambda: sampled_trials(site.pool, found.sample, path, axes.paths)
    )
    best = found.lowest if direction.better == "lower" else found.highest
    best = best if metric else []
    return Charts(direction, axes, best, sample, found.endings, found.errors)


def _direction(metric: str, reading: Reading) -> Direction:
    better = reading.asked.better
    return guess_direction(metric) if better is None else Direction(better, "chosen")


def _climb(best: Sequence[Best]) -> dict[str, Any]:
    """The rows of the table: of each arm its last ones, and how many are left out."""
    known = [one for one in best if one.best is not None]
    shown = [row for arm in (False, True) for row in [one for one in known if one.arm is arm][-TABLE:]]
    return {"climb": shown, "climb_left": len(known) - len(shown)}


def _pictures(charts: Charts, own: Own, metric: str, found: Sequence[Spread], bounds: Bounds | None) -> dict[str, Any]:
    failures = {"failures_picture": failures_picture(charts.endings)}
    if not metric:
        return failures
    axes, path = charts.axes, read_path(metric)
    shown = called(path)
    scatter, scatter_words = None, ""
    if axes.x is not None and axes.over is not None:
        asked = Scattered(axes.x, called(axes.over), shown, own.x_scale, own.metric_scale)
        scatter, scatter_words = scatter_picture(charts.sample, asked, (axes.over, path))
    names, paths = [called(one) for one in axes.shown], [*axes.shown, path]
    parallel, parallel_words = parallel_picture(charts.sample, names, shown, paths, axes.parallel, own.metric_scale)
    return failures | {
        "best_picture": best_picture(charts.best, shown, own.by, path, own.metric_scale),
        "scatter": scatter,
        "scatter_words": scatter_words,
        "x_name": called(axes.over) if axes.over else None,
        "parallel": parallel,
        "parallel_words": parallel_words,
        "spread_picture": spread_picture(found, bounds, shown, path),
    }


def _tables(reading: Reading, metric: str, axes: Axes) -> dict[str, str]:
    """Query strings of the pages that list the trials of a figure, with what it draws of each in columns."""
    plain = {"metric": "", "better": None}
    drawn = (read_path(metric),) if metric else ()
    over = (axes.over,) if axes.over else ()
    return {
        "scatter_table": reading.query(columns=(*over, *drawn), **plain),
        "parallel_table": reading.query(columns=(*axes.shown, *drawn), **plain),
    }


def _rows(charts: Charts, found: Sequence[Spread]) -> Iterator[tuple[Any, ...]]:
    for one in charts.best:
        yield "best_so_far", one.arm, one.trial_id, one.at, one.best, one.place
    for spread in found:
        for share, value in zip(SHARES, spread.quantiles, strict=False):
            yield "spread", spread.arm, f"quantile {share:g}", "", value, spread.finite
    for ending in charts.endings:
        yield "failures", ending.arm, "failed", ending.at, ending.failed, ending.ended
    for error in charts.errors:
        yield "errors", "", error.error_type or "", "", error.trials, ""
