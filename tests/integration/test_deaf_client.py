"""A client that does not find its brokers again, as librdkafka's may be: it is asked, given up, and holds up no end.

The state itself comes one time in some thirty, so a consumer stands in for one that is in it; all else is real.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from processor.core.errors import FatalError
from processor.core.settings import Settings
from processor.kafka import brokers, hanging
from processor.kafka.group_source import GroupSource
from processor.kafka.membership import Subscription
from tests.factories import load, produce
from tests.support.patience import patient
from tests.support.processes import wait_until


class Deaf:
    """Hears nothing of any broker, and can't be closed until it is let go."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer, self.let_go = consumer, threading.Event()
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def list_topics(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def close(self) -> None:
        self.let_go.wait()
        self._consumer.close()


@pytest.fixture
def source(settings: Settings) -> GroupSource:
    opened = GroupSource(settings, Subscription(settings.raw_topic, settings.group_id), lambda *_, **__: None)
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(10, seed=5))
    wait_until(lambda: bool(opened.poll(1, 0.1)), "the first record")
    opened._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    return opened


def test_brokers_that_were_gone_are_asked_for_until_they_answer(source: GroupSource) -> None:
    assert source._brokers.doubted
    wait_until(lambda: source.poll(1, 0.1) is not None and not source._brokers.doubted, "they are found")
    source.close()


def poll_for(source: GroupSource, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        source.poll(1, 0.1)


def test_a_client_that_alone_hears_nothing_ends_the_process(
    source: GroupSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "DEAF_SECONDS", 1.0)
    source._consumer = deaf = Deaf(source._consumer)  # type: ignore[assignment]
    with pytest.raises(FatalError, match="does not find it again: only a new process helps"):
        poll_for(source, patient(30))
    assert deaf.asked > 1
    deaf.let_go.set()
    source.close()


def test_the_end_does_not_wait_for_a_client_that_can_not_leave(
    source: GroupSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hanging, "HANG_SECONDS", 0.5)
    source._consumer = deaf = Deaf(source._consumer)  # type: ignore[assignment]
    source.close()
    assert not deaf.let_go.is_set()
    deaf.let_go.set()
