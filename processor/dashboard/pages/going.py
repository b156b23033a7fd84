"""`/go`: what somebody types -> the page they most likely mean."""

from __future__ import annotations

from urllib.parse import quote

from processor.core.text import storable
from processor.dashboard.filters.text import write
from processor.dashboard.filters.tree import Search
from processor.dashboard.pages.paths import run_path, trial_path
from processor.dashboard.pages.views import Question, Site, read_few
from processor.store.pool import Pool

#: at so many slashes it may be that the run's id ends and the trial's begins; each is a question of the whole text
MOST_SLASHES = 100


async def find(site: Site, question: Question) -> str:
    """The path of the run with this id, of the trial `RUN/TRIAL`, or of the trials that have the text in them."""
    text = read_few(question.pairs, ("to",)).get("to", "")
    if not text:
        return "/trials"
    if await _is_run(site.pool, text):
        return run_path(text)
    if trial := await _trial(site.pool, text):
        return trial_path(*trial)
    return f"/trials?q={quote(write(Search(str(storable(text)))), safe='')}"


async def _is_run(pool: Pool, text: str) -> bool:
    return bool(await pool.fetch("run_by_name", storable(text)))


async def _trial(pool: Pool, text: str) -> tuple[str, str] | None:
    """The run and the trial, which may be under way; either id may have slashes of its own, and those of the run come
    first.
    """
    places = [at for at, character in enumerate(text) if character == "/"][-MOST_SLASHES:]
    names = [(text[:at], text[at + 1 :]) for at in reversed(places)]
    wanted = [[storable(one[part]) for one in names] for part in (0, 1)]
    found = await pool.fetch("trial_that_is", *wanted) if names else []
    return (found[0]["run_id"], found[0]["trial_id"]) if found else None
