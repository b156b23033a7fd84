"""A relay that is frozen, as a machine that is suspended, and wakes up long after another one has taken over."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from processor.core.settings import Settings
from tests.factories import load, produce
from tests.support.ledger import check_ledger
from tests.support.processes import Process
from tests.support.settle import wait_settled

Start = Callable[..., Process]


@pytest.mark.parametrize("point", ["relay.after_produce", "relay.after_kafka_commit"])
def test_a_relay_that_was_frozen_and_wakes_doubles_and_loses_nothing(
    point: str, settings: Settings, start: Start, terminate_sessions: Callable[[str], None]
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=171))
    start("ingest")
    frozen = start("relay", PROCESSOR_TEST_HALT_AT=point)
    frozen.wait_halted(point)
    os.kill(frozen.pid, signal.SIGSTOP)  # no thread of its client says anything to the broker any more
    terminate_sessions("cerebros-relay")
    leads = start("relay")
    wait_settled(settings)
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.resume()
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(200, seed=172))
    wait_settled(settings)
    assert (frozen.running, leads.running) == (True, True)
    leads.kill()  # and the one that was frozen leads again
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(200, seed=173))
    wait_settled(settings)
    check_ledger(settings)
