"""SIGKILL at every named point of the durable path: nothing is lost and nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from processor.core.settings import Settings
from tests.factories import load, produce
from tests.support.ledger import check_ledger
from tests.support.processes import Process
from tests.support.relays import wake_the_fenced
from tests.support.settle import wait_settled

Start = Callable[..., Process]

INGEST_POINTS = ["ingest.after_poll", "ingest.before_write", "ingest.after_write", "ingest.after_commit"]
RELAY_POINTS = ["relay.after_claim", "relay.after_produce", "relay.after_kafka_commit", "relay.after_mark"]


@pytest.mark.parametrize("point", INGEST_POINTS)
def test_ingest_killed_at_any_point_loses_and_doubles_nothing(point: str, settings: Settings, start: Start) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1200, seed=11, life=0.4))
    start("relay")
    # small batches, so that the point is reached in the middle of the load
    victim = start("ingest", PROCESSOR_TEST_HALT_AT=f"{point}#2", PROCESSOR_BATCH_MAX_RECORDS="150")
    victim.wait_halted(point)
    victim.kill()
    start("ingest")
    wait_settled(settings)
    check_ledger(settings)


@pytest.mark.parametrize("point", RELAY_POINTS)
def test_relay_killed_at_any_point_publishes_each_event_once(point: str, settings: Settings, start: Start) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1200, seed=12, life=0.4))
    start("ingest", PROCESSOR_BATCH_MAX_RECORDS="150")
    victim = start("relay", PROCESSOR_TEST_HALT_AT=f"{point}#2", PROCESSOR_RELAY_MAX_MESSAGES="200")
    victim.wait_halted(point)
    victim.kill()
    start("relay")
    wait_settled(settings)
    check_ledger(settings)


def test_a_standby_relay_takes_over_from_a_killed_one_by_itself(settings: Settings, start: Start) -> None:
    leader = start("relay", PROCESSOR_TEST_HALT_AT="relay.after_kafka_commit", PROCESSOR_RELAY_MAX_MESSAGES="100")
    leader.wait_said("leading")
    standby = start("relay")
    standby.wait_said("standing_by")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(800, seed=13, life=0.4))
    start("ingest", PROCESSOR_BATCH_MAX_RECORDS="150")
    leader.wait_halted("relay.after_kafka_commit")
    leader.kill()
    standby.wait_said("leading")
    wait_settled(settings)
    check_ledger(settings)


def test_a_relay_that_only_seemed_dead_is_fenced_and_doubles_nothing(
    settings: Settings, start: Start, terminate_sessions: Callable[[str], None]
) -> None:
    first, _ = wake_the_fenced(settings, start, terminate_sessions, seed=14)
    wait_settled(settings)
    assert first.running
    check_ledger(settings)
