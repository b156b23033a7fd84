"""Two relays, of which one only seems dead."""

from __future__ import annotations

from collections.abc import Callable

from processor.core.settings import Settings
from tests.factories import load, produce
from tests.support.processes import Process


def wake_the_fenced(
    settings: Settings,
    start: Callable[..., Process],
    terminate_sessions: Callable[[str], None],
    seed: int,
    **second: str,
) -> tuple[Process, Process]:
    """The first relay loses its Postgres session with a transaction half produced, the second one (with the settings
    `second`) leads, and the first wakes up; both.
    """
    old = start("relay", PROCESSOR_RELAY_MAX_MESSAGES="100", PROCESSOR_TEST_HALT_AT="relay.after_produce")
    old.wait_said("leading")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(800, seed=seed))
    start("ingest", PROCESSOR_BATCH_MAX_RECORDS="150")
    old.wait_halted("relay.after_produce")
    terminate_sessions("cerebros-relay")
    new = start("relay", **second)
    new.wait_said("leading")
    old.resume()
    return old, new
