"""What can go wrong between the outbox and its topics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import asyncpg
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from processor.core.errors import TransientError
from processor.core.messages import Event, Identity
from processor.core.settings import Settings
from processor.kafka.topics import create_topics, read_topic
from processor.store import outbox as outbox_module
from processor.store.migrations import migrate
from processor.store.outbox import Outbox, seal_packets
from processor.store.queries import load_queries
from processor.store.session import Session
from tests.conftest import execute
from tests.factories import load, produce, report
from tests.support.ledger import check_ledger, events_of
from tests.support.patience import patient
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import outbox_messages, parked, wait_settled

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
    wait_until(lambda: bool(create_topics(settings, settings.topics, partitions=4, replication=1)), "the topic is back")
    assert relay.running
    assert run_command(environment, "parked", "publish").stdout.startswith("30 messages")
    wait_settled(settings)
    check_ledger(settings)


def lead(store: Session) -> Outbox:
    outbox = Outbox(store)
    assert outbox.try_lead()
    return outbox


def revision(number: int, trial: str = "t") -> Event:
    return Event("r", trial, number, "ml.trial.complete", 0, b"%d" % number)


def put(store: Session, *events: Event) -> None:
    for packets in seal_packets(events):
        store.execute("insert_outbox", *packets)


def park(outbox: Outbox, store: Session, *events: Event) -> None:
    """Through the outbox, as the relay does it."""
    put(store, *events)
    [packet] = [one for one in outbox.claim(10_000, 2**30) if one.messages == list(events)]
    outbox.rewrite(packet.id, [], [(one, "too large") for one in events])


def waiting(outbox: Outbox) -> list[str]:
    return [message.id for packet in outbox.claim(10_000, 2**30) for message in packet.messages]


def test_events_that_are_wanted_go_before_later_ones_of_their_trials_that_wait(store: Session) -> None:
    """In order of revision, whatever the order in which they were parked; what nobody asked for stays."""
    outbox = lead(store)
    park(outbox, store, revision(2), revision(1, "u"))
    park(outbox, store, revision(1))
    put(store, revision(3))
    assert outbox.restore() == 0
    assert outbox.want_parked() == 3
    park(outbox, store, revision(7, "later"))
    assert outbox.first_parked([("r", "t"), ("r", "u"), ("r", "v")]) == {("r", "t"): 1, ("r", "u"): 1}
    assert outbox.restore() == 3
    found = waiting(outbox)
    assert (sorted(found[:3]), found[3:]) == (["r/t#1", "r/t#2", "r/u#1"], ["r/t#3"])
    assert found.index("r/t#1") < found.index("r/t#2")
    assert [row["name"] for row in outbox.parked()] == ["r/later#7"]


def test_trials_that_share_a_name_do_not_share_what_is_parked(store: Session) -> None:
    """Whatever the length of their ids: the first bytes of an event tell it too."""
    outbox = lead(store)
    long = "x" * 300
    trials = [("team/a", "b"), ("team", "a/b"), ("team/a/b", ""), (f"{long}/я", "b"), (long, "я/b")]
    for number in (0, 3):
        park(outbox, store, Event(*trials[number], number + 1, "ml.trial.complete", 0, b"x"))
    assert outbox.first_parked(trials) == {trials[0]: 1, trials[3]: 4}


def test_many_wanted_events_come_back_in_parts_and_the_next_part_when_the_last_has_left(
    store: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "RESTORED_MESSAGES", 4)
    outbox = lead(store)
    park(outbox, store, *(revision(number) for number in range(1, 11)))
    put(store, revision(11))
    assert outbox.want_parked() == outbox.want_parked() == 10
    published: list[str] = []
    while outbox.depth()["parked"]:
        number = outbox.restore()
        assert outbox.restore() == 0
        packets = outbox.claim(10_000, 2**30)[:number]
        published += [message.id for packet in packets for message in packet.messages]
        outbox.delete([packet.id for packet in packets])
    assert [*published, *waiting(outbox)] == [f"r/t#{number}" for number in range(1, 12)]


def test_a_relay_that_lost_the_lead_or_the_packet_neither_deletes_nor_parks(
    store: Session, terminate_sessions: Callable[[str], None], database_url: str
) -> None:
    with Session(database_url, application="cerebros-lost") as lost:
        outbox = lead(lost)
        put(store, revision(1), revision(2))
        [packet] = outbox.claim(10, 2**20)
        steps: list[Callable[[], object]] = [
            lambda: outbox.delete([packet.id]),
            lambda: outbox.rewrite(packet.id, [revision(2)], [(revision(1), "too large")]),
            lambda: outbox.rewrite(packet.id, [], [(revision(1), "too large")]),
            lambda: outbox.settle([packet.id], Identity("a", "b", "c")),
            outbox.restore,
        ]
        terminate_sessions("cerebros-lost")
        for step in (steps[0], *steps):  # the first is told of the lost connection, the others have a new one
            with pytest.raises(TransientError):
                step()
        assert outbox.try_lead()
        assert (waiting(outbox), outbox.parked(), outbox.identity()) == (["r/t#1", "r/t#2"], [], None)
        store.execute("delete_packets", [packet.id])
        for step in steps[:3]:
            with pytest.raises(TransientError, match="packets of the outbox are gone"):
                step()
        assert outbox.parked() == []


BIG = 50_000


def send_revision(settings: Settings, number: int, *, big: bool = False, trial: str = "t") -> None:
    metrics = {"accuracy": number / 100, "blob": "x" * (BIG if big else 1)}
    value = json.dumps(report(run_id="r", trial_id=trial, metrics=metrics)).encode()
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", value)])


def set_max_bytes(settings: Settings, number: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(number), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, settings.events_topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result()


def revisions_of(settings: Settings, trial: str = "t") -> list[int]:
    return [one.revision for one in events_of(settings)[0].get(("r", trial), [])]


@pytest.fixture
def parked_trial(settings: Settings, start: Start) -> None:
    """Revision 1 of a trial was too large, 2 is parked behind it; now the topic would take both."""
    set_max_bytes(settings, 20_000)
    ingest, relay = start("ingest"), start("relay")
    send_revision(settings, 1, big=True)
    wait_until(lambda: parked(settings) == 1, "the big event is parked")
    send_revision(settings, 2)
    wait_until(lambda: parked(settings) == 2, "the next one is parked behind it")
    set_max_bytes(settings, 1_000_000)
    assert (relay.stop(), ingest.stop()) == (0, 0)


@pytest.mark.parametrize("asked", [True, False], ids=["parked publish", "without anything parked"])
def test_a_limit_that_was_raised_is_known_to_a_relay_that_runs(
    asked: bool, settings: Settings, environment: dict[str, str], start: Start
) -> None:
    set_max_bytes(settings, 20_000)
    start("ingest")
    start("relay").wait_said("leading")
    if asked:
        send_revision(settings, 1, big=True)
        wait_until(lambda: parked(settings) == 1, "the big event is parked")
    set_max_bytes(settings, 1_000_000)
    if asked:
        assert run_command(environment, "parked", "publish").stdout.startswith("1 messages")
        send_revision(settings, 2)
    else:
        send_revision(settings, 1, big=True)
    wait_until(lambda: revisions_of(settings) == ([1, 2] if asked else [1]), "it is published", 30)
    wait_settled(settings)
    assert parked(settings) == 0
    check_ledger(settings)


@pytest.mark.usefixtures("parked_trial")
def test_what_is_unparked_while_the_relay_holds_a_later_event_in_hand_is_published_before_it(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    start("ingest")
    relay = start("relay", PROCESSOR_TEST_HALT_AT="relay.after_claim")
    send_revision(settings, 3)
    relay.wait_halted("relay.after_claim")
    assert run_command(environment, "parked", "publish").stdout.startswith("2 messages")
    relay.resume()

    def all_published() -> bool:
        run_command(environment, "parked", "publish")
        return len(revisions_of(settings)) == 3

    wait_until(all_published, "all are published", 60)
    assert revisions_of(settings) == [1, 2, 3]
    wait_settled(settings)
    check_ledger(settings)


@pytest.mark.usefixtures("parked_trial")
@pytest.mark.parametrize(
    "point", ["relay.after_restore", "relay.after_claim", "relay.after_produce", "relay.after_kafka_commit"]
)
def test_a_relay_that_is_killed_while_it_publishes_what_was_parked_keeps_the_order(
    point: str, settings: Settings, environment: dict[str, str], start: Start
) -> None:
    """Later events of the trial wait meanwhile."""
    start("ingest")
    for number in (3, 4):
        send_revision(settings, number)
    wait_until(lambda: outbox_messages(settings) == 2, "later events wait")
    assert run_command(environment, "parked", "publish").returncode == 0
    relay = start("relay", PROCESSOR_TEST_HALT_AT=point)
    relay.wait_halted(point)
    relay.kill()
    assert run_command(environment, "parked", "publish").returncode == 0
    start("relay")
    wait_until(lambda: len(revisions_of(settings)) == 4, "all are published", 60)
    assert revisions_of(settings) == [1, 2, 3, 4]
    wait_settled(settings)
    check_ledger(settings)


def test_a_kafka_transaction_that_hangs_is_given_up_and_published_once(settings: Settings, start: Start) -> None:
    """The coordinator stands still in the middle of the load for longer than a transaction may take."""
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(600, seed=81, life=0.3))
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
        first.wait(patient(5))
        assert time.monotonic() - began < patient(4)
        began = time.monotonic()
        second.wait(0.5)
        assert time.monotonic() - began > 0.4
