"""Input that Kafka no longer has, or has in another place, is told and never skipped in silence (promise 8)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from processor.core.settings import Settings
from processor.kafka.remembered import Remembered
from tests.conftest import execute
from tests.factories import load, produce, report
from tests.faults.test_limits import locked
from tests.integration.test_window import command
from tests.support.ledger import check_ledger, rows_of
from tests.support.metrics import is_ready, metric, metrics_port
from tests.support.patience import patient
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import lag, rows, wait_settled

Start = Callable[..., Process]


def send(settings: Settings, number: int, run: str = "run-1", partition: int = 0) -> None:
    values = [json.dumps(report(run_id=run)).encode() for _ in range(number)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [(run, one) for one in values], partition=partition)


def admin_of(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})


def delete_below(settings: Settings, offset: int) -> None:
    admin = admin_of(settings)
    for future in admin.delete_records([TopicPartition(settings.raw_topic, 0, offset)]).values():
        future.result(10)


def commit(settings: Settings, offset: int, metadata: str = "") -> None:
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": settings.group_id})
    consumer.commit(offsets=[TopicPartition(settings.raw_topic, 0, offset, metadata)], asynchronous=False)
    consumer.close()


def status(environment: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_command(environment, "status", "-f", "json").stdout)
    return found


def test_records_that_retention_took_before_they_were_read_are_told_by_everything_that_looks(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    send(settings, 5)
    port = metrics_port()
    ingest = start("ingest", PROCESSOR_METRICS_PORT=port)
    wait_settled_rows(settings, 5)
    assert metric(port, 'processor_records_gone_total{partition="0"}') == 0  # so that an alert sees it grow
    assert ingest.stop() == 0
    send(settings, 10)
    delete_below(settings, 12)
    before = status(environment)
    assert before["gone"] == {"0": 7}
    assert before["warnings"] == ["partition 0: 7 records that were never read are deleted: 5..11"]
    ingest = start("ingest", PROCESSOR_METRICS_PORT=port)
    wait_settled_rows(settings, 8)
    assert metric(port, 'processor_records_gone_total{partition="0"}') == 7
    assert '"records": 7' in ingest.said()
    assert '"event": "records_gone"' in ingest.said()
    after = status(environment)
    assert (after["gone"], after["lag_total"]) == ({"0": 7}, 0)
    verified = command(environment, "verify", "-f", "json")
    assert verified.returncode == 1
    document = json.loads(verified.stdout)
    assert document["differences"] == 0
    assert document["lost_input"] == ["partition 0: 7 records were deleted before they were read, last 5..11"]
    send(settings, 3)  # later commits do not forget it, nor does another start
    wait_settled_rows(settings, 11)
    assert ingest.stop() == 0
    start("ingest")
    send(settings, 1)
    wait_settled_rows(settings, 12)
    assert status(environment)["gone"] == {"0": 7}


def wait_settled_rows(settings: Settings, number: int) -> None:
    wait_until(lambda: rows(settings) == number, f"{number} rows")
    wait_until(lambda: lag(settings) == 0, "lag 0")


def test_a_gap_is_forgotten_when_somebody_moves_the_offsets(settings: Settings, environment: dict[str, str]) -> None:
    send(settings, 10)
    commit(settings, 10, Remembered("", 7, "5..11").text)
    assert command(environment, "verify").returncode == 1
    assert run_command(environment, "replay", "--to-earliest", "--execute").returncode == 0
    assert status(environment)["warnings"] == []


def test_records_that_retention_takes_while_ingest_waits_are_told(
    settings: Settings, start: Start, database_url: str
) -> None:
    send(settings, 50)
    port = metrics_port()
    with locked(database_url, "cerebros_model_runs"):
        ingest = start("ingest", PROCESSOR_METRICS_PORT=port, PROCESSOR_BATCH_MAX_RECORDS="5")
        ingest.wait_said("waiting_for_database")
        send(settings, 500)
        delete_below(settings, 400)
    ingest.wait_said("records_gone")
    wait_until(lambda: lag(settings) == 0, "lag 0")
    gone = metric(port, 'processor_records_gone_total{partition="0"}')
    assert gone is not None
    assert rows(settings) + gone == 550


def test_an_offset_beyond_the_end_is_told_and_everything_there_is_is_read(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    send(settings, 10)
    commit(settings, 100)
    assert "the group stands at 100, beyond the end 10" in status(environment)["warnings"][0]
    assert command(environment, "verify").returncode == 1
    ingest, _relay = start("ingest"), start("relay")
    ingest.wait_said("offset_out_of_range")
    wait_settled(settings)
    check_ledger(settings)
    assert status(environment)["warnings"] == []


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_topic_made_anew_under_a_running_ingest_is_read_from_its_beginning(
    protocol: str, settings: Settings, environment: dict[str, str], start: Start
) -> None:
    send(settings, 60, "old")
    ingest, _relay = start("ingest", PROCESSOR_GROUP_PROTOCOL=protocol), start("relay")
    wait_settled(settings)
    admin = admin_of(settings)
    admin.delete_topics([settings.raw_topic])[settings.raw_topic].result()
    wait_until(lambda: make_topic(admin, settings.raw_topic), "the topic is back")
    send(settings, 100, "new")
    wait_until(lambda: rows(settings) == 160, f"all of the new topic is read; {rows(settings)} rows")
    wait_until(lambda: lag(settings) == 0, "lag 0")
    ingest.wait_said('"event": "topic_made_anew"')
    assert ingest.running
    assert command(environment, "verify").returncode == 0


def make_topic(admin: AdminClient, topic: str, **config: str) -> bool:
    try:
        admin.create_topics([NewTopic(topic, 4, 1, config=config)])[topic].result()
    except Exception:  # noqa: BLE001 - the old one is still being deleted
        time.sleep(0.1)
        return False
    return True


def test_offsets_of_an_earlier_topic_of_that_name_are_not_taken_for_this_ones(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    send(settings, 50)
    commit(settings, 30, Remembered("an-older-topics-id").text)
    ingest, _relay = start("ingest"), start("relay")
    wait_settled_rows(settings, 50)
    wait_settled(settings)
    ingest.wait_said("topic_made_anew")
    check_ledger(settings)
    assert ingest.stop() == 0
    again = start("ingest")  # what it committed is of this topic
    again.wait_said("assigned")
    send(settings, 1)
    wait_settled_rows(settings, 51)
    assert "topic_made_anew" not in again.said()


def test_a_topic_that_is_missing_is_told_and_ingest_is_not_ready_until_it_is_back(
    settings: Settings, start: Start
) -> None:
    send(settings, 5)
    port = metrics_port()
    ingest = start("ingest", PROCESSOR_METRICS_PORT=port)
    wait_settled_rows(settings, 5)
    assert is_ready(port)
    admin = admin_of(settings)
    admin.delete_topics([settings.raw_topic])[settings.raw_topic].result()
    ingest.wait_said("topic_missing", 20)
    assert metric(port, 'processor_outage{where="raw_topic"}') == 1
    assert not is_ready(port)
    wait_until(lambda: make_topic(admin, settings.raw_topic), "the topic is back")
    ingest.wait_said("topic_back", 20)
    assert is_ready(port)
    send(settings, 3, "new")
    wait_until(lambda: len(rows_of(settings)) == 8, "the new topic is read")


def test_aborted_records_and_markers_at_the_end_are_no_lag(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "transactional.id": settings.raw_topic})
    producer.init_transactions()
    for end in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        for _ in range(10):
            producer.produce(settings.raw_topic, json.dumps(report()).encode(), b"run-1", partition=0)
        producer.flush()
        end()
    ingest = start("ingest")
    wait_settled_rows(settings, 10)
    assert status(environment)["lag_total"] == 0
    assert "has yet to read" not in command(environment, "verify").stderr
    assert ingest.stop() == 0
    producer.begin_transaction()
    producer.produce(settings.raw_topic, b"never seen", b"run-1", partition=0)
    producer.flush()
    producer.abort_transaction()
    assert lag(settings) == 2
    start("ingest")  # and where nothing but such records comes
    wait_settled_rows(settings, 10)


def set_policy(settings: Settings, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, settings.raw_topic, incremental_configs=[entry])
    admin = admin_of(settings)
    admin.incremental_alter_configs([resource])[resource].result(10)


def test_a_compacted_topic_is_warned_of(settings: Settings, environment: dict[str, str], start: Start) -> None:
    set_policy(settings, "compact,delete")
    start("ingest").wait_said("topic_compacted")
    assert "is compacted" in status(environment)["warnings"][0]
    for asked in ("verify", "replay --to-earliest", "replay --window .. --dry-run"):
        assert "is compacted" in run_command(environment, *asked.split()).stderr, asked


def test_what_compaction_took_is_no_difference(
    settings: Settings, environment: dict[str, str], start: Start, database_url: str
) -> None:
    """A row has had reports that the topic no longer holds."""
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(50, seed=95))
    start("ingest"), start("relay")
    wait_settled(settings)
    check_ledger(settings)
    execute(database_url, "update cerebros_model_trials set revision = revision + 1")
    assert run_command(environment, "verify").returncode == 1
    set_policy(settings, "compact")
    verified = run_command(environment, "verify", "-f", "json")
    assert (verified.returncode, json.loads(verified.stdout)["revisions_compared"]) == (0, False)
    assert "is compacted" in " ".join(json.loads(verified.stdout)["notes"])


def test_a_batch_that_the_client_refuses_is_told_with_what_to_do_and_skipped_by_a_replay(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    """110 MB in 3 KB: librdkafka unpacks no more than receive.message.max.bytes, and tries again for ever."""
    options = {"compression.type": "zstd", "message.max.bytes": 200_000_000, "queue.buffering.max.kbytes": 1_000_000}
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, **options})
    good = [json.dumps(report()).encode() for _ in range(2)]
    for value in (good[0], b" " * 110_000_000, good[1]):
        producer.produce(settings.raw_topic, value, b"run-1", partition=0)
        assert producer.flush(patient(30)) == 0
    port = metrics_port()
    ingest = start("ingest", PROCESSOR_METRICS_PORT=port)
    ingest.wait_said("batch_refused")
    wait_until(lambda: rows(settings) == 1, "what lies before it is written")
    time.sleep(1)
    assert ingest.log.read_text().count('"event": "batch_refused"') == 1
    assert "--partition 0 --to-offset 2 --execute" in ingest.said()
    assert metric(port, 'processor_outage{where="kafka_fetch"}') == 1
    assert not is_ready(port)
    window = command(environment, "replay", "--window", "..")
    assert window.returncode == 1
    assert "can't unpack the batch at offset 1 of partition 0" in window.stderr
    assert ingest.stop() == 0
    done = run_command(environment, "replay", "--partition", "0", "--to-offset", "2", "--execute")
    assert done.returncode == 0, done.stderr
    ingest = start("ingest", PROCESSOR_METRICS_PORT=port)
    wait_settled_rows(settings, 2)
    assert is_ready(port)


def test_a_larger_limit_reads_the_batch_that_was_refused(settings: Settings, start: Start) -> None:
    options = {"compression.type": "zstd", "message.max.bytes": 200_000_000, "queue.buffering.max.kbytes": 1_000_000}
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, **options})
    producer.produce(settings.raw_topic, b" " * 20_000_000, b"run-1", partition=0)
    assert producer.flush(patient(30)) == 0
    small = {"PROCESSOR_KAFKA_OPTIONS": '{"receive.message.max.bytes": 5000000}'}
    ingest, _relay = start("ingest", **small), start("relay")
    ingest.wait_said("batch_refused")
    assert ingest.stop() == 0
    start("ingest")
    wait_until(lambda: lag(settings) == 0, "the batch is read")
