"""A relay that is frozen, as a machine that is suspended, and wakes up long after another one has taken over."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from processor.core.errors import TransientError
from processor.core.settings import Settings
from processor.service.relay import open_lead
from processor.store.outbox import LEAD_SESSION, Outbox
from processor.store.session import Session
from tests.factories import load, produce
from tests.support.ledger import check_ledger
from tests.support.processes import Process, wait_until
from tests.support.settle import wait_settled

Start = Callable[..., Process]


def test_a_relay_that_is_frozen_with_its_session_open_loses_the_lead_in_a_bounded_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine still answers for the connection, so that nothing but the server's own clock can tell."""
    monkeypatch.setitem(LEAD_SESSION, "idle_session_timeout", "1500")
    with open_lead(settings) as frozen, open_lead(settings) as other:
        first, second = Outbox(frozen), Outbox(other)
        assert (first.try_lead(), second.try_lead()) == (True, False)
        for _ in range(3):  # one that is awake and has nothing to publish keeps it
            first.wait(1.0)
            first.claim(1, 1)
            assert not second.try_lead()
        wait_until(second.try_lead, "another relay leads", 20)
        with pytest.raises(TransientError):
            first.claim(1, 1)


def test_a_relay_that_leads_again_in_its_session_listens_once(store: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka that is away for a day makes it begin to lead thousands of times."""
    listening: list[str] = []
    listen = asyncpg.Connection.add_listener

    async def add_listener(connection: asyncpg.Connection, channel: str, callback: Any) -> None:
        listening.append(channel)
        await listen(connection, channel, callback)

    monkeypatch.setattr(asyncpg.Connection, "add_listener", add_listener)
    outbox = Outbox(store)
    assert [outbox.try_lead() for _ in range(5)] == [True] * 5
    assert len(listening) == 1


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
