"""What Kafka remembers of the packets that were published, also while a topic is gone."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from processor.core.errors import SetupError, TransientError
from processor.core.messages import Destination
from tests.unit.kafka.fakes import EVENTS, LETTERS, Broker, event, letter, make

GONE = [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION]


@pytest.fixture
def broker() -> Broker:
    return Broker()


def test_taking_over_fences_the_others_before_it_asks_what_they_published(broker: Broker) -> None:
    make(broker).outlet.publish([event("a")], ["id-1", "id-2"])
    broker.calls.clear()
    assert make(broker).outlet.take_over() == ["id-1", "id-2"]
    assert broker.calls == ["init_transactions", "committed"]


def test_the_first_relay_of_all_finds_no_memory(broker: Broker) -> None:
    assert make(broker).outlet.take_over() == []


def test_only_the_last_transaction_is_remembered(broker: Broker) -> None:
    outlet = make(broker).outlet
    outlet.publish([event("a")], ["id-1"])
    outlet.publish([event("b")], ["id-2"])
    assert make(broker).outlet.take_over() == ["id-2"]


def test_the_memory_lies_on_the_other_topic_while_that_of_the_events_is_gone(broker: Broker) -> None:
    outlet = make(broker).outlet
    outlet.publish([event("a")], ["id-1"])
    broker.topics = {LETTERS}
    outlet.look_for_topics()
    outlet.publish([letter(1)], ["id-2"])
    assert broker.remembered == {(EVENTS, 0): (0, '["id-1"]'), (LETTERS, 0): (0, '["id-2"]')}
    assert sorted(make(broker).outlet.take_over()) == ["id-1", "id-2"]


def test_the_memory_comes_back_to_the_events_topic_with_it(broker: Broker) -> None:
    outlet = make(broker).outlet
    broker.topics = {LETTERS}
    outlet.look_for_topics()
    broker.topics = {LETTERS, EVENTS}
    outlet.look_for_topics()
    outlet.publish([letter(1)], ["id"])
    assert broker.remembered == {(EVENTS, 0): (0, '["id"]')}


@pytest.mark.parametrize("code", GONE)
@pytest.mark.parametrize("topic", [EVENTS, LETTERS])
def test_the_memory_of_a_topic_that_is_gone_is_ignored(broker: Broker, topic: str, code: int) -> None:
    other = EVENTS if topic == LETTERS else LETTERS
    broker.remembered = {(other, 0): (0, '["id"]')}
    broker.unwell = {topic: KafkaError(code)}
    assert make(broker).outlet.take_over() == ["id"]


@pytest.mark.parametrize("topic", [EVENTS, LETTERS])
def test_a_memory_that_can_not_be_read_is_an_outage_and_never_taken_for_none(broker: Broker, topic: str) -> None:
    broker.unwell = {topic: KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, "loading")}
    with pytest.raises(TransientError, match="loading"):
        make(broker).outlet.take_over()


@pytest.mark.parametrize("call", ["init_transactions", "committed"])
def test_taking_over_in_an_outage_fails_as_one(broker: Broker, call: str) -> None:
    broker.fail(call, [KafkaError(KafkaError._FENCED, "another took over", fatal=True)])
    with pytest.raises(TransientError, match="another took over"):
        make(broker).outlet.take_over()


@pytest.mark.parametrize("call", ["init_transactions", "committed"])
def test_a_person_has_to_act_where_taking_over_is_denied(broker: Broker, call: str) -> None:
    broker.fail(call, [KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "no")])
    with pytest.raises(SetupError, match="consumer group"):
        make(broker).outlet.take_over()


@pytest.mark.parametrize("code", [None, *GONE])
@pytest.mark.parametrize("gone", list(Destination))
def test_what_goes_to_a_topic_that_is_gone_is_refused_until_it_is_back(
    broker: Broker, gone: Destination, code: int | None
) -> None:
    """Brokers leave it out of what they list, or name it with an error."""
    topic, message = (EVENTS, event("a")) if gone is Destination.EVENTS else (LETTERS, letter(1))
    outlet = make(broker).outlet
    broker.topics.discard(topic)
    broker.unwell = {} if code is None else {topic: KafkaError(code)}
    outlet.look_for_topics()
    assert [one for one in Destination if outlet.is_gone(one)] == [gone]
    assert outlet.refuses(message) == f"the topic {topic} is gone"
    assert not outlet.takes_all_of(1)
    broker.topics.add(topic)
    broker.unwell = {}
    outlet.look_for_topics()
    assert (outlet.is_gone(gone), outlet.refuses(message)) == (False, None)


def test_a_topic_whose_leader_is_away_is_not_gone(broker: Broker) -> None:
    broker.unwell = {EVENTS: KafkaError(KafkaError.LEADER_NOT_AVAILABLE)}
    outlet = make(broker).outlet
    outlet.look_for_topics()
    assert (outlet.is_gone(Destination.EVENTS), outlet.refuses(event("a"))) == (False, None)
