"""A partition that is ours and holds more is read on, whatever was paused when it went away, and told where it is not.

A pause belongs to the client's partition, not to its assignment: librdkafka keeps it while somebody else has it.
"""

from __future__ import annotations

import contextlib

import pytest
import structlog
from confluent_kafka import Producer, TopicPartition

from processor.core import metrics
from processor.core.settings import Settings
from processor.kafka import stalls
from processor.kafka.group_source import GroupSource
from tests.support.processes import wait_until
from tests.support.sources import PARTITIONS, closing, commit, is_assigned, open_group, places, read, send


def group(settings: Settings, protocol: str) -> GroupSource:
    source = open_group(settings, settings.raw_topic, settings.group_id, protocol=protocol)
    assert isinstance(source, GroupSource)
    return source


def test_partitions_that_went_away_while_they_were_paused_are_read_when_they_are_back(
    protocol: str, settings: Settings
) -> None:
    """As in an outage of the database with a rebalance in the midst of it."""
    with closing(group(settings, protocol)) as source:
        assert isinstance(source, GroupSource)
        wait_until(lambda: source.poll(1, 0.1) == [] and is_assigned(), "it has all partitions")
        source.pause(None)
        with contextlib.closing(group(settings, protocol)) as other:
            wait_until(lambda: not (source.poll(1, 0.1) or other.poll(1, 0.1)) and len(other._held) == 2, "both read")
            source.pause(())
        wait_until(lambda: source.poll(1, 0.1) == [] and len(source._held) == PARTITIONS, "it has them back")
        send(settings, settings.raw_topic, 3, 3, 3, 3)
        assert len(read(source, 12)) == 12


def test_partitions_of_a_topic_made_anew_that_went_away_in_between_are_read_when_they_are_back(
    protocol: str, settings: Settings
) -> None:
    """Its records are waited for, and so it is paused; with the topic Kafka has deleted the offsets that tell so."""
    with closing(group(settings, protocol)) as source:
        assert isinstance(source, GroupSource)
        wait_until(lambda: source.poll(1, 0.1) == [] and is_assigned(), "it has all partitions")
        wait_until(lambda: not source.poll(1, 0.1) and len(source._standing._floor) == PARTITIONS, "it has set out")
        source._standing._remembered = {
            place: one._replace(topic_id="former") for place, one in source._standing._remembered.items()
        }
        source._standing._handed = dict.fromkeys(source._held, 1)  # and not yet written
        wait_until(lambda: not source.poll(1, 0.1) and len(source._standing.waiting) == PARTITIONS, "it is anew")
        with contextlib.closing(group(settings, protocol)) as other:
            wait_until(lambda: not (source.poll(1, 0.1) or other.poll(1, 0.1)) and len(other._held) == 2, "both read")
        wait_until(lambda: source.poll(1, 0.1) == [] and len(source._held) == PARTITIONS, "it has them back")
        source._standing._handed.clear()
        send(settings, settings.raw_topic, 3, 3, 3, 3)
        assert len(read(source, 12)) == 12


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall is one after seconds."""
    monkeypatch.setattr(stalls, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(stalls, "STALL_SECONDS", 2.0)


def stalled() -> float | None:
    return metrics.REGISTRY.get_sample_value("processor_outage", {"where": "stalled"})


@pytest.mark.usefixtures("soon")
def test_a_partition_that_the_client_has_lost_is_told_and_read_on(protocol: str, settings: Settings) -> None:
    with structlog.testing.capture_logs() as said, closing(group(settings, protocol)) as source:
        assert isinstance(source, GroupSource)
        send(settings, settings.raw_topic, 3, 3)
        commit(source, read(source, 6))
        source._consumer.pause([TopicPartition(settings.raw_topic, 0)])  # as librdkafka may have it, whoever did it
        send(settings, settings.raw_topic, 5, 5)
        records = read(source, 5)
        assert {one.partition for one in records} == {1}
        while not source.in_outage:  # once it is told it comes
            records += source.poll(100, 0.1)
        assert stalled() == 1
        records += read(source, 10 - len(records))
        wait_until(lambda: not (source.poll(1, 0.1) or source.in_outage), "that is over")
    assert places(records) == [(partition, 3 + number) for partition in (0, 1) for number in range(5)]
    assert stalled() == 0
    told = [one for one in said if "partition" in one["event"]]
    assert [one["event"] for one in told] == ["partition_stalled", "partition_read_again"]
    assert {name: told[0][name] for name in ("partition", "offset", "end")} == {"partition": 0, "offset": 3, "end": 8}


@pytest.mark.usefixtures("soon")
def test_partitions_that_hold_nothing_to_be_read_now_are_no_stall(settings: Settings) -> None:
    """An open transaction, aborted records at the end, and a partition that waits for its writer."""
    producers = [
        Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "transactional.id": f"{settings.raw_topic}-{name}"}
        )
        for name in "ab"
    ]
    for partition, producer in enumerate(producers):
        producer.init_transactions()
        producer.begin_transaction()
        producer.produce(settings.raw_topic, b"never read", partition=partition)
        producer.flush()
    producers[1].abort_transaction()
    with structlog.testing.capture_logs() as said, closing(group(settings, "consumer")) as source:
        assert isinstance(source, GroupSource)
        wait_until(lambda: source.poll(1, 0.1) == [] and is_assigned(), "it has all partitions")
        source.pause({2})
        send(settings, settings.raw_topic, 0, 0, 3)
        for _ in range(12):  # six seconds at the least
            look_at = source._stalls._look_at
            wait_until(lambda: not source.poll(1, 0.1) and source._stalls._look_at > look_at, "another look")  # noqa: B023
        assert source._stalls._stood.keys() == {(settings.raw_topic, one) for one in (0, 1, 3)}
        assert not source.in_outage
    assert [one for one in said if "stalled" in one["event"]] == []
    producers[0].abort_transaction()
