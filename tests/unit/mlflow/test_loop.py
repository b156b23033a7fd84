"""The mirror's loop: what is committed, what is given up, and what a revoke and a changed server do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

import pytest

from processor.core.errors import SetupError, TransientError
from processor.core.messages import NextOffsets, RawRecord
from processor.core.stopping import Stop
from processor.mlflow.content import Happening, Moment
from processor.mlflow.events import Unreadable
from processor.mlflow.loop import Loop
from tests.factories import record
from tests.support.patience import patient


class FakeSource:
    """Hands out batches, then nothing; then `done` is called."""

    def __init__(self, batches: Sequence[Sequence[RawRecord]], done: Callable[[], None]) -> None:
        self.batches, self.done = list(batches), done
        self.committed: dict[tuple[str, int], int] = {}
        self.commits = 0
        self.paused = False
        self.on_poll: Callable[[], None] = lambda: None

    def poll(self, limit: int, timeout_s: float) -> Sequence[RawRecord]:
        self.on_poll()
        if self.paused:
            time.sleep(0.001)
            return []
        if self.batches:
            return self.batches.pop(0)
        self.done()
        return []

    def commit(self, next_offsets: NextOffsets, *, wait: bool) -> None:
        self.commits += 1
        self.committed.update(next_offsets)

    def pause(self, partitions: Collection[int] | None) -> None:
        self.paused = partitions is None

    def close(self) -> None: ...


def event(number: int, partition: int = 0) -> RawRecord:
    return record({"n": number}, topic="events", partition=partition, offset=number)


def happened(one: RawRecord) -> Happening | Unreadable | None:
    return Happening("ml.trial.complete", "run", str(one.offset), Moment(1, 1), "", {})


def make(
    apply: Callable[[Sequence[Happening]], None], *batches: Sequence[RawRecord], same: Callable[[], bool] = lambda: True
) -> tuple[Loop, FakeSource, Stop]:
    stop = Stop()
    loop = Loop(happened, apply, lambda: None, same, limit=10, shutdown_s=0.2, stop=stop)
    source = FakeSource(batches, lambda: stop.set("the end"))
    return loop, source, stop


def test_offsets_are_committed_behind_what_is_applied() -> None:
    applied: list[str] = []
    loop, source, _ = make(
        lambda events: applied.extend(one.trial_id for one in events), [event(1), event(2, 1)], [event(3)]
    )
    loop.run(source)
    assert applied == ["1", "2", "3"]
    assert source.committed == {("events", 0): 4, ("events", 1): 3}


def test_an_outage_is_tried_again_and_commits_nothing_meanwhile() -> None:
    left = [3]

    def apply(events: Sequence[Happening]) -> None:
        if left[0]:
            left[0] -= 1
            assert source.commits == 0
            raise TransientError("down")

    loop, source, _ = make(apply, [event(1)])
    loop.run(source)
    assert source.committed == {("events", 0): 2}
    assert not loop.in_outage


def test_stopped_in_an_outage_it_commits_nothing() -> None:
    def apply(events: Sequence[Happening]) -> None:
        stop.set("SIGTERM")
        raise TransientError("down")

    loop, source, stop = make(apply, [event(1)])
    loop.run(source)
    assert source.committed == {}


@pytest.mark.parametrize("told", ["while it works", "in an outage", "in the midst of a revoke"])
def test_a_request_that_hangs_does_not_hold_up_the_end(told: str) -> None:
    go, asked = threading.Event(), threading.Event()

    def apply(events: Sequence[Happening]) -> None:
        if told == "in an outage" and not loop.in_outage:
            raise TransientError("down")
        asked.set()
        go.wait()
        raise TransientError("no answer")

    def poll() -> None:
        if asked.is_set() and told == "in the midst of a revoke":
            threading.Timer(0.5, lambda: stop.set("SIGTERM")).start()
            loop.release({("events", 0)}, lost=False)
        elif asked.is_set():
            stop.set("SIGTERM")

    loop, source, stop = make(apply, [event(1)])
    source.on_poll = poll
    running = threading.Thread(target=loop.run, args=(source,), daemon=True)
    running.start()
    running.join(patient(10))
    hangs = running.is_alive()
    go.set()
    assert not hangs
    assert loop.left_behind
    assert source.committed == {}


def test_what_is_in_hand_when_its_partition_goes_is_not_committed_where_it_is_given_up() -> None:
    go = threading.Event()

    def apply(events: Sequence[Happening]) -> None:
        while loop.going and not go.is_set():
            time.sleep(0.001)
        if not go.is_set():
            raise TransientError("stopped")

    loop, source, _ = make(apply, [event(1), event(2, 1)])
    released: list[bool] = []

    def revoke() -> None:
        if source.paused and not released:
            released.append(True)
            loop.release({("events", 1)}, lost=True)
            go.set()

    source.on_poll = revoke
    loop.run(source)
    assert released
    assert source.committed == {("events", 0): 2}  # what stayed was applied once more, what went was not


def test_a_batch_that_ends_in_time_is_committed_before_its_partition_goes() -> None:
    loop, source, _ = make(lambda events: time.sleep(1.1), [event(1)])
    seen: list[dict[tuple[str, int], int]] = []

    def revoke() -> None:
        if source.paused and not seen:
            loop.release({("events", 0)}, lost=False)
            seen.append(dict(source.committed))

    source.on_poll = revoke
    loop.run(source)
    assert seen in ([{("events", 0): 2}], [])


def test_another_server_ends_it_without_a_commit() -> None:
    loop, source, _ = make(lambda events: None, [event(1)], same=lambda: False)
    loop.run(source)
    assert loop.changed
    assert source.committed == {}


def test_what_a_person_has_to_mend_ends_it() -> None:
    def apply(events: Sequence[Happening]) -> None:
        raise SetupError("401")

    loop, source, _ = make(apply, [event(1)])
    with pytest.raises(SetupError):
        loop.run(source)


def test_a_record_that_is_no_event_is_passed_over() -> None:
    loop, source, _ = make(lambda events: None, [event(1)])
    loop._read = lambda one: Unreadable(one, "no event")
    loop.run(source)
    assert source.committed == {("events", 0): 2}
