"""A question to a broker whose task is just moving: asked again, and every other error told at once."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.kafka import offsets as module
from processor.kafka.offsets import asked_again


class Broker:
    """Answers with these errors one after the other, then with 7."""

    def __init__(self, *codes: int) -> None:
        self.codes, self.asked = list(codes), 0

    def __call__(self) -> int:
        self.asked += 1
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return 7


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOVING_PAUSE_SECONDS", 0.0)


def test_what_is_moving_is_asked_again() -> None:
    broker = Broker(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR)
    assert (asked_again(broker), broker.asked) == (7, 4)


def test_any_other_error_is_told_at_once() -> None:
    broker = Broker(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        asked_again(broker)
    assert broker.asked == 1


def test_what_never_stops_moving_is_told_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.0)
    broker = Broker(*100 * [KafkaError.NOT_LEADER_FOR_PARTITION])
    with pytest.raises(KafkaException):
        asked_again(broker)
    assert broker.asked < 100
