"""Processes come and go in the middle of a load; whoever reads a partition, nothing is lost or doubled."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from processor.core.settings import Settings
from processor.kafka.group_source import GroupSource
from processor.kafka.membership import Subscription
from tests.factories import load, produce
from tests.support.ledger import check_ledger
from tests.support.patience import patient
from tests.support.processes import Process, wait_until
from tests.support.settle import rows, wait_settled

Start = Callable[..., Process]
SMALL = {"PROCESSOR_BATCH_MAX_RECORDS": "100"}


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_scaling_from_one_to_three_and_back_in_the_middle_of_a_load(
    protocol: str, end: str, settings: Settings, start: Start
) -> None:
    extra = {**SMALL, "PROCESSOR_GROUP_PROTOCOL": protocol}
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(4000, seed=41, life=0.3))
    first = start("ingest", **extra)
    start("relay")
    wait_until(lambda: rows(settings) > 50, "the first writes")
    others = [start("ingest", **extra) for _ in range(2)]
    for other in others:
        other.wait_said("assigned")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(2000, seed=42))
    for other in others:
        if end == "stop":
            assert other.stop() == 0
        else:
            other.kill()
    wait_settled(settings)
    assert first.running
    check_ledger(settings)


def test_reading_goes_on_at_once_when_partitions_may_be_read_again(protocol: str, settings: Settings) -> None:
    """They were paused, as a rebalance does it too: the client's thread that fetches sleeps for a second then."""
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(2000, seed=42))
    source = GroupSource(
        settings,
        Subscription(settings.raw_topic, settings.group_id, protocol=protocol),
        lambda _partitions, lost: None,
    )
    wait_until(lambda: bool(source.poll(10, 0.1)), "the first records")
    empty_polls = []
    for _ in range(3):
        source.pause(None)
        for _ in range(3):
            source.poll(1, 0.1)
        source.pause(())
        number = 0
        while not source.poll(10, 0.1):
            number += 1
        empty_polls.append(number)
    source.close()
    assert sorted(empty_polls)[1] <= 4  # one where nothing else goes on; six where nobody wakes it


def test_a_rebalance_storm_loses_and_doubles_nothing(settings: Settings, start: Start) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(5000, seed=43, life=0.3))
    start("relay")
    start("ingest", **SMALL)
    for _ in range(4):
        guest = start("ingest", **SMALL)
        guest.wait_said("assigned")
        assert guest.stop() == 0
    wait_settled(settings)
    check_ledger(settings)


def test_a_killed_ingest_has_a_writing_successor_within_ten_seconds(settings: Settings, start: Start) -> None:
    victim = start("ingest")
    victim.wait_said("assigned")
    victim.kill()
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(100, seed=44, bad=0))
    start("ingest").wait_said("ingest_started", 60)  # how long a process takes to start is the machine's
    began = time.monotonic()
    wait_until(lambda: rows(settings) > 0, "the successor writes", 30)
    assert time.monotonic() - began < patient(10)  # the promise is this bound, not a speed


def test_a_static_member_that_was_killed_comes_back_at_once(settings: Settings, start: Start) -> None:
    """Kafka refuses a static member of the new protocol that is not yet released; the process waits, and then reads."""
    static = {"PROCESSOR_GROUP_INSTANCE_ID": "replica-1"}
    victim = start("ingest", **static)
    victim.wait_said("assigned")
    victim.kill()
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(100, seed=45))
    start("ingest", **static)
    start("relay")
    wait_settled(settings, 30)
    check_ledger(settings)


def test_a_second_process_with_the_same_instance_id_does_not_look_alive_and_idle(
    settings: Settings, start: Start
) -> None:
    static = {"PROCESSOR_GROUP_INSTANCE_ID": "replica-1"}
    one = start("ingest", **static)
    one.wait_said("assigned")
    two = start("ingest", **static)
    wait_until(lambda: not (one.running and two.running), "one of the two ends", 60)
    ended = two if one.running else one
    assert ended.wait() == 1
    assert "cannot go on" in ended.said()
