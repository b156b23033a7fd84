"""When partitions go away: within one deadline what is written is committed; the rest, and what is lost, never is."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from processor.core.errors import TransientError
from processor.core.messages import RawRecord, Rejection, TrialReport
from tests.support.patience import patient
from tests.unit.pipeline.fakes import FakeSource, World, decode, nothing, pipeline_of, records

P0, P1 = ("raw", 0), ("raw", 1)


def revoke(source: FakeSource, *partitions: tuple[str, int], lost: bool = False) -> None:
    source.pipeline.release(set(partitions), lost=lost)


def play(source: FakeSource, *script: Any) -> None:
    source.script += script
    source.pipeline.run()


def test_a_revoke_waits_for_the_batch_in_hand_and_commits_it(world: World) -> None:
    _, source = pipeline_of(world)
    world.free.clear()

    def give_up() -> None:
        threading.Timer(0.05, world.free.set).start()
        revoke(source, P0)
        assert world.commits == [({P0: 2}, True)]  # before the partition is gone, and waited for

    play(source, records(0, 0, 1), world.tried(1), give_up)
    assert world.commits == [({P0: 2}, True)]


@pytest.mark.parametrize("cause", ["slow", "down"])
def test_what_is_not_written_by_the_deadline_is_dropped_and_other_partitions_go_on(world: World, cause: str) -> None:
    loop, source = pipeline_of(world, max_reports=1)
    if cause == "slow":
        world.free.clear()
    else:
        world.go_down()

    def give_up() -> None:
        loop._shutdown_s = 0.05 if cause == "slow" else 1000.0  # an outage is not waited for at all
        revoke(source, P0)
        loop._shutdown_s = 20.0
        world.come_back()
        world.free.set()

    source.leaks = True
    waiting = [records(0, 0), world.tried(1), records(0, 1), records(1, 0), nothing]
    play(source, *waiting, give_up, world.has((1, 0)), records(1, 1), world.has((1, 1)))
    assert (0, 1) not in world.written
    assert world.committed == {P1: 2}


def test_a_lost_partition_is_never_committed_even_if_it_is_written(world: World) -> None:
    _, source = pipeline_of(world)
    world.free.clear()

    def lose() -> None:
        revoke(source, P0, lost=True)
        world.free.set()

    both = [*records(0, 0, 1), *records(1, 0)]
    play(source, both, world.tried(1), lose, world.has((0, 1)), records(1, 1), world.has((1, 1)))
    assert world.committed == {P1: 2}


def test_what_was_written_but_not_committed_when_a_partition_was_lost_stays_uncommitted(world: World) -> None:
    _, source = pipeline_of(world)
    world.free.clear()

    def lose() -> None:
        world.free.set()
        [lane] = source.pipeline._lanes
        assert lane.wait(lambda: lane.idle and bool(world.written), 20)
        revoke(source, P0, lost=True)

    play(source, records(0, 0), world.tried(1), lose, nothing)
    assert (world.written, world.commits) == ([(0, 0)], [])


def test_a_partition_that_comes_back_is_read_and_committed_from_where_it_was_committed(world: World) -> None:
    _, source = pipeline_of(world)
    world.go_down()
    source.leaks = True
    lose = [records(0, 0), world.tried(2), lambda: revoke(source, P0, lost=True)]
    play(source, *lose, records(0, 0, 1), world.come_back, world.has((0, 1)))
    assert world.committed == {P0: 2}
    assert world.written == [(0, 0), (0, 1)]


def test_a_batch_that_is_retried_leaves_out_what_was_given_away(world: World) -> None:
    _, source = pipeline_of(world)
    world.go_down()
    both = [*records(0, 0), *records(1, 0)]
    play(source, both, world.tried(2), lambda: revoke(source, P0), world.come_back, world.has((1, 0)))
    assert world.written == [(1, 0)]
    assert world.committed == {P1: 1}


def test_records_not_yet_decoded_are_forgotten_with_their_partition(world: World) -> None:
    down = True

    def asking(record: RawRecord) -> list[TrialReport | Rejection]:
        if down:
            raise TransientError("the registry is down")
        return decode(record)

    def give_up() -> None:
        nonlocal down
        revoke(source, P0)
        down = False

    _, source = pipeline_of(world, decode=asking)
    play(source, [*records(0, 0), *records(1, 0)], lambda: source.paused, give_up, world.has((1, 0)))
    assert world.written == [(1, 0)]
    assert world.committed == {P1: 1}


def test_a_revoke_does_not_wait_for_a_fuller_batch(world: World) -> None:
    _, source = pipeline_of(world, max_wait_s=100.0)
    play(source, records(0, 0), nothing, lambda: revoke(source, P0))
    assert world.commits == [({P0: 1}, True)]


def test_a_lane_that_lost_all_it_waited_for_writes_what_comes_next(world: World) -> None:
    """It once ended there: the process looked healthy and consumed nothing."""
    loop, source = pipeline_of(world, max_wait_s=0.05)

    def lose() -> None:
        revoke(source, P0, lost=True)
        loop._lanes[0].join(0.2)  # longer than it waits for a fuller batch

    play(source, records(0, 0), nothing, lose, records(1, 0), world.has((1, 0)))
    assert world.committed == {P1: 1}


def test_closing_the_source_after_the_drain_does_not_wait_a_second_time(world: World) -> None:
    world.free.clear()
    loop, source = pipeline_of(world, shutdown_s=0.05)
    play(source, records(0, 0), world.tried(1))
    loop._shutdown_s = 5.0
    began = time.monotonic()
    loop.release({P0}, lost=False)
    assert time.monotonic() - began < patient(2.5)
    assert world.commits == []
    world.free.set()


def test_the_partitions_that_stay_are_shared_by_all_lanes(world: World) -> None:
    """Two ingest processes once wrote slower than one: each was left with two partitions of the same lane."""
    _, source = pipeline_of(world, lanes=2)
    four = [record for partition in range(4) for record in records(partition, 0)]
    two = [*records(0, 1), *records(2, 1)]
    play(
        source,
        four,
        world.has((0, 0), (1, 0), (2, 0), (3, 0)),
        lambda: revoke(source, P1, ("raw", 3)),
        world.free.clear,
        two,
        world.has_tried((0, 1), (2, 1)),
        world.free.set,
        world.has((0, 1), (2, 1)),
    )
    assert world.attempts[-2:] in ([[(0, 1)], [(2, 1)]], [[(2, 1)], [(0, 1)]])
