"""A run that somebody else holds locked: only its own reports wait, in their order; nothing is committed past them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from processor.core import metrics
from processor.core.messages import RawRecord, Rejection, TrialReport
from tests.unit.pipeline.fakes import World, nothing, pipeline_of, records


def decode(record: RawRecord) -> list[TrialReport | Rejection]:
    """The offset says which of three runs it is."""
    return [TrialReport(record, 0, f"run-{record.offset % 3}", f"t{record.offset}", {}, 1)]


def waiting() -> float:
    return metrics.REGISTRY.get_sample_value("processor_set_aside_reports") or 0.0


def test_others_are_written_and_offsets_wait_for_the_first_report_that_was_set_aside(world: World) -> None:
    world.locked_runs = {"run-1"}

    def look() -> None:
        assert (0, 1) not in world.written
        assert waiting() == 4
        assert not loop.in_outage

    def free() -> None:
        assert world.committed == {("raw", 0): 1, ("raw", 1): 1}
        world.locked_runs = set()

    script = [records(0, 0, 1, 2), records(0, 3, 4, 5, 6, 7), records(1, 0), records(0, 8, 9, 10, 11)]
    loop, source = pipeline_of(world, *script, decode=decode)
    source.script += [world.has((0, 11), (1, 0)), look, *[nothing] * 5, free, world.has((0, 10), (0, 1))]
    loop.run()
    assert sorted(world.written) == [(0, offset) for offset in range(12)] + [(1, 0)]
    of_run = [offset for partition, offset in world.written if partition == 0 and offset % 3 == 1]
    assert of_run == [1, 4, 7, 10]
    assert world.committed == {("raw", 0): 12, ("raw", 1): 1}
    assert waiting() == 0


def test_a_stop_leaves_what_is_set_aside_uncommitted(world: World) -> None:
    world.locked_runs = {"run-2"}
    loop, _ = pipeline_of(world, records(0, *range(9)), world.has((0, 7)), decode=decode)
    loop.run()
    assert world.committed == {("raw", 0): 2}
    assert (0, 2) not in world.written


def test_what_waits_is_bounded_and_stops_the_partitions_of_its_lane_alone(world: World) -> None:
    world.locked_runs = {"run-0"}

    def only_locked(record: RawRecord) -> list[TrialReport | Rejection]:
        run = "run-0" if record.partition == 0 else "free"
        return [TrialReport(record, 0, run, f"t{record.partition}/{record.offset}", {}, 1)]

    def free() -> None:
        assert waiting() <= 2 * 5  # what is set aside, and a batch that came to it
        assert [place for place in world.written if place[0] == 0] == []
        world.locked_runs = set()

    loop, source = pipeline_of(world, records(0, 0), records(1, 0), decode=only_locked, lanes=2, max_reports=5)
    source.script += [world.has((1, 0)), *[records(0, offset) for offset in range(1, 30)]]
    source.leaks = True
    source.script += [lambda: source.is_paused(0) and not source.is_paused(1)]
    source.script += [*[records(1, offset) for offset in range(1, 60)], world.has(*[(1, n) for n in range(60)]), free]
    source.script += [world.has(*[(0, offset) for offset in range(30)])]
    loop.run()
    assert [offset for partition, offset in world.written if partition == 0] == list(range(30))
    assert world.committed == {("raw", 0): 30, ("raw", 1): 60}


def test_partitions_that_go_take_what_is_set_aside_with_them(world: World) -> None:
    world.locked_runs = {"run-1"}

    def give_up() -> None:
        loop.release({("raw", 0)}, lost=False)
        assert world.committed == {("raw", 0): 1}
        world.locked_runs = set()

    loop, source = pipeline_of(world, records(0, 0, 1, 2), world.has((0, 2)), decode=decode)
    source.script += [give_up, records(1, 0, 1), world.has((1, 1))]
    loop.run()
    assert (0, 1) not in world.written
    assert world.committed == {("raw", 0): 1, ("raw", 1): 2}
    assert waiting() == 0


@pytest.mark.parametrize("seed", range(6))
def test_each_run_keeps_its_order_whatever_is_locked_meanwhile(world: World, seed: int) -> None:
    rng = random.Random(seed)

    def poll(limit: int, timeout_s: float) -> Sequence[RawRecord] | None:
        if rng.random() < 0.5:
            world.locked_runs = {f"run-{number}" for number in range(3) if rng.random() < 0.4}
        return bring(limit, timeout_s)

    script: list[Any] = [records(0, *range(start, start + 6)) for start in range(0, 300, 6)]
    loop, source = pipeline_of(world, *script, decode=decode, max_reports=10)
    source.script += [world.has(*[(0, offset) for offset in range(300)])]
    bring, source.poll = source.poll, poll  # type: ignore[method-assign]
    loop.run()
    for run in range(3):
        assert [offset for _, offset in world.written if offset % 3 == run] == list(range(run, 300, 3))
    assert world.committed == {("raw", 0): 300}
