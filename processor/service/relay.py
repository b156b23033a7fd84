"""`processor relay` as a process: outbox -> Kafka."""

from __future__ import annotations

import structlog

from processor.core.checkpoints import arm
from processor.core.settings import RelaySettings
from processor.core.stopping import stop_on_signals
from processor.kafka.producer import open_outlet
from processor.kafka.topics import check_topics
from processor.relay.relay import Relay
from processor.service.health import serve_health
from processor.service.start import STUCK_SECONDS, keep_freed_memory, wait_for_start
from processor.service.wiring import open_migrated, open_session
from processor.store.outbox import LEAD_SESSION, Outbox
from processor.store.session import Session

log = structlog.get_logger(__name__)


def open_lead(settings: RelaySettings) -> Session:
    """The session whose lock is the lead: a relay that is frozen has it no longer than `LEAD_SESSION` says."""
    return open_session(settings, "cerebros-relay", LEAD_SESSION)


def run_relay(settings: RelaySettings, *, with_stdin: bool = False) -> None:
    """Publishes until a signal, or the end of `with_stdin`; raises `FatalError` where it can't go on."""
    arm(settings.test_halt_at)
    keep_freed_memory()

    def check() -> None:
        with open_migrated(settings, "cerebros-check"):
            pass
        check_topics(settings, settings.events_topic, settings.dead_letter_topic)

    with (
        stop_on_signals(with_stdin=with_stdin) as stop,
        serve_health(settings.metrics_port, STUCK_SECONDS, settings.metrics_host) as health,
    ):
        wait_for_start(check, health, stop)
        if stop.is_set():
            return
        with open_lead(settings) as store:
            relay = Relay(
                Outbox(store),
                lambda identity, one_by_one: open_outlet(settings, identity, one_by_one=one_by_one),
                settings.identity,
                max_messages=settings.relay_max_messages,
                max_bytes=settings.relay_max_bytes,
                stop=stop,
            )
            health.watch(lambda: relay.last_round, lambda: not relay.in_outage)
            log.info("relay_started", events=settings.events_topic, dead_letters=settings.dead_letter_topic)
            relay.run()
    log.info("relay_stopped")
