"""The promises of `pipeline.ports.Source`, kept by the live group's source and by the one over ranges alike."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from processor.core.messages import RawRecord
from processor.core.settings import Settings
from processor.kafka.topics import create_topics
from processor.pipeline.ports import Source
from tests.factories import produce
from tests.support.patience import patient
from tests.support.processes import wait_until
from tests.support.sources import (
    KINDS,
    Kind,
    closing,
    commit,
    committed,
    open_group,
    places,
    polls,
    read,
    read_rest,
    send,
)


class Reading:
    """One kind of source on the raw topic of a test, always as the same group."""

    def __init__(self, settings: Settings, kind: Kind) -> None:
        self.settings, self.kind = settings, kind
        self.topic, self.group = settings.raw_topic, f"{settings.group_id}-of-the-source"

    def open(self) -> Source:
        return self.kind.open(self.settings, self.topic, self.group)

    def send(self, *numbers: int) -> list[tuple[int, int]]:
        return send(self.settings, self.topic, *numbers)

    def committed(self) -> dict[int, int]:
        return committed(self.settings, self.topic, self.group)


@pytest.fixture(params=KINDS)
def reading(settings: Settings, request: pytest.FixtureRequest) -> Reading:
    return Reading(settings, KINDS[request.param])


def test_every_record_comes_once_and_in_its_partitions_order(reading: Reading) -> None:
    sent = reading.send(250, 0, 700, 1)
    with closing(reading.open()) as source:
        records = read(source, len(sent)) + read_rest(source)
    assert places(records) == sent


@pytest.mark.parametrize("limit", [1, 7])
def test_never_more_than_the_limit_comes_at_once(reading: Reading, limit: int) -> None:
    sent = reading.send(20, 20)
    with closing(reading.open()) as source:
        brought = polls(source, limit, len(sent))
    assert max(map(len, brought)) <= limit
    assert places([record for records in brought for record in records]) == sent


def test_a_poll_without_any_record_ends_after_its_time_or_at_once_where_none_will_ever_come(reading: Reading) -> None:
    sent = reading.send(3)
    at_end = reading.kind.at_end
    with closing(reading.open()) as source:
        read(source, len(sent))
        for _ in range(2):
            began = time.monotonic()
            assert source.poll(100, 0.4) == at_end
            assert (0.3 if at_end == [] else 0.0) < time.monotonic() - began < patient(3.0)


def test_a_record_comes_as_it_was_sent(reading: Reading) -> None:
    headers = [("a", b"1"), ("a", b"2"), ("none", None), ("empty", b"")]
    cases: list[tuple[bytes | None, bytes | None, int, Any]] = [
        (b"\x00key", b"\xffvalue", 1_700_000_000_123, headers),
        (None, None, 1_600_000_000_000, []),
        (b"", b"", 1, []),
    ]
    for key, value, timestamp, its_headers in cases:
        where = {"partition": 2, "timestamp": timestamp, "headers": its_headers}
        produce(reading.settings.kafka_bootstrap_servers, reading.topic, [(key, value)], **where)
    with closing(reading.open()) as source:
        records = read(source, len(cases))
    assert records == [
        RawRecord(reading.topic, 2, offset, timestamp, key, value, tuple(its_headers))
        for offset, (key, value, timestamp, its_headers) in enumerate(cases)
    ]


def test_nothing_comes_while_paused_and_everything_after_it(reading: Reading) -> None:
    """What was on its way when it was paused may still come, and counts as read."""
    sent = reading.send(600, 600, 600, 600)
    with closing(reading.open()) as source:
        records = read(source, 1, limit=10)
        source.pause(None)
        while brought := source.poll(10, 0.2):
            records += brought
        assert len(records) < len(sent)
        assert [source.poll(10, 0.05) for _ in range(20)] == [[]] * 20
        source.pause(())
        records += read(source, len(sent) - len(records))
        records += read_rest(source)
    assert places(records) == sent


def test_a_source_that_is_paused_before_it_has_its_partitions_reads_nothing_until_it_goes_on(reading: Reading) -> None:
    sent = reading.send(5, 5)
    with closing(reading.open()) as source:
        source.pause(None)
        early: list[RawRecord] = []

        def is_assigned() -> bool:
            early.extend(source.poll(10, 0.05) or [])
            return reading.kind.is_assigned()

        wait_until(is_assigned, "it has its partitions")
        assert (early, [source.poll(10, 0.05) for _ in range(20)]) == ([], [[]] * 20)
        source.pause(())
        records = read(source, len(sent)) + read_rest(source)
    assert places(records) == sent


def test_a_successor_reads_what_was_not_committed_and_nothing_of_what_was(reading: Reading) -> None:
    sent = reading.send(10, 10, 10)
    with closing(reading.open()) as source:
        first = read(source, len(sent))
        commit(source, [one for one in first if one.partition == 0 or (one.partition == 1 and one.offset < 4)])
    with closing(reading.open()) as source:
        again = read(source, 16) + read_rest(source)
    assert places(again) == [*((1, offset) for offset in range(4, 10)), *((2, offset) for offset in range(10))]


def test_a_commit_that_is_waited_for_is_durable_when_it_returns(reading: Reading) -> None:
    """Asked at once, by a client that is connected already, for each of many commits."""
    sent = reading.send(10)
    asker = Consumer({"bootstrap.servers": reading.settings.kafka_bootstrap_servers, "group.id": reading.group})
    found = []
    with closing(reading.open()) as source:
        for record in read(source, len(sent)):
            commit(source, [record])
            [answer] = asker.committed([TopicPartition(reading.topic, 0)], timeout=10)
            found.append(answer.offset)
    asker.close()
    assert found == list(range(1, 11))


def test_a_commit_that_is_not_waited_for_gets_there_while_reading_goes_on(reading: Reading) -> None:
    reading.send(3, 0, 2)
    with closing(reading.open()) as source:
        commit(source, read(source, 5), wait=False)

        def is_there() -> bool:
            source.poll(10, 0.1)
            return reading.committed() == {0: 3, 2: 2}

        wait_until(is_there, "the commit")


def test_closing_commits_nothing_by_itself(reading: Reading) -> None:
    sent = reading.send(5, 5)
    for _ in range(2):
        with closing(reading.open()) as source:
            assert places(read(source, len(sent)) + read_rest(source)) == sent
    assert reading.committed() == {}


def test_only_what_a_transaction_committed_is_seen(reading: Reading) -> None:
    servers = reading.settings.kafka_bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "transactional.id": reading.group})
    producer.init_transactions()
    for value, end in ((b"seen", producer.commit_transaction), (b"aborted", producer.abort_transaction)):
        producer.begin_transaction()
        for _ in range(5):
            producer.produce(reading.topic, value, partition=0)
        producer.flush()
        end()
    producer.begin_transaction()
    producer.produce(reading.topic, b"open", partition=0)
    producer.flush()
    with closing(reading.open()) as source:
        records = read(source, 5) + read_rest(source)
    producer.abort_transaction()
    assert [one.value for one in records] == [b"seen"] * 5


def test_topic_and_group_are_those_it_was_told_whatever_the_settings_say(reading: Reading) -> None:
    settings, other = reading.settings, f"{reading.topic}.other"
    create_topics(settings, [other], partitions=4, replication=1)
    reading.send(4, 4)
    sent = send(settings, other, 2, 3)
    with closing(reading.kind.open(settings, other, reading.group)) as source:
        records = read(source, len(sent)) + read_rest(source)
        commit(source, records)
    assert {one.topic for one in records} == {other}
    assert places(records) == sent
    assert committed(settings, other, reading.group) == {0: 2, 1: 3}
    assert committed(settings, other, settings.group_id) == committed(settings, reading.topic, reading.group) == {}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_new_group_that_starts_with_the_latest_reads_only_what_comes_after(settings: Settings, protocol: str) -> None:
    """Once it has committed it goes on from there: what came while it was away is read."""

    def is_read() -> bool:
        produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("key", b"new")], partition=0)
        records.extend(source.poll(100, 0.2))
        return bool(records)

    send(settings, settings.raw_topic, 10)
    open_latest = partial(
        open_group, settings, settings.raw_topic, settings.group_id, protocol=protocol, start="latest"
    )
    records: list[RawRecord] = []
    with closing(source := open_latest()):
        wait_until(is_read, "a record that came after the start")
        records += read_rest(source)
        commit(source, records)
    assert {one.value for one in records} == {b"new"}
    offsets = [one.offset for one in records]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    send(settings, settings.raw_topic, 3)
    with closing(open_latest()) as successor:
        assert [one.offset for one in read(successor, 3)] == [offsets[-1] + number for number in (1, 2, 3)]
