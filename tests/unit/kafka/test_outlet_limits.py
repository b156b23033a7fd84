"""Which messages the topics never take: known by their size, or found by trying them out."""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_left
from collections.abc import Callable

import msgspec
import pytest
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from processor.core.errors import TransientError
from processor.core.messages import Destination, Event, Headers, OutboxMessage, Outgoing
from processor.kafka import hanging
from processor.kafka.outlet import RECORD_OVERHEAD, Outlet
from processor.kafka.producer import DEFAULT_MESSAGE_BYTES, producer_properties
from processor.store.outbox import PACKET_BYTES
from tests.unit.kafka.fakes import EVENTS, Broker, event, letter, make

NAMES = st.integers(1, 300).map(lambda size: "\u20ac" * size)
VALUES = st.integers(0, 2000).map(lambda size: b"x" * size)
HEADERS = st.lists(st.tuples(NAMES, st.none() | VALUES), max_size=5).map(tuple)
MESSAGES: st.SearchStrategy[Outgoing] = st.one_of(
    st.builds(Event, NAMES, NAMES, st.integers(1, 10), st.sampled_from(["ml.trial.complete"]), st.just(0), VALUES),
    st.builds(OutboxMessage, st.just(Destination.DEAD_LETTERS), NAMES, st.none() | VALUES, st.none() | VALUES, HEADERS),
)


def least(is_enough: Callable[[Outlet], bool]) -> int:
    """The least limit of both topics that is enough."""
    limits = range(100_000)
    return bisect_left(limits, True, key=lambda limit: is_enough(make(Broker(), events=limit, letters=limit).outlet))


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_of_a_packet_that_is_small_enough_no_message_is_refused(messages: list[Outgoing]) -> None:
    limit = least(lambda outlet: outlet.takes_all_of(len(msgspec.msgpack.encode(messages))))
    outlet = make(Broker(), events=limit, letters=limit).outlet
    assert [outlet.refuses(message) for message in messages] == [None] * len(messages)


def test_packets_need_no_look_where_topics_take_what_they_take_by_default() -> None:
    outlet = make(Broker(), events=DEFAULT_MESSAGE_BYTES, letters=DEFAULT_MESSAGE_BYTES).outlet
    assert outlet.takes_all_of(PACKET_BYTES)
    assert not outlet.takes_all_of(DEFAULT_MESSAGE_BYTES)


@pytest.mark.parametrize("destination", list(Destination))
def test_the_topic_that_takes_least_decides_whether_a_packet_needs_a_look(destination: Destination) -> None:
    events, letters = (700, 10_000) if destination is Destination.EVENTS else (10_000, 700)
    assert not make(Broker(), events=events, letters=letters).outlet.takes_all_of(1000)
    assert make(Broker(), events=10_000, letters=10_000).outlet.takes_all_of(1000)


def test_a_message_is_measured_with_its_key_and_its_headers_and_what_it_costs_beside_them() -> None:
    def size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
        message = OutboxMessage(Destination.DEAD_LETTERS, "id", key, value, headers)
        return least(lambda outlet: outlet.refuses(message) is None)

    empty = size_of(None, None, ())
    assert empty == RECORD_OVERHEAD
    assert size_of(b"x" * 50, None, ()) == empty + 50
    assert size_of(None, b"x" * 50, ()) == empty + 50
    assert size_of(None, None, (("x" * 20, b"x" * 30),)) >= empty + 50


def test_a_refusal_says_the_size_and_what_the_topic_took() -> None:
    why = make(Broker(), letters=1000).outlet.refuses(letter(1, b"x" * 5000))
    assert why is not None
    assert re.fullmatch(r"5\d\d\d bytes, the topic the.letters takes 1000 \(max.message.bytes\)", why)


