"""What a page is before it has a form: a document, a table, a template; and what the pages share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, NamedTuple
from urllib.parse import quote

from processor.core.errors import UsageError
from processor.core.text import printable
from processor.dashboard.asked import Asked, read_asked, write_asked
from processor.dashboard.changes import Changes, ask_version
from processor.dashboard.filters.indexed import Indexed
from processor.dashboard.filters.text import write
from processor.dashboard.filters.tree import EVERYTHING, MAX_LENGTH
from processor.dashboard.pages.paths import Form
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.indexed import HELD_SECONDS as INDEXED_SECONDS
from processor.dashboard.queries.indexed import read_indexed
from processor.dashboard.queries.trials import Key, trial_keys
from processor.dashboard.sharing import Shared
from processor.dashboard.statistics.results import Comparison
from processor.store.pool import Pool
from processor.web.refusals import NotTaken

Pairs = Sequence[tuple[str, str]]
#: comparisons at once: each may hold 200 MB and a processor
COMPARISONS = 2
#: pages that are held for others who watch the same, by version
HELD_SECONDS, HELD = 5.0, 64
#: a page that reads trials and is there within this comes whole, with its status; else it begins before it is there
PATIENCE_SECONDS = 0.25
#: figures and samples of charts that are held, some megabytes each, and lists of names, up to 200 kB each
CHARTS, KEYS = 16, 64
#: whether anything has changed is asked in a millisecond, or is not worth it
VERSION_SECONDS = 1.0
#: exports at once: a page of each is in memory
EXPORTS = 4
#: pages at once by connections: each holds what it has read, up to 4 MB of JSON and several times that as values, while
#: it reads on. Two keep a connection busy; of more pages each would wait for the others' questions between its own, and
#: none would be there in time
TURNS = 2


class Site:
    """What every page needs. To be made in the event loop."""

    def __init__(
        self,
        pool: Pool,
        *,
        timeout_ms: int,
        mlflow_url: str | None = None,
        patience_s: float = PATIENCE_SECONDS,
        aside: Pool | None = None,
        connections: int = 4,
    ) -> None:
        """`timeout_ms`: the pool's, as it is told; `mlflow_url`: where browsers find MLflow, None for nowhere.

        `aside` is asked whether anything has changed: it has a connection free when all of the pool's are busy.
        `connections` are the pool's.
        """
        self.pool, self.timeout_ms, self.mlflow_url, self.patience_s = pool, timeout_ms, mlflow_url, patience_s
        self.comparisons: Shared[Comparison] = Shared(version=self._version)
        self.charts: Shared[Any] = Shared(most=CHARTS, version=self._version)
        self.keys: Shared[list[Key]] = Shared(most=KEYS, version=self._version)
        self.counts: Shared[Any] = Shared()
        self.watched: Shared[Any] = Shared(HELD_SECONDS, HELD)
        self._indexed: Shared[Indexed] = Shared(INDEXED_SECONDS, 1)
        self.changes = Changes(lambda: ask_version(aside or pool))
        self.comparing = asyncio.Semaphore(COMPARISONS)
        self._turns = asyncio.Semaphore(TURNS * connections)
        self.exports = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """To be held while a page is read. Raises `NotTaken` where it does not come in time."""
        try:
            async with asyncio.timeout(self.timeout_ms / 1000):
                await self._turns.acquire()
        except TimeoutError:
            raise NotTaken(503, "overloaded", "too many pages are being read: try again") from None
        try:
            yield
        finally:
            self._turns.release()

    async def _version(self) -> str | None:
        """Of all that is committed; None where Postgres does not say it at once."""
        return (await self.changes.look(VERSION_SECONDS)).version

    async def keys_of(self, scope: Scope, timeout_ms: int | None = None) -> list[Key]:
        """As `trial_keys`; found out once while nothing changes."""
        key = (scope.run_id, write(scope.filter), timeout_ms)
        return await self.keys.get(key, lambda: trial_keys(self.pool, scope, timeout_ms))

    async def indexed(self) -> Indexed:
        """Which metrics and parameters have an index, as it was within the last minute."""
        return await self._indexed.get("", lambda: read_indexed(self.pool))


class Table(NamedTuple):
    """CSV: a row of names, then rows of values."""

    names: Sequence[str]
    rows: Iterable[Sequence[Any]]


class View(NamedTuple):
    """What a page shows: `document` is its JSON, `table` its CSV, `context` what its template makes HTML of."""

    context: Mapping[str, Any]
    document: Any
    table: Callable[[], Table]
    status: int = 200


class Question(NamedTuple):
    """A page is asked with the ids in its path and the parameters of its query."""

    ids: tuple[str, ...]
    pairs: Pairs


class Page(NamedTuple):
    """`show` makes its view; `export`, where it has one, all of a filter as CSV or JSON lines.

    Its title is that of what it is about, the last id of its path, where it has none of its own. `slow`: it takes as
    long as there are trials. `together`: it is read once for all who ask the same, `COMPARISONS` at a time, and waits
    for no turn.
    """

    template: str
    title: str | None
    show: Callable[[Site, Question], Awaitable[View]]
    export: Callable[[Site, Question, Form], AsyncIterator[bytes]] | None = None
    slow: bool = False
    together: bool = False

    async def view(self, site: Site, question: Question) -> View:
        """What it shows, read in its turn."""
        async with nullcontext() if self.together else site.turn():
            return await self.show(site, question)


class NotFound(Exception):  # noqa: N818 - an answer, no error of ours
    """There is no such run or trial; the text says so."""


def no_trial(run_id: str, trial_id: str) -> NotFound:
    return NotFound(f"the run {printable(run_id)[:200]} has no trial {printable(trial_id)[:200]}")


class Reading(NamedTuple):
    """The parameters of trials' pages, read, and the filter as it was typed."""

    asked: Asked
    text: str

    def query(self, **changes: Any) -> str:
        """The query string, with its question mark, that asks for the same but for these fields.

        Whatever changes what is listed begins at the first page.
        """
        asked = {name: getattr(self.asked, name) for name in Asked.__struct_fields__}
        text = changes.pop("text", self.text)
        if not changes.keys() & {"after"}:
            asked["after"] = None
        bare = Asked(**{**asked, **changes, "filter": EVERYTHING})
        parts = [_q(text), write_asked(bare)]
        return "?" + "&".join(part for part in parts if part) if any(parts) else ""


def _q(text: str) -> str:
    return f"q={quote(text, safe='')}" if text.strip() else ""


def read(pairs: Pairs) -> Reading:
    """Raises `UsageError`, `FilterError` as `read_asked` does."""
    text = next((value for name, value in pairs if name == "q"), "")
    return Reading(read_asked(pairs), text.strip())


def read_few(pairs: Pairs, known: Sequence[str]) -> dict[str, str]:
    """The parameters of a page that has others; empty ones are none. Raises `UsageError`."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise UsageError(f"there is no parameter {name[:60]}: there are {', '.join(known)}")
        if name in given:
            raise UsageError(f"the parameter {name} is there twice")
        if len(value) > MAX_LENGTH:
            raise UsageError(f"{name} has at most {MAX_LENGTH} characters, this one {len(value)}")
        if value.strip():
            given[name] = value.strip()
    return given
