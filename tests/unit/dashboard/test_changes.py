"""One question for however many watch; only the latest news counts; who goes, and who closes, ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from processor.core.errors import TransientError
from processor.dashboard import changes as changes_module
from processor.dashboard.changes import Changes, News


class Database:
    """Its version moves when it is told to; it counts how often it is asked."""

    def __init__(self) -> None:
        self.version, self.asked, self.away = 1, 0, False

    async def ask(self) -> str:
        self.asked += 1
        if self.away:
            raise TransientError("Postgres is away")
        return str(self.version)


def run(work: Callable[[Changes, Database], Awaitable[None]], **options: float) -> None:
    async def main() -> None:
        database = Database()
        changes = Changes(database.ask, **{"poll_s": 0.001, "beat_s": 60.0, **options})
        async with asyncio.timeout(60):
            await work(changes, database)
        changes.close()

    asyncio.run(main())


def entered(changes: Changes) -> Any:
    assert changes.enter()
    return changes.watch()


def test_two_hundred_who_watch_cost_the_questions_of_one() -> None:
    async def work(changes: Changes, database: Database) -> None:
        watchers = [entered(changes) for _ in range(200)]
        assert {await anext(one) for one in watchers} == {News("1")}
        asked = database.asked
        database.version = 2
        assert {await anext(one) for one in watchers} == {News("2")}
        # 400 answers were given out meanwhile; as many questions would have been asked by watchers of their own
        assert database.asked - asked < 200

    run(work, poll_s=0.05)


def test_who_is_slow_gets_the_latest_alone() -> None:
    async def work(changes: Changes, database: Database) -> None:
        fast, slow = entered(changes), entered(changes)
        assert await anext(fast) == await anext(slow) == News("1")
        for version in range(2, 6):
            database.version = version
            assert await anext(fast) == News(str(version))
        assert await anext(slow) == News("5")

    run(work)


def test_a_server_that_is_away_is_told_and_so_is_its_return() -> None:
    async def work(changes: Changes, database: Database) -> None:
        watched = entered(changes)
        assert await anext(watched) == News("1")
        database.away = True
        assert await anext(watched) == News(None)
        database.away = False
        assert await anext(watched) == News("1")

    run(work)


def test_without_news_there_is_a_beat() -> None:
    async def work(changes: Changes, _: Database) -> None:
        watched = entered(changes)
        assert [await anext(watched), await anext(watched)] == [News("1"), None]

    run(work, beat_s=0.01)


def test_closing_lets_all_go_and_who_comes_later_too() -> None:
    async def work(changes: Changes, _: Database) -> None:
        watchers = [entered(changes) for _ in range(3)]
        for one in watchers:
            await anext(one)
        waiting = [asyncio.ensure_future(anext(one, "end")) for one in watchers]
        await asyncio.sleep(0)
        changes.close()
        assert await asyncio.gather(*waiting) == ["end"] * 3
        assert await anext(entered(changes), "end") == "end"

    run(work)


def test_nobody_watches_nothing_is_asked_and_who_comes_then_is_told_anew() -> None:
    async def work(changes: Changes, database: Database) -> None:
        watched = entered(changes)
        await anext(watched)
        await watched.aclose()
        changes.leave()
        assert changes._asking is not None
        await changes._asking
        asked, database.version = database.asked, 7
        await asyncio.sleep(0.02)
        assert database.asked == asked
        assert await anext(entered(changes)) == News("7")

    run(work)


def test_so_many_may_watch_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "MOST", 2)

    async def work(changes: Changes, _: Database) -> None:
        assert [changes.enter() for _ in range(3)] == [True, True, False]
        changes.leave()
        assert changes.enter()

    run(work)
