"""`/runs/{run_id}`: what the run said of itself, what is under way, its trials."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from processor.core.text import printable, storable
from processor.dashboard.charts.best import best_picture
from processor.dashboard.comparing import read_path
from processor.dashboard.filters.text import called, write
from processor.dashboard.filters.tree import Compare, Path
from processor.dashboard.pages.compare import usual_metric
from processor.dashboard.pages.listing import export_trials, list_trials
from processor.dashboard.pages.paths import Form, run_path
from processor.dashboard.pages.runs import describe
from processor.dashboard.pages.views import NotFound, Question, Site, Table, View, read
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.charts import best_so_far
from processor.dashboard.queries.columns import TooMany
from processor.dashboard.queries.progress import run_life, running_trials
from processor.dashboard.queries.runs import run_counts
from processor.dashboard.queries.trials import Key
from processor.dashboard.statistics.directions import guess_direction
from processor.dashboard.statistics.results import Direction
from processor.store.pool import Pool

#: of a run with more trials the page has no chart of the best so far: that looks at each, and has a page of its own
DRAWN = 5000


class RunBest(NamedTuple):
    picture: Markup
    metric: str
    direction: Direction


async def run_by_name(pool: Pool, run_id: str) -> dict[str, Any]:
    """The run's row. Raises `NotFound`."""
    found = await pool.fetch("run_by_name", storable(run_id))
    if not found:
        raise NotFound(f"there is no run {printable(run_id)[:200]}")
    return found[0]


async def show_run(site: Site, question: Question) -> View:
    """The page; filter, order and columns are those of its trials."""
    (run_id,) = question.ids
    reading = read(question.pairs)
    run = await run_by_name(site.pool, run_id)
    (counts,) = await run_counts(site.pool, [run["id"]])
    life = await run_life(site.pool, run_id)
    under_way = await running_trials(site.pool, run_id)
    listing = await list_trials(site, Scope(run_id, reading.asked.filter), reading)
    context = {
        "run": {**run, **describe(run, counts)},
        "life": life,
        "under_way": under_way,
        **listing.context(),
        "action": run_path(run_id),
        "best": await _best_of_run(site, run_id, listing.keys) if counts.trials <= DRAWN else None,
        "only_this": write(Compare(Path("run_id"), "=", run_id)),
    }
    document = {"run": run, "counts": counts, "life": life, "under_way": under_way, **listing.document()}
    return View(context, document, lambda: Table((), ()))


async def _best_of_run(site: Site, run_id: str, keys: Sequence[Key]) -> RunBest | None:
    """The best so far of a run by its usual metric; None where no trial has one, and where there are too many."""
    metric = usual_metric(keys)
    if not metric:
        return None
    direction, path = guess_direction(metric), read_path(metric)
    try:
        rows = await site.charts.get(
            ("run", run_id, path),
            lambda: best_so_far(site.pool, Scope(run_id), path, higher=direction.better != "lower"),
        )
    except TooMany:  # the page is about more than this
        return None
    drawn = best_picture(rows, called(path), "trial")
    return None if drawn is None else RunBest(drawn, called(path), direction)


async def export_run(site: Site, question: Question, form: Form) -> AsyncIterator[bytes]:
    """All trials of the run that the filter holds."""
    (run_id,) = question.ids
    await run_by_name(site.pool, run_id)
    async for portion in export_trials(site, Scope(run_id, read(question.pairs).asked.filter), form):
        yield portion
