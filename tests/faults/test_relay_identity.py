"""Who publishes an outbox is written beside it: whatever a relay is called next, each event is published once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from processor.core.messages import Event, Identity
from processor.core.settings import Settings
from processor.kafka.topics import create_topics, read_topic
from processor.store.outbox import Outbox, seal_packets
from processor.store.session import Session
from tests.factories import load, produce
from tests.support.ledger import check_ledger
from tests.support.processes import Process
from tests.support.relays import wake_the_fenced
from tests.support.settle import wait_settled

Start = Callable[..., Process]

EVENTS = 50
CHANGES = {
    "GROUP_ID": "another-group",
    "RELAY_ID": "another-relay",
    "EVENTS_TOPIC": "another.events",
    "DEAD_LETTER_TOPIC": "another.dlq",
}


def put(store: Session, numbers: Iterable[int]) -> None:
    events = [Event("r", f"t{number}", 1, "ml.trial.complete", 0, b"%d" % number) for number in numbers]
    for packets in seal_packets(events):
        store.execute("insert_outbox", *packets)


def own(settings: Settings, name: str) -> str:
    return f"{settings.group_id}-{CHANGES[name]}"


def published(settings: Settings, *further_topics: str) -> Counter[bytes | None]:
    topics = (settings.events_topic, *further_topics)
    return Counter(one.value for topic in topics for one in read_topic(settings, topic))


@pytest.mark.parametrize("name", CHANGES)
def test_a_relay_that_was_killed_before_the_delete_and_comes_back_by_another_name_doubles_nothing(
    name: str, settings: Settings, store: Session, start: Start
) -> None:
    put(store, range(EVENTS))
    first = start("relay", PROCESSOR_TEST_HALT_AT="relay.after_kafka_commit")
    first.wait_halted("relay.after_kafka_commit")
    first.kill()
    further = [own(settings, name)] if name.endswith("TOPIC") else []
    create_topics(settings, further, partitions=4, replication=1)
    second = start("relay", **{f"PROCESSOR_{name}": own(settings, name)})
    second.wait_said("leading")
    put(store, range(EVENTS, 2 * EVENTS))
    wait_settled(settings)
    assert published(settings, *further) == Counter({b"%d" % number: 1 for number in range(2 * EVENTS)})


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("point", ["relay.after_former", "relay.after_identity", "relay.after_claim"])
def test_a_relay_that_is_killed_while_it_takes_over_from_another_name_doubles_nothing(
    point: str, back: bool, settings: Settings, store: Session, start: Start
) -> None:
    """Its successor has the first name again, or a third one."""
    put(store, range(EVENTS))
    first = start("relay", PROCESSOR_TEST_HALT_AT="relay.after_kafka_commit")
    first.wait_halted("relay.after_kafka_commit")
    first.kill()
    put(store, range(EVENTS, 2 * EVENTS))
    second = start("relay", PROCESSOR_GROUP_ID=f"{settings.group_id}-2", PROCESSOR_TEST_HALT_AT=point)
    second.wait_halted(point)
    second.kill()
    start("relay", **({} if back else {"PROCESSOR_GROUP_ID": f"{settings.group_id}-3"}))
    wait_settled(settings)
    assert published(settings) == Counter({b"%d" % number: 1 for number in range(2 * EVENTS)})


def test_in_a_rolling_change_of_its_name_the_old_relay_is_fenced_and_doubles_nothing(
    settings: Settings, start: Start, terminate_sessions: Callable[[str], None]
) -> None:
    """The old one loses its session with a transaction half produced, the new one leads, the old one wakes up."""
    name = f"{settings.group_id}-new"
    old, new = wake_the_fenced(settings, start, terminate_sessions, seed=15, PROCESSOR_GROUP_ID=name)
    wait_settled(settings)
    assert old.running
    new.kill()  # and back: the old one, which stands by, leads under its own name again
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(100, seed=16))
    wait_settled(settings)
    check_ledger(settings)


def test_what_was_published_and_who_publishes_now_are_written_together(database_url: str) -> None:
    with Session(database_url) as store:
        outbox = Outbox(store)
        assert outbox.try_lead()
        assert outbox.identity() is None
        put(store, range(3))
        [packet] = outbox.claim(10, 2**20)
        first, second = Identity("a", "events", "dlq"), Identity("b", "events", "dlq")
        assert outbox.settle([packet.id], first) == 1
        assert outbox.settle([packet.id], second) == 0
        assert (outbox.identity(), outbox.claim(10, 2**20)) == (second, [])
