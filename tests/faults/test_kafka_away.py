"""Kafka that is away is told by whoever needs it, also where there is nothing to read, to publish or to send."""

from __future__ import annotations

import pytest
import structlog
from confluent_kafka import KafkaError

from processor.core import metrics
from processor.core.settings import Settings
from processor.kafka.group_source import GroupSource
from processor.local.files import free_ports
from tests.faults.test_outages import Start
from tests.support.backends import OwnServers
from tests.support.metrics import is_ready, metric, metrics_port
from tests.support.processes import Process, wait_until
from tests.support.sources import closing, is_assigned, open_group

#: by process: what says that it waits, and that it does no longer
TOLD = {
    "ingest": ('processor_outage{where="kafka"}', "waiting_for_kafka", "kafka_back"),
    "relay": ('processor_outage{where="relay"}', '"waiting"', "publishing_again"),
    "gateway": ("processor_gateway_outage", "kafka_unconfirmed", "kafka_back"),
}


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_processes_with_nothing_to_do_are_not_ready_while_kafka_is_away(
    how: str, settings: Settings, start: Start, own_servers: OwnServers
) -> None:
    listen = {"PROCESSOR_GATEWAY_LISTEN": f"127.0.0.1:{free_ports(1)[0]}"}
    ports = {name: metrics_port() for name in TOLD}
    running = {name: start(name, PROCESSOR_METRICS_PORT=port, **listen) for name, port in ports.items()}
    running["ingest"].wait_said("assigned")
    for port in ports.values():
        wait_until(lambda port=port: answers_ready(port), "ready")  # type: ignore[misc]
    own_servers.kafka.stop() if how == "stopped" else own_servers.kafka.freeze()
    for name, (outage, begins, _) in TOLD.items():
        wait_told(running[name], begins)
        assert metric(ports[name], outage) == 1
        assert not is_ready(ports[name])
    own_servers.kafka.start()
    if gave_up(running["ingest"]):
        running["ingest"] = start("ingest", PROCESSOR_METRICS_PORT=ports["ingest"], **listen)
    for name, (outage, begins, ends) in TOLD.items():
        anew = begins not in running[name].log.read_text()
        if not anew:
            wait_told(running[name], ends)
        wait_until(lambda name=name: answers_ready(ports[name]), f"{name} is ready")  # type: ignore[misc]
        assert metric(ports[name], outage) == 0
        said = running[name].log.read_text()
        assert (said.count(begins), said.count(ends)) == ((0, 0) if anew else (1, 1))
    assert [process.stop() for process in running.values()] == [0, 0, 0]


def gave_up(ingest: Process) -> bool:
    """Whether librdkafka did not find its broker again: then who supervises starts the process anew."""
    wait_until(lambda: not ingest.running or "kafka_back" in ingest.said(), "it is back, or given up", 120)
    if ingest.running:
        return False
    assert ingest.wait() == 1
    assert "only a new process helps" in ingest.said()
    return True


def answers_ready(port: str) -> bool:
    try:
        return is_ready(port)
    except OSError:  # it does not listen yet
        return False


def wait_told(process: Process, word: str) -> None:
    process.wait_said(word, 60)


def test_connections_that_were_idle_for_too_long_are_no_outage(settings: Settings) -> None:
    """The client calls all brokers down then, as where they are: a question shows that they are not."""
    began = metrics.REGISTRY.get_sample_value("processor_outages_total", {"where": "kafka"}) or 0.0
    source = open_group(settings, settings.raw_topic, settings.group_id)
    assert isinstance(source, GroupSource)
    with structlog.testing.capture_logs() as said, closing(source):
        wait_until(lambda: source.poll(1, 0.1) == [] and is_assigned(), "assigned")
        source._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        assert source._brokers.doubted
        wait_until(lambda: source.poll(1, 0.1) == [] and not source._brokers.doubted, "they have answered")
        assert not source.in_outage
    assert [one["event"] for one in said if "kafka" in one["event"]] == []
    assert (metrics.REGISTRY.get_sample_value("processor_outages_total", {"where": "kafka"}) or 0.0) == began
