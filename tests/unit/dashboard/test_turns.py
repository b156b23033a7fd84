"""Pages are read a few at a time: what they hold meanwhile is bounded, and those that are read come to an end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from processor.dashboard.pages.app import PAGES
from processor.dashboard.pages.views import TURNS, Page, Question, Site, Table, View
from processor.web.refusals import NotTaken

NOTHING = Question((), ())
CONNECTIONS = 3
READ = TURNS * CONNECTIONS


class Reading:
    """A page that is being read until it is let go; how many are, at the most, is `most`."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.go = asyncio.Event()

    async def __call__(self, _site: Site, _question: Question) -> View:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.go.wait()
        self.now -= 1
        return View({}, {}, lambda: Table((), ()))


def site(timeout_ms: int) -> Site:
    pool: Any = None
    return Site(pool, timeout_ms=timeout_ms, connections=CONNECTIONS)


def test_of_many_pages_so_many_are_read_and_all_are_answered() -> None:
    async def work() -> int:
        reading, shared = Reading(), site(30_000)
        page = Page("", "", reading)
        asked = [asyncio.create_task(page.view(shared, NOTHING)) for _ in range(5 * READ)]
        await asyncio.sleep(0.05)
        asked[0].cancel()
        reading.go.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [one for one in answers[1:] if not isinstance(one, View)] == []
        return reading.most

    assert asyncio.run(work()) == READ


def test_a_page_whose_turn_does_not_come_in_time_is_told_to_come_back() -> None:
    async def work() -> None:
        reading, shared = Reading(), site(100)
        page, together = Page("", "", reading), Page("", "", reading, together=True)
        held = [asyncio.create_task(page.view(shared, NOTHING)) for _ in range(READ)]
        await asyncio.sleep(0.02)
        with pytest.raises(NotTaken) as told:
            await page.view(shared, NOTHING)
        assert (told.value.status, told.value.error, "retry-after" in told.value.headers) == (503, "overloaded", True)
        others = asyncio.create_task(together.view(shared, NOTHING))
        await asyncio.sleep(0.02)
        assert reading.now == READ + 1
        reading.go.set()
        await asyncio.gather(*held, others)
        assert isinstance(await page.view(shared, NOTHING), View)

    asyncio.run(work())


def test_only_what_is_read_once_for_all_waits_for_no_turn() -> None:
    assert {name for name, page in PAGES.items() if page.together} == {"compare", "charts"}
