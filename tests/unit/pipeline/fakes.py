"""A source and sinks for the pipeline's tests: a script instead of Kafka, a set of places instead of Postgres."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from processor.core.errors import TransientError, Trouble
from processor.core.messages import Batch, NextOffsets, RawRecord, Rejection, TopicPartition, TrialReport, Written
from processor.pipeline.loop import Pipeline
from tests.support.patience import patient

#: one poll of the source: records, None for the end, or a function; one that returns False is called again next time
Step = Sequence[RawRecord] | None | Callable[[], Any]
PATIENCE_SECONDS = 20.0
Place = tuple[int, int]  # partition, offset


def records(partition: int, *offsets: int, size: int = 0) -> list[RawRecord]:
    return [RawRecord("raw", partition, offset, 0, None, b"x" * size) for offset in offsets]


def decode(record: RawRecord) -> list[TrialReport | Rejection]:
    return [TrialReport(record, 0, "run-1", f"{record.partition}/{record.offset}", {}, 1)]


def nothing() -> None:
    """A step: a poll that brings nothing."""


class World:
    """What is durable, and what is wrong with it just now."""

    def __init__(self) -> None:
        self.written: list[Place] = []
        self.attempts: list[list[Place]] = []
        self.committed: dict[TopicPartition, int] = {}
        self.commits: list[tuple[dict[TopicPartition, int], bool]] = []
        self.refuse: Callable[[list[Place]], BaseException | None] = lambda _: None
        self.answers = True
        self.locked_runs: set[str] = set()
        self.free = threading.Event()  # a write that begins while it is not set waits for it
        self.free.set()

    def go_down(self) -> None:
        self.refuse = lambda _: TransientError("the database is down")

    def come_back(self) -> None:
        self.refuse = lambda _: None

    def has(self, *places: Place) -> Callable[[], bool]:
        """A step that waits until these are written."""
        return lambda: set(places) <= set(self.written)

    def tried(self, attempts: int) -> Callable[[], bool]:
        """A step that waits until so many writes have begun."""
        return lambda: len(self.attempts) >= attempts

    def has_tried(self, *places: Place) -> Callable[[], bool]:
        """A step that waits until writes of these have begun."""
        return lambda: set(places) <= {place for attempt in self.attempts for place in attempt}


class FakeSink:
    def __init__(self, world: World) -> None:
        self._world, self._thread = world, threading.current_thread()

    def write(self, batch: Batch, *, around_locks: bool = False) -> Written:
        assert threading.current_thread() is self._thread
        if self._world.locked_runs:
            return self._write_around(batch, around_locks)
        places = [(report.record.partition, report.record.offset) for report in batch.reports]
        self._world.attempts.append(places)
        error = self._world.refuse(places)
        self._world.free.wait(PATIENCE_SECONDS)
        if error is not None:
            raise error
        self._world.written += places
        return Written(inserted=len(places))

    def _write_around(self, batch: Batch, around_locks: bool) -> Written:
        waiting = [one for one in batch.reports if one.run_id in self._world.locked_runs]
        if waiting and not around_locks:
            raise TransientError("somebody holds it", Trouble.LOCK)
        places = [(one.record.partition, one.record.offset) for one in batch.reports if one not in waiting]
        self._world.written += places
        return Written(inserted=len(places), set_aside=waiting)

    def answers(self) -> bool:
        return self._world.answers

    def close(self) -> None:
        assert threading.current_thread() is self._thread


class FakeSource:
    """Plays its script, one step a poll, then stops the pipeline. While paused, records wait for the resuming."""

    def __init__(self, world: World, *script: Step) -> None:
        self._world, self.script = world, list(script)
        self.pipeline: Pipeline
        self._held_back: Collection[int] | None = frozenset()
        self.leaks = False
        self.pauses = 0
        self._deadline = time.monotonic() + patient(PATIENCE_SECONDS)

    def poll(self, limit: int, timeout_s: float) -> Sequence[RawRecord] | None:
        assert time.monotonic() < self._deadline, f"{len(self.script)} steps were never made"
        if not self.script:
            self.pipeline.stop()
            return []
        step = self.script[0]
        if callable(step):
            if step() is False:
                time.sleep(0.001)
            else:
                self.script.pop(0)
            return []
        if step is not None and not self.leaks and any(self.is_paused(record.partition) for record in step):
            time.sleep(0.001)
            return []
        self.script.pop(0)
        if step is not None and len(step) > limit:
            self.script.insert(0, step[limit:])
            step = step[:limit]
        return step

    def commit(self, next_offsets: NextOffsets, *, wait: bool) -> None:
        written = set(self._world.written)
        for (topic, partition), end in next_offsets.items():
            begin = self._world.committed.get((topic, partition), 0)
            missing = {(partition, offset) for offset in range(begin, end)} - written
            assert not missing, f"committed before they were written: {sorted(missing)}"
        self._world.committed.update(next_offsets)
        self._world.commits.append((dict(next_offsets), wait))

    def pause(self, partitions: Collection[int] | None) -> None:
        self.pauses += not self.paused and partitions != frozenset()
        self._held_back = partitions

    def is_paused(self, partition: int) -> bool:
        return self._held_back is None or partition in self._held_back

    @property
    def paused(self) -> bool:
        return self._held_back is None or len(self._held_back) > 0

    def close(self) -> None:
        pass


def pipeline_of(world: World, *script: Step, **settings: Any) -> tuple[Pipeline, FakeSource]:
    """A pipeline and the source that it will read; steps that need them may look them up when they run."""
    source = FakeSource(world, *script)
    one_by_one = settings.pop("decode", decode)
    settings = {"decode": partial(map, one_by_one), "lanes": 1, "shutdown_s": 20.0, **settings}
    source.pipeline = Pipeline(source, open_sink=lambda: FakeSink(world), **settings)
    return source.pipeline, source
