"""Records that a client of another language sends, and of which Python's client cannot read every part."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import confluent_kafka
import pytest
from confluent_kafka import Consumer, TopicPartition

from processor.core.messages import Headers
from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from processor.store.session import Session
from tests.factories import report
from tests.integration.test_verify import verified
from tests.integration.test_window import replayed
from tests.support.c_producer import produce_raw
from tests.support.ledger import check_ledger
from tests.support.metrics import metric, metrics_port
from tests.support.patience import patient
from tests.support.processes import Process
from tests.support.settle import wait_settled

Start = Callable[..., Process]
LATIN = [(b"trace\xe9", b"1"), (b"run_id", b"run-of-the-header")]


def send(settings: Settings, value: bytes, headers: Sequence[tuple[bytes, bytes | None]]) -> None:
    produce_raw(settings.kafka_bootstrap_servers, settings.raw_topic, value, headers, key=b"run-1")


def test_a_header_name_that_is_not_utf8_stops_nothing_and_is_told(
    settings: Settings, environment: dict[str, str], start: Start, store: Session
) -> None:
    good = [json.dumps(report()).encode() for _ in range(4)]
    for value, headers in ((good[0], []), (good[1], LATIN), (b"not json", LATIN), (good[2], LATIN * 50), (good[3], [])):
        send(settings, value, headers)
    port = metrics_port()
    ingest, _relay = start("ingest", PROCESSOR_METRICS_PORT=port), start("relay")
    wait_settled(settings)
    check_ledger(settings)
    assert metric(port, "processor_unreadable_headers_total") == 3
    assert '"event": "unreadable_headers"' in ingest.said()
    assert ingest.stop() == 0
    rows = store.run(lambda connection: connection.fetch("select detail from dead_letters"))
    (letter,) = read_topic(settings, settings.dead_letter_topic)
    published = (dict(letter.headers)["dead_letter_detail"] or b"").decode()
    assert [row["detail"] for row in rows] == [published]
    assert published.endswith("its headers are not kept: the name of one is not UTF-8")
    assert replayed(environment, "..")["records"] == 5
    assert verified(environment)["kinds"] == {}


@pytest.mark.parametrize("headers", [(("a", b"1"),), ()], ids=["with headers", "without"])
def test_it_is_the_same_for_a_process_that_has_read_many_records(settings: Settings, headers: Headers) -> None:
    """CPython does not check what a C method returned once it has specialised the call: the error would come later."""
    ordinary = confluent_kafka.Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for _ in range(500):
        ordinary.produce(settings.raw_topic, b"{}", partition=0, headers=list(headers))
    assert ordinary.flush(patient(20)) == 0
    for _ in range(20):
        send(settings, b"{}", LATIN)
    read = [one for one in read_topic(settings, settings.raw_topic) if one.partition == 0]
    assert [one.headers for one in read] == [headers] * 500 + [()] * 20
    assert [bool(one.unreadable) for one in read] == [False] * 500 + [True] * 20


def test_the_client_still_cannot_read_such_a_header(settings: Settings) -> None:
    """When this fails the client has been mended: then `kafka.records` may keep the other headers."""
    send(settings, b"{}", LATIN)
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "t"})
    consumer.assign([TopicPartition(settings.raw_topic, 0, 0)])
    message = consumer.poll(20)
    assert message is not None
    with pytest.raises(SystemError):
        message.headers()
    consumer.close()
