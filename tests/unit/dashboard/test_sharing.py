"""Answers that are shared: found out once, kept for a while, lost by nobody's leaving."""

from __future__ import annotations

import asyncio
import weakref

import pytest

from processor.dashboard.sharing import Shared


class Source:
    """Answers with how often it was asked, when it is let go; or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.asked, self.fails, self.gate = 0, fails, asyncio.Event()

    async def __call__(self) -> int:
        self.asked += 1
        await self.gate.wait()
        if self.fails:
            raise ValueError("no answer")
        return self.asked


def test_all_who_ask_at_once_cost_one_question() -> None:
    async def work() -> tuple[list[int], int]:
        source, shared = Source(), Shared[int](60)
        waiting = [asyncio.create_task(shared.get("key", source)) for _ in range(200)]
        await asyncio.sleep(0)
        source.gate.set()
        return await asyncio.gather(*waiting), source.asked

    assert asyncio.run(work()) == ([1] * 200, 1)


def test_an_answer_is_kept_for_its_time_and_then_found_out_again() -> None:
    async def work() -> list[int]:
        now = [0.0]
        source, shared = Source(), Shared[int](5, clock=lambda: now[0])
        source.gate.set()
        found = []
        for now[0] in (0.0, 4.9, 5.0, 9.9):
            found.append(await shared.get("key", source))
        return found

    assert asyncio.run(work()) == [1, 1, 2, 2]


def test_without_a_time_an_answer_is_kept_ten_times_as_long_as_it_took_and_a_cheap_one_not_at_all() -> None:
    async def work(took: float, *later: float) -> list[int]:
        now, asked = [0.0], [0]
        shared = Shared[int](clock=lambda: now[0])

        async def find() -> int:
            now[0] += took
            asked[0] += 1
            return asked[0]

        found = [await shared.get("key", find)]
        for seconds in later:
            now[0] = took + seconds
            found.append(await shared.get("key", find))
        return found

    assert asyncio.run(work(0.5, 4.9, 5.1)) == [1, 1, 2]
    assert asyncio.run(work(30.0, 9.9, 10.1)) == [1, 1, 2]
    assert asyncio.run(work(0.2, 0.0)) == [1, 2]


def test_who_goes_away_ends_it_for_nobody_else() -> None:
    async def work() -> tuple[int, int]:
        source, shared = Source(), Shared[int](60)
        leaving, staying = (asyncio.create_task(shared.get("key", source)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        source.gate.set()
        return await staying, source.asked

    assert asyncio.run(work()) == (1, 1)


def test_an_error_goes_to_all_who_waited_and_is_not_kept() -> None:
    async def work() -> int:
        source, shared = Source(fails=True), Shared[int](60)
        source.gate.set()
        errors = await asyncio.gather(*(shared.get("key", source) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in errors] == [ValueError] * 3
        source.fails = False
        return await shared.get("key", source)

    assert asyncio.run(work()) == 2


@pytest.mark.parametrize("most", [1, 3])
def test_so_many_answers_are_kept_and_the_one_longest_unused_goes(most: int) -> None:
    async def work() -> int:
        source, shared = Source(), Shared[int](60, most=most)
        source.gate.set()
        for key in (*range(most), 0, "new", 0):
            await shared.get(key, source)
        return source.asked

    assert asyncio.run(work()) == most + 1 + (most == 1)


def test_an_answer_whose_time_is_over_is_let_go_when_the_next_one_comes() -> None:
    async def work() -> tuple[bool, bool]:
        now = [0.0]
        shared = Shared[set[int]](5, clock=lambda: now[0])

        async def find() -> set[int]:
            return {1}

        held = weakref.ref(await shared.get("old", find))
        before = held() is not None
        now[0] = 5.0
        await shared.get("new", find)
        return before, held() is not None

    assert asyncio.run(work()) == (True, False)


def test_what_nothing_was_committed_beside_is_kept_however_cheap_it_was() -> None:
    """Not where that is not known, nor for ever; and what is committed while it is found out counts."""

    async def work() -> list[int]:
        now, version, asked = [0.0], ["1"], [0]

        async def ask() -> str | None:
            return version[0] or None

        shared = Shared[int](clock=lambda: now[0], version=ask)

        async def find() -> int:
            asked[0] += 1
            if asked[0] == 2:
                version[0] = "3"  # while it is found out
            return asked[0]

        found = []
        for now[0], said in (
            (0.0, "1"), (100.0, "1"), (200.0, "2"), (201.0, "3"), (202.0, "3"), (203.0, ""), (204.0, ""), (205.0, "3"),
            (206.0, "3"), (804.0, "3"), (806.0, "3"),
        ):  # fmt: skip
            version[0] = said
            found.append(await shared.get("key", find))
        return found

    assert asyncio.run(work()) == [1, 1, 2, 3, 3, 4, 5, 6, 6, 6, 7]


def test_what_is_kept_while_nothing_changes_is_no_more_than_so_many() -> None:
    async def work() -> list[int]:
        async def ask() -> str:
            return "1"

        source = Source()
        shared = Shared[int](most=2, version=ask)
        source.gate.set()
        return [await shared.get(key, source) for key in "abcbca"]

    assert asyncio.run(work()) == [1, 2, 3, 2, 3, 4]
