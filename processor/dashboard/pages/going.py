"""`/go`: what somebody types -> the page they most likely mean."""

from __future__ import annotations

from urllib.parse import quote

from processor.core.text import storable
from processor.dashboard.filters.text import write
from processor.dashboard.filters.tree import Search
from processor.dashboard.pages.paths import run_path, trial_path
from processor.dashboard.pages.views import Question, Site, read_few
from processor.store.pool import Pool


async def find(site: Site, question: Question) -> str:
    """The path of the run with this id, of the trial `RUN/TRIAL`, or of the trials that have the text in them."""
    text = read_few(question.pairs, ("to",)).get("to", "")
    if not text:
        return "/trials"
    if await _is_run(site.pool, text):
        return run_path(text)
    run_id, slash, trial_id = text.rpartition("/")
    if slash and await site.pool.fetch("trial_by_name", storable(run_id), storable(trial_id)):
        return trial_path(run_id, trial_id)
    return f"/trials?q={quote(write(Search(str(storable(text)))), safe='')}"


async def _is_run(pool: Pool, text: str) -> bool:
    return bool(await pool.fetch("run_by_name", storable(text)))
