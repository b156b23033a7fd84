"""A commit that came to nothing is made again, though no record comes any more that would bring another one.

The broker is a real one; what a client or a coordinator loses now and then is taken away between source and client.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processor.core.settings import Settings
from processor.kafka import unconfirmed
from processor.kafka.group_source import GroupSource
from processor.kafka.range_source import RangeSource
from processor.kafka.ranges import Range
from tests.support.processes import wait_until
from tests.support.sources import KINDS, PARTITIONS, closing, commit, committed, read, send


class Between:
    """A consumer whose next commit that does not wait goes wrong; everything else is the consumer's own."""

    def __init__(self, consumer: Consumer, wrong: Callable[[Consumer, Sequence[TopicPartition]], None]) -> None:
        self._consumer, self._wrong = consumer, wrong
        self.went_wrong = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> Any:
        if self.went_wrong:
            return self._consumer.commit(offsets=offsets, asynchronous=asynchronous)  # type: ignore[call-overload]
        self.went_wrong += 1
        return self._wrong(self._consumer, offsets)


def unanswered(_consumer: Consumer, _offsets: Sequence[TopicPartition]) -> None:
    """As one that waited for a coordinator that went away."""


def refused_at_once(_consumer: Consumer, _offsets: Sequence[TopicPartition]) -> None:
    raise KafkaException(KafkaError(KafkaError._STATE))


def refused_in_one_partition(consumer: Consumer, offsets: Sequence[TopicPartition]) -> None:
    """More metadata than the broker takes: it refuses that partition, and the commit as a whole is told as done."""
    first, *others = offsets
    large = TopicPartition(first.topic, first.partition, first.offset, "x" * 10_000)
    consumer.commit(offsets=[large, *others], asynchronous=True)


@pytest.mark.parametrize("wrong", [unanswered, refused_at_once, refused_in_one_partition])
@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_that_came_to_nothing_is_made_again_where_no_more_records_come(
    kind: str,
    wrong: Callable[[Consumer, Sequence[TopicPartition]], None],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unconfirmed, "UNANSWERED_SECONDS", 1.0)
    send(settings, settings.raw_topic, 3, 3, 3, 3)
    with closing(KINDS[kind].open(settings, settings.raw_topic, settings.group_id)) as source:
        records = read(source, 12)
        if isinstance(source, GroupSource):  # what it commits by itself at its start is behind it
            wait_until(lambda: not source.poll(1, 0.1) and is_quiet(source), "it has set out", 30)
        if isinstance(source, RangeSource):  # and it has not come to its end: there is no poll behind that
            source._left[PARTITIONS] = Range(PARTITIONS, 0, 1, 0)
        between = Between(source._consumer, wrong)  # type: ignore[attr-defined]
        monkeypatch.setattr(source, "_consumer", between)
        commit(source, records, wait=False)

        def is_committed() -> bool:
            source.poll(1, 0.1)
            return committed(settings, settings.raw_topic, settings.group_id) == dict.fromkeys(range(PARTITIONS), 3)

        wait_until(is_committed, "all is committed", 30)
        assert between.went_wrong == 1
        monkeypatch.undo()


def test_offsets_that_were_held_back_are_committed_as_soon_as_what_stands_with_them_is_known(
    settings: Settings,
) -> None:
    """After a rebalance: until what was committed is read, a commit would erase what is remembered with it."""
    send(settings, settings.raw_topic, 3, 3, 3, 3)
    with closing(KINDS["consumer"].open(settings, settings.raw_topic, settings.group_id)) as source:
        assert isinstance(source, GroupSource)
        records = read(source, 12)
        wait_until(lambda: not source.poll(1, 0.1) and is_quiet(source), "it has set out", 30)
        source._standing.assigned(set(source._held))
        commit(source, records, wait=False)
        assert not source._standing.commits(source._unconfirmed.offsets)

        def is_committed() -> bool:
            source.poll(1, 0.1)
            return committed(settings, settings.raw_topic, settings.group_id) == dict.fromkeys(range(PARTITIONS), 3)

        wait_until(is_committed, "all is committed", 5)


def is_quiet(source: GroupSource) -> bool:
    """It has read what was committed before, and nothing of its own is under way."""
    return not source._standing._unknown and not source._unconfirmed.offsets
