"""A transaction that hangs is given up, its producer is freed when the call returns, and never do many hang."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from processor.core.errors import FatalError, TransientError
from processor.core.messages import Destination, Event
from processor.kafka import hanging
from processor.kafka.outlet import Answers, Outlet
from tests.support.processes import wait_until

TOPICS = {Destination.EVENTS: "events", Destination.DEAD_LETTERS: "dlq"}


class Producer:
    """Its transactions begin, and no more, until `released`."""

    def __init__(self, released: threading.Event, fails: bool) -> None:
        self._released, self._fails = released, fails

    def begin_transaction(self) -> None:
        self._released.wait()
        if self._fails:
            raise ValueError("this is told to nobody")

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_more: 0


class Memory:
    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_more: None


def hang(released: threading.Event, *, fails: bool = False) -> weakref.ref[Producer]:
    """Gives one transaction up; the producer, for as long as it lives."""
    producer = Producer(released, fails)
    limits = dict.fromkeys(TOPICS, 1000)
    outlet = Outlet(
        producer,
        Memory(),
        Answers("here"),
        TOPICS,
        limits,
        source="/s",
        where="here",
        list_topics=dict[str, Any],
        ask_limits=lambda: limits,
    )
    with pytest.raises(TransientError, match="hangs"):
        outlet.publish([Event("r", "t", 1, "ml.trial.complete", 0, b"1")], ["p"])
    return weakref.ref(producer)


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    monkeypatch.setattr(hanging, "HANG_SECONDS", 0.05)
    event = threading.Event()
    yield event
    event.set()
    wait_until(lambda: not hanging._hanging, "all calls have returned", 5)


@pytest.mark.parametrize("fails", [False, True])
def test_a_producer_that_was_given_up_is_freed_when_its_call_returns_and_not_before(
    fails: bool, released: threading.Event
) -> None:
    """Nobody else keeps it: by its reference count alone, without a collection."""
    producer = hang(released, fails=fails)
    assert producer() is not None
    released.set()
    wait_until(lambda: producer() is None, "it is freed", 5)
    wait_until(lambda: "outlet" not in [one.name for one in threading.enumerate()], "its thread has ended", 5)


def test_too_many_that_hang_end_the_process_with_a_sentence(released: threading.Event) -> None:
    producers = [hang(released) for _ in range(hanging.MAX_HANGING)]
    with pytest.raises(FatalError, match=r"here: 6 transactions hang and do not end"):
        hanging.run_bounded(released.wait, lambda: None, "here")
    released.set()
    wait_until(lambda: [one() for one in producers] == [None] * len(producers), "all are freed", 5)
    assert hanging.run_bounded(lambda: 7, lambda: None, "here") == 7


def test_calls_that_return_in_time_give_what_they_return_or_raise(released: threading.Event) -> None:
    assert hanging.run_bounded(lambda: "result", lambda: None, "here") == "result"
    with pytest.raises(ZeroDivisionError):
        hanging.run_bounded(lambda: 1 // 0, lambda: None, "here")
