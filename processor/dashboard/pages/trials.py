"""`/trials`: the trials of all runs, filtered and sorted."""

from __future__ import annotations

from collections.abc import AsyncIterator

from processor.dashboard.pages.listing import export_trials, list_trials
from processor.dashboard.pages.paths import Form
from processor.dashboard.pages.views import Question, Site, Table, View, read
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.sorting import NEWEST


async def show_trials(site: Site, question: Question) -> View:
    """The page that the query asks for."""
    reading = read(question.pairs)
    listing = await list_trials(site, Scope(None, reading.asked.filter), reading)
    context = {
        **listing.context(),
        "action": "/trials",
        "newest": NEWEST,
    }
    return View(context, listing.document(), lambda: Table((), ()))


def export_all(site: Site, question: Question, form: Form) -> AsyncIterator[bytes]:
    """All trials of the filter, whatever page is looked at."""
    return export_trials(site, Scope(None, read(question.pairs).asked.filter), form)
