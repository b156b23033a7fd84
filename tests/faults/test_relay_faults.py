"""What can go wrong between the outbox and its topics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import asyncpg
from confluent_kafka.admin import AdminClient

from processor.core.messages import Event
from processor.core.settings import Settings
from processor.kafka.topics import create_topics, read_topic
from processor.store.migrations import migrate
from processor.store.outbox import Outbox, seal_packets
from processor.store.queries import load_queries
from processor.store.session import Session
from tests.conftest import execute
from tests.factories import load, produce, report
from tests.support.ledger import check_ledger
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import parked, wait_settled

Start = Callable[..., Process]


def event(number: int) -> Event:
    return Event("r", f"t{number}", 1, "ml.trial.complete", 0, b"%d" % number)


def test_a_packet_whose_transaction_commits_late_is_published_although_later_ones_are_gone(
    settings: Settings, start: Start, store: Session, database_url: str
) -> None:
    """Its sequence number is below that of all that was published before it could be seen."""

    async def insert(connection: asyncpg.Connection, number: int) -> None:
        [packets] = seal_packets([event(number)])
        await connection.execute(load_queries()["insert_outbox"], *packets)

    start("relay").wait_said("leading")
    with Session(database_url) as late:
        late.run(lambda connection: connection.execute("begin"))
        late.run(lambda connection: insert(connection, 1))
        for number in (2, 3):
            store.run(lambda connection, number=number: insert(connection, number))  # type: ignore[misc]
        wait_until(lambda: values(settings) == [b"2", b"3"], "the later ones are published")
        late.run(lambda connection: connection.execute("commit"))
    wait_until(lambda: values(settings) == [b"2", b"3", b"1"], "and then the late one")


def values(settings: Settings) -> list[bytes | None]:
    return [one.value for one in read_topic(settings, settings.events_topic)]


def test_an_events_topic_that_is_gone_blocks_neither_dead_letters_nor_its_own_return(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    relay = start("relay")
    relay.wait_said("leading")
    admin.delete_topics([settings.events_topic])[settings.events_topic].result()
    wait_until(lambda: settings.events_topic not in admin.list_topics(timeout=5).topics, "the topic is gone")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", b"not json")])
    good = [json.dumps(report(run_id="r", trial_id=f"t{number}")).encode() for number in range(30)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", value) for value in good])
    start("ingest")
    wait_until(lambda: parked(settings) == 30, "the events are parked", 60)
    wait_until(lambda: len(list(read_topic(settings, settings.dead_letter_topic))) == 1, "the dead letter is out", 30)
    assert relay.running
    relay.stop()
    wait_until(lambda: bool(create_topics(settings, settings.topics, partitions=4, replication=1)), "the topic is back")
    start("relay").wait_said("leading")
    assert run_command(environment, "parked", "publish").stdout.startswith("30 messages")
    wait_settled(settings)
    check_ledger(settings)


def test_unparked_events_go_before_later_ones_of_their_trials_that_wait(settings: Settings, store: Session) -> None:
    """The later one is in the outbox already when the earlier one is put back."""
    outbox = Outbox(store)

    async def prepare(connection: asyncpg.Connection) -> None:
        queries = load_queries()
        for number in (1, 2):
            [(_, _, [packet])] = seal_packets([event(number)])
            message = packet[1:]  # behind the head of a list of one
            await connection.execute(queries["park_message"], message, f"r/t#{number}", "events", "too large")
        [packets] = seal_packets([event(3)])
        await connection.execute(queries["insert_outbox"], *packets)

    store.run(prepare)
    assert outbox.unpark() == 2
    outbox._session = store.connections
    waiting = [message.value for packet in outbox.claim(100, 2**20) for message in packet.messages]
    assert waiting == [b"1", b"2", b"3"]
    assert outbox.unpark() == 0


def test_a_kafka_transaction_that_hangs_is_given_up_and_published_once(settings: Settings, start: Start) -> None:
    """The coordinator stands still in the middle of the load for longer than a transaction may take."""
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(600, seed=81))
    start("ingest")
    relay = start("relay", PROCESSOR_TEST_HALT_AT="relay.after_produce")
    relay.wait_halted("relay.after_produce")
    relay.wait_said("a transaction hangs", 40)
    relay.resume()  # the abandoned producer goes on, and is fenced
    wait_settled(settings, 90)
    check_ledger(settings)


def test_two_schemas_of_one_database_each_have_a_relay_that_leads_and_hears_of_its_own(
    empty_database_url: str, environment: dict[str, str], settings: Settings, start: Start
) -> None:
    execute(empty_database_url, "create schema one", "create schema two")
    urls = {name: f"{empty_database_url}?options=-csearch_path%3D{name}" for name in ("one", "two")}
    outboxes = {}
    for name, url in urls.items():
        assert run_command({"PROCESSOR_DATABASE_URL": url}, "migrate").returncode == 0
        start("relay", PROCESSOR_DATABASE_URL=url, PROCESSOR_RELAY_ID=f"{settings.group_id}-{name}").wait_said(
            "leading"
        )
        outboxes[name] = Outbox(Session(url))
    assert [outbox.try_lead() for outbox in outboxes.values()] == [False, False]
    for number, url in enumerate(urls.values()):
        with Session(url) as store:
            [packets] = seal_packets([event(number)])
            store.run(lambda connection, packets=packets: connection.execute(load_queries()["insert_outbox"], *packets))  # type: ignore[misc]
    wait_until(lambda: set(values(settings)) == {b"0", b"1"}, "both are published", 10)


def test_news_of_one_outbox_wake_no_other(empty_database_url: str) -> None:
    execute(empty_database_url, "create schema one", "create schema two")
    with (
        Session(f"{empty_database_url}?options=-csearch_path%3Done") as one,
        Session(f"{empty_database_url}?options=-csearch_path%3Dtwo") as two,
    ):
        migrate(one), migrate(two)
        first, second = Outbox(one), Outbox(two)
        assert first.try_lead()
        assert second.try_lead()
        [packets] = seal_packets([event(1)])
        one.run(lambda connection: connection.execute(load_queries()["insert_outbox"], *packets))
        began = time.monotonic()
        first.wait(5)
        assert time.monotonic() - began < 4
        began = time.monotonic()
        second.wait(0.5)
        assert time.monotonic() - began > 0.4
