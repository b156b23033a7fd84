"""Records and rows that cost more than their neighbours: memory stays bounded, and the stream goes on."""

from __future__ import annotations

import json
from collections.abc import Callable

from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from tests.factories import produce, report
from tests.faults.test_limits import peak_mib
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import rows, wait_settled

Start = Callable[..., Process]


def test_a_record_of_a_thousand_bad_reports_takes_tens_of_megabytes(
    settings: Settings, start: Start, environment: dict[str, str]
) -> None:
    """A reporter's bug, once in each report of a large envelope."""
    bad = [
        report(trial_id=f"t{number}", run_id="r", status="no-such-status", parameters={"p": "x" * 600})
        for number in range(1000)
    ]
    value = json.dumps({"run_id": "r", "trials": bad}).encode()
    assert 900_000 < len(value) < 1_048_000
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", json.dumps(report(run_id="r")).encode())])
    ingest, relay = start("ingest", PROCESSOR_MEMORY_MB="256"), start("relay")
    wait_until(lambda: rows(settings) == 1, "a report is written")
    wait_settled(settings)
    before = peak_mib(ingest), peak_mib(relay)
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", value)])
    wait_until(lambda: bool(list(read_topic(settings, settings.dead_letter_topic))), "dead letters are out", 60)
    wait_settled(settings)
    more = peak_mib(ingest) - before[0], peak_mib(relay) - before[1]
    print(f"ingest {peak_mib(ingest)} MiB, {more[0]} more than before; relay {peak_mib(relay)} MiB, {more[1]} more")
    assert max(more) < 64, more
    published = list(read_topic(settings, settings.dead_letter_topic))
    assert sum(len(one.value or b"") for one in published) == len(value)
    done = run_command(environment, "verify")
    assert done.returncode == 0, done.stdout