def test_an_outlet_knows_when_its_topics_take_other_sizes_or_are_back() -> None:
    broker = Broker()
    outlet = make(broker, events=1000, letters=1000).outlet
    assert not outlet.has_changed()
    broker.limits = {Destination.EVENTS: 5000, Destination.DEAD_LETTERS: 1000}
    assert outlet.has_changed()
    broker.limits = {}
    broker.topics.remove(EVENTS)
    assert not outlet.has_changed()
    assert outlet.is_gone(Destination.EVENTS)  # it knows by now, and refuses what would go there
    broker.topics.add(EVENTS)
    assert outlet.has_changed()


def test_each_topic_has_a_limit_of_its_own() -> None:
    outlet = make(Broker(), events=500, letters=5000).outlet
    assert outlet.refuses(event("a", b"x" * 1000)) is not None
    assert outlet.refuses(letter(1, b"x" * 1000)) is None


@given(st.integers(0, 20), st.sets(st.integers(0, 19)))
def test_trying_out_finds_exactly_what_is_refused_and_publishes_nothing(number: int, refused: set[int]) -> None:
    broker = Broker()
    names = {b"%d" % place for place in refused}
    broker.refuses = lambda sent: KafkaError(KafkaError.INVALID_RECORD, "why") if sent.value in names else None
    found = make(broker).outlet.try_out([letter(place, b"%d" % place) for place in range(number)])
    assert found == {place: "why" for place in refused if place < number}
    assert (broker.committed, broker.remembered) == ([], {})
    assert broker.calls.count("abort_transaction") == broker.calls.count("begin_transaction")


def test_trying_out_asks_the_broker_few_times() -> None:
    broker = Broker()
    broker.refuses = lambda sent: KafkaError(KafkaError.INVALID_RECORD) if sent.value == b"77" else None
    assert list(make(broker).outlet.try_out([letter(place, b"%d" % place) for place in range(128)])) == [77]
    assert broker.calls.count("begin_transaction") == 1 + 2 * 7


def test_what_is_refused_only_together_is_not_found() -> None:
    """A batch too large: each alone is taken."""
    broker = Broker()
    sent_at: list[int] = []

    def refuses(_: object) -> KafkaError | None:
        begun = broker.calls.count("begin_transaction")
        sent_at.append(begun)
        return KafkaError(KafkaError.RECORD_LIST_TOO_LARGE) if sent_at.count(begun) > 1 else None

    broker.refuses = refuses
    assert make(broker).outlet.try_out([event(f"t{number}") for number in range(8)]) == {}
    assert broker.calls.count("begin_transaction") == 15


def test_what_fails_for_now_while_trying_out_is_not_found_to_be_refused() -> None:
    broker = Broker()
    broker.refuses = lambda _: KafkaError(KafkaError._MSG_TIMED_OUT)
    with contextlib.suppress(TransientError):
        assert make(broker).outlet.try_out([event("a")]) == {}


@pytest.mark.parametrize("call", ["begin_transaction", "produce", "abort_transaction"])
def test_an_outage_while_trying_out_is_told_after_the_transaction_is_aborted(call: str) -> None:
    broker = Broker()
    broker.fail(call, [KafkaError(KafkaError._STATE, "broken")])
    with pytest.raises(TransientError, match="broken"):
        make(broker).outlet.try_out([event("a")])
    assert broker.calls[-1] == ("begin_transaction" if call == "begin_transaction" else "abort_transaction")


def test_trying_out_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hanging, "HANG_SECONDS", 0.05)
    broker = Broker()
    broker.hangs_in = "abort_transaction"
    with pytest.raises(TransientError, match="hangs"):
        make(broker).outlet.try_out([event("a")])
    broker.free.set()


def test_a_batch_fits_the_topic_that_takes_least_and_a_message_the_one_that_takes_most() -> None:
    properties = producer_properties("id", [5_000, 2_000_000], one_by_one=False)
    assert properties["batch.size"] <= 5_000
    assert properties["message.max.bytes"] >= 2_000_000
    assert producer_properties("id", [5_000], one_by_one=True)["batch.num.messages"] == 1
