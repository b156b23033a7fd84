"""`/runs/{run_id}`: what the run said of itself, what is under way, its trials."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from processor.core.text import printable, storable
from processor.dashboard.filters.text import write
from processor.dashboard.filters.tree import Compare, Path
from processor.dashboard.pages.charts import best_of_run
from processor.dashboard.pages.listing import export_trials, list_trials
from processor.dashboard.pages.paths import Form, run_path
from processor.dashboard.pages.runs import describe
from processor.dashboard.pages.views import NotFound, Question, Site, Table, View, read
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.progress import run_life, running_trials
from processor.dashboard.queries.runs import run_counts
from processor.store.pool import Pool

#: of a run with more trials the page has no chart of the best so far: that looks at each, and has a page of its own
DRAWN = 5000


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
        "best": await best_of_run(site, run_id, listing.keys) if counts.trials <= DRAWN else None,
        "only_this": write(Compare(Path("run_id"), "=", run_id)),
    }
    document = {"run": run, "counts": counts, "life": life, "under_way": under_way, **listing.document()}
    return View(context, document, lambda: Table((), ()))


async def export_run(site: Site, question: Question, form: Form) -> AsyncIterator[bytes]:
    """All trials of the run that the filter holds."""
    (run_id,) = question.ids
    await run_by_name(site.pool, run_id)
    async for portion in export_trials(site, Scope(run_id, read(question.pairs).asked.filter), form):
        yield portion
