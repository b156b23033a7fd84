"""What was committed and not confirmed is sent again: after a failure soon, without an answer after a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from processor.core.messages import TopicPartition as Partition
from processor.kafka.unconfirmed import AGAIN_SECONDS, UNANSWERED_SECONDS, Unconfirmed

ONE, TWO = ("raw", 0), ("raw", 1)


class Committing:
    """In place of a consumer, whose failures can't be had when they are wanted: `answers` by partition."""

    def __init__(self) -> None:
        self.sent: list[dict[int, int]] = []
        self.raises: KafkaError | None = None
        self.errors: dict[int, KafkaError] = {}

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> Any:
        self.sent.append({one.partition: one.offset for one in offsets})
        if self.raises is not None:
            raise KafkaException(self.raises)
        return None if asynchronous else [Answer(one, self.errors.get(one.partition)) for one in offsets]


class Answer:
    def __init__(self, one: TopicPartition, error: KafkaError | None = None) -> None:
        self.topic, self.partition, self.offset, self.error = one.topic, one.partition, one.offset, error


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def account(clock: Clock) -> Unconfirmed:
    return Unconfirmed(clock)


@pytest.fixture
def consumer() -> Committing:
    return Committing()


def send(account: Unconfirmed, consumer: Any, *, wait: bool = False, only: Sequence[Partition] | None = None) -> None:
    chosen = account.offsets if only is None else only
    account.send(consumer, [TopicPartition(*one, account.offsets[one]) for one in chosen], wait=wait)


def answer(
    account: Unconfirmed, places: dict[Partition, int], error: KafkaError | None = None, **errors: KafkaError
) -> None:
    offsets: Any = [Answer(TopicPartition(*place, at), errors.get(f"p{place[1]}")) for place, at in places.items()]
    account.answered(error, offsets)


def test_what_is_confirmed_is_not_sent_again(account: Unconfirmed, consumer: Any, clock: Clock) -> None:
    account.add({ONE: 5, TWO: 7})
    send(account, consumer)
    answer(account, {ONE: 5, TWO: 7})
    clock.now += 10 * UNANSWERED_SECONDS
    assert not account.due
    assert not account.offsets


def test_what_is_never_answered_is_sent_again_after_a_while(account: Unconfirmed, consumer: Any, clock: Clock) -> None:
    account.add({ONE: 5})
    send(account, consumer)
    clock.now += UNANSWERED_SECONDS - 0.1
    assert not account.due
    clock.now += 0.1
    assert account.due
    send(account, consumer)
    assert consumer.sent == [{0: 5}, {0: 5}]
    assert not account.due


@pytest.mark.parametrize("wait", [False, True])
def test_what_the_client_refuses_is_sent_again_soon(
    wait: bool, account: Unconfirmed, consumer: Any, clock: Clock
) -> None:
    account.add({ONE: 5})
    consumer.raises = KafkaError(KafkaError._STATE)
    with capture_logs() as logs:
        for _ in range(3):
            send(account, consumer, wait=wait)
            clock.now += AGAIN_SECONDS
            assert account.due
    assert [line["event"] for line in logs] == ["commit_failed"]  # one line, not a thousand
    consumer.raises = None
    send(account, consumer, wait=True)
    assert not account.offsets


@pytest.mark.parametrize("wait", [False, True])
def test_a_failure_in_one_partition_leaves_only_that_one(
    wait: bool, account: Unconfirmed, consumer: Any, clock: Clock
) -> None:
    error = KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
    consumer.errors = {1: error}
    account.add({ONE: 5, TWO: 7})
    with capture_logs() as logs:
        send(account, consumer, wait=wait)
        if not wait:
            answer(account, {ONE: 5, TWO: 7}, p1=error)
    assert [line["code"] for line in logs] == ["COORDINATOR_LOAD_IN_PROGRESS"]
    assert account.offsets == {TWO: 7}
    clock.now += AGAIN_SECONDS
    assert account.due


def test_what_is_held_back_is_tried_again_soon(account: Unconfirmed, consumer: Any, clock: Clock) -> None:
    account.add({ONE: 5, TWO: 7})
    send(account, consumer, only=[])
    assert not consumer.sent
    clock.now += AGAIN_SECONDS
    assert account.due
    send(account, consumer, only=[ONE])
    answer(account, {ONE: 5})
    clock.now += AGAIN_SECONDS
    assert account.due
    assert account.offsets == {TWO: 7}


def test_an_answer_to_an_earlier_commit_confirms_no_later_one(account: Unconfirmed, consumer: Any) -> None:
    account.add({ONE: 5})
    send(account, consumer)
    account.add({ONE: 9, TWO: 2})  # of a topic made anew it may be lower
    send(account, consumer)
    answer(account, {ONE: 5, TWO: 3000})
    assert account.offsets == {ONE: 9, TWO: 2}
    answer(account, {ONE: 9, TWO: 2})
    assert not account.offsets


def test_partitions_that_went_away_are_left_to_others(account: Unconfirmed, consumer: Any, clock: Clock) -> None:
    account.add({ONE: 5})
    send(account, consumer)
    account.forget([ONE])
    clock.now += UNANSWERED_SECONDS
    assert not account.due
    answer(account, {ONE: 5}, KafkaError(KafkaError.ILLEGAL_GENERATION))
    assert not account.due
