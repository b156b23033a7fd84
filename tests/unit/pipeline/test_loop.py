"""The loop: commits follow writes, an outage pauses and rejects nothing, errors and signals end it cleanly."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from processor.core import metrics
from processor.core.errors import FatalError, TransientError, Trouble
from processor.core.messages import RawRecord, Rejection, TrialReport
from processor.pipeline import loop as loop_module
from processor.pipeline import portions
from tests.unit.pipeline.fakes import FakeSource, Place, World, decode, nothing, pipeline_of, records


def run(world: World, *script: Any, **settings: Any) -> FakeSource:
    loop, source = pipeline_of(world, *script, **settings)
    loop.run()
    return source


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_every_record_is_written_in_its_partitions_order_and_committed_after_it(
    world: World, lanes: int, seed: int
) -> None:
    """Whatever fails for a while, and however the stream is cut; the source checks each commit against the writes."""
    rng = random.Random(seed)
    ends = [0] * 5
    script = []
    for _ in range(60):
        partition, number = rng.randrange(5), rng.randrange(1, 6)
        script.append(records(partition, *range(ends[partition], ends[partition] + number)))
        ends[partition] += number
    world.refuse = lambda _: TransientError("now and then") if rng.random() < 0.3 else None
    run(world, *script, lambda: len(world.written) == sum(ends), lanes=lanes, max_reports=7)
    expected = {("raw", partition): end for partition, end in enumerate(ends)}
    assert expected == world.committed
    for partition, end in enumerate(ends):
        assert [offset for where, offset in world.written if where == partition] == list(range(end))


def test_an_outage_retries_the_same_batch_and_commits_nothing_meanwhile(world: World) -> None:
    def outages() -> float:
        return metrics.REGISTRY.get_sample_value("processor_outages_total", {"where": "database"}) or 0.0

    def look() -> None:
        assert loop.in_outage
        assert world.commits == []

    before = outages()
    world.go_down()
    loop, _ = pipeline_of(world, records(0, 0, 1), world.tried(4), look, world.come_back, world.has((0, 0), (0, 1)))
    loop.run()
    assert [[(0, 0), (0, 1)]] * len(world.attempts) == world.attempts
    assert world.committed == {("raw", 0): 2}
    assert not loop.in_outage
    assert outages() - before == 1  # once, not at each attempt


def test_a_long_outage_pauses_the_source_keeps_polling_and_resumes_by_itself(world: World) -> None:
    world.go_down()
    polls_while_paused = 0

    def poll() -> bool:
        nonlocal polls_while_paused
        polls_while_paused += source.paused
        return polls_while_paused == 20

    loop, source = pipeline_of(world, records(0, 0), records(0, 1), records(0, 2), max_reports=1)
    source.script += [world.tried(1), records(0, 3), poll, world.come_back, records(0, 4), world.has((0, 4))]
    source.leaks = True
    loop.run()
    assert (source.pauses, source.paused) == (1, False)
    assert world.committed == {("raw", 0): 5}


def test_a_record_that_comes_while_paused_is_not_lost(world: World) -> None:
    world.go_down()
    loop, source = pipeline_of(world, records(0, 0), records(0, 1), max_reports=1)
    source.leaks = True  # a record that was on its way
    source.script += [lambda: source.paused, records(0, 2), records(0, 3), world.come_back, world.has((0, 3))]
    loop.run()
    assert [(0, offset) for offset in range(4)] == world.written
    assert world.committed == {("raw", 0): 4}


def test_records_that_wait_to_be_decoded_do_not_fill_the_memory(world: World) -> None:
    decoded: list[RawRecord] = []

    def counting(record: RawRecord) -> list[TrialReport | Rejection]:
        decoded.append(record)
        return decode(record)

    def look() -> None:
        assert 1 <= len(decoded) <= 4

    world.free.clear()
    size = loop_module.DECODE_BYTES
    loop, source = pipeline_of(world, records(0, *range(30), size=size), decode=counting, max_bytes=size)
    source.script += [lambda: source.paused, nothing, nothing, look, world.free.set, world.has((0, 29))]
    loop.run()
    assert world.committed == {("raw", 0): 30}


def test_a_schema_registry_that_is_down_is_waited_for_and_loses_nothing(world: World) -> None:
    down = True

    def asking(record: RawRecord) -> list[TrialReport | Rejection]:
        if down and record.offset == 2:
            raise TransientError("the registry is down")
        return decode(record)

    def come_back() -> None:
        nonlocal down
        assert loop.in_outage
        assert world.committed in ({}, {("raw", 0): 2})
        down = False

    loop, source = pipeline_of(world, records(0, 0, 1, 2, 3), decode=asking)
    source.leaks = True
    source.script += [lambda: source.paused, records(0, 4), *[nothing] * 5, come_back, world.has((0, 4))]
    loop.run()
    assert [(0, offset) for offset in range(5)] == world.written
    assert world.committed == {("raw", 0): 5}
    assert (source.pauses, source.paused, loop.in_outage) == (1, False, False)


@pytest.mark.parametrize("error", [FatalError("no such table"), ValueError("a defect")])
def test_an_error_in_a_lane_ends_the_run_with_it_and_commits_only_what_was_written(
    world: World, error: Exception
) -> None:
    world.refuse = lambda places: error if (0, 2) in places else None
    with pytest.raises(type(error), match=str(error)):
        run(world, records(0, 0, 1), world.has((0, 1)), records(0, 2), records(1, 0), lambda: False, lanes=2)
    assert world.committed.get(("raw", 0)) == 2
    assert (0, 2) not in world.written


def test_a_sink_that_cannot_be_opened_ends_the_run(world: World) -> None:
    def broken() -> Any:
        raise FatalError("no driver")

    source = FakeSource(world, lambda: False)
    source.pipeline = loop_module.Pipeline(source, partial(map, decode), broken, shutdown_s=1.0)
    with pytest.raises(FatalError, match="no driver"):
        source.pipeline.run()


def test_an_error_of_the_source_ends_the_run_after_what_was_read_is_written(world: World) -> None:
    def fail() -> None:
        raise FatalError("the group is gone")

    with pytest.raises(FatalError, match="the group is gone"):
        run(world, records(0, 0, 1), nothing, fail)
    assert world.committed == {("raw", 0): 2}


def test_a_stop_writes_and_commits_what_is_in_hand(world: World) -> None:
    world.free.clear()

    def stop() -> None:
        loop.stop()
        world.free.set()

    loop, source = pipeline_of(world, *[records(0, offset) for offset in range(5)])
    source.script += [nothing, stop]
    loop.run()
    assert world.committed == {("raw", 0): 5}
    assert world.commits[-1][1]  # waited for


def test_an_error_while_draining_is_not_swallowed(world: World) -> None:
    def stop() -> None:
        loop.stop()
        world.free.set()

    world.refuse = lambda _: FatalError("no such table")
    world.free.clear()
    loop, _ = pipeline_of(world, records(0, 0), world.tried(1), stop)
    with pytest.raises(FatalError, match="no such table"):
        loop.run()
    assert world.commits == []


def test_a_stop_in_an_outage_ends_and_never_commits_past_what_is_unwritten(world: World) -> None:
    """The database comes back for the later batch only: written then, its offset would cover the earlier one."""
    world.refuse = lambda places: TransientError("down") if (0, 0) in places else None
    run(world, records(0, 0), world.tried(3), records(0, 1), max_reports=1)
    assert (world.written, world.commits) == ([], [])


def test_a_source_that_ends_is_written_to_its_end_however_long_an_outage_lasts(world: World) -> None:
    """Longer than a shutdown may take: nobody asked for one."""

    def refuse(_: list[Place]) -> BaseException | None:
        return TransientError("down") if len(world.attempts) < 30 else None

    world.refuse = refuse
    run(world, records(0, 0, 1), records(1, 0), None, lanes=2, shutdown_s=0.0, max_wait_s=60.0)
    assert world.committed == {("raw", 0): 2, ("raw", 1): 1}


def too_much(most: int) -> Any:
    """A database that takes no more than so many reports at once."""
    return lambda places: TransientError("statement timeout", Trouble.WORK) if len(places) > most else None


def test_a_batch_that_is_too_much_at_once_is_written_in_halves_and_committed_as_a_whole(world: World) -> None:
    world.refuse = too_much(10)
    run(world, records(0, *range(64)), world.has((0, 63)), max_reports=64)
    assert [len(attempt) for attempt in world.attempts][:5] == [64, 64, 32, 16, 8]  # a second chance only at first
    assert [(0, offset) for offset in range(64)] == world.written
    assert world.committed == {("raw", 0): 64}
    assert [offsets for offsets, _ in world.commits] == [{("raw", 0): 64}]


def test_the_size_that_was_taken_is_remembered_and_grows_again(world: World) -> None:
    world.refuse = too_much(8)

    def recover() -> None:
        world.come_back()
        world.attempts.clear()

    script = [records(0, *range(start, start + 16)) for start in range(0, 640, 16)]
    run(world, script[0], world.has((0, 15)), recover, *script[1:], world.has((0, 639)), max_reports=16)
    sizes = [len(attempt) for attempt in world.attempts]
    small = portions.GROW_AFTER - 2  # two were taken before
    assert sizes[:small] == [8] * small
    assert set(sizes[small:]) == {16}


@pytest.mark.parametrize(("trouble", "answers"), [(Trouble.WORLD, True), (Trouble.WORK, False)])
def test_an_outage_is_no_reason_to_write_in_halves(world: World, trouble: Trouble, answers: bool) -> None:
    """Something else is down, or the database answers nothing at all."""
    world.answers = answers
    world.refuse = lambda _: TransientError("down", trouble)
    run(world, records(0, *range(8)), world.tried(5), world.come_back, world.has((0, 7)), max_reports=8)
    assert {len(attempt) for attempt in world.attempts} == {8}


def test_a_report_that_alone_is_too_much_waits_and_is_not_rejected(world: World) -> None:
    world.refuse = lambda places: TransientError("timeout", Trouble.WORK) if (0, 5) in places else None
    run(world, records(0, *range(8)), world.tried(12), world.come_back, world.has((0, 7)), max_reports=8)
    assert [(0, offset) for offset in range(8)] == world.written
    assert world.committed == {("raw", 0): 8}


@pytest.mark.parametrize("seed", range(4))
def test_nothing_of_a_batch_in_halves_is_lost_or_turned_round_whatever_fails_meanwhile(world: World, seed: int) -> None:
    rng = random.Random(seed)

    def refuse(places: list[Place]) -> TransientError | None:
        if rng.random() < 0.2:
            return TransientError("now and then")
        return TransientError("too much", Trouble.WORK) if len(places) > rng.randrange(1, 30) else None

    world.refuse = refuse
    script = [records(number % 3, *range(number // 3 * 5, number // 3 * 5 + 5)) for number in range(60)]
    run(world, *script, lambda: len(world.written) == 300, lanes=2, max_reports=40)
    assert world.committed == {("raw", partition): 100 for partition in range(3)}
    for partition in range(3):
        assert [offset for where, offset in world.written if where == partition] == list(range(100))
