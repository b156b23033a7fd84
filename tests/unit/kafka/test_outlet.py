"""The outlet: one transaction holds the messages and the memory of them, or nothing of it can be seen."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.core.errors import SetupError, TransientError, Unpublishable
from processor.events.headers import cloud_event_headers
from processor.kafka import hanging
from processor.kafka import outlet as outlet_module
from tests.support.patience import patient
from tests.support.processes import wait_until
from tests.unit.kafka.fakes import EVENTS, LETTERS, Broker, Sent, event, letter, make

FOR_GOOD = [
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
]
PASSING = [
    KafkaError(KafkaError._MSG_TIMED_OUT, "timed out"),
    KafkaError(KafkaError.NOT_ENOUGH_REPLICAS, "too few"),
    KafkaError(KafkaError._FENCED, "another took over", fatal=True),
    KafkaError(KafkaError.INVALID_TXN_STATE, "which one", txn_requires_abort=True),
]
DENIED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no")


@pytest.fixture
def broker() -> Broker:
    return Broker()


def only(number: int, code: int) -> Any:
    """Of what is sent, the dead letter with this number is answered with the code."""
    return lambda sent: KafkaError(code, "words") if sent.value == b"%d" % number else None


def test_one_transaction_holds_all_messages_and_then_the_ids_of_their_packets(broker: Broker) -> None:
    first, second = event("a"), letter(1)
    make(broker).outlet.publish([first, second], ["id-1", "id-2"])
    assert broker.calls == [
        "begin_transaction",
        "produce",
        "produce",
        "flush",
        "send_offsets",
        "commit_transaction",
    ]
    assert broker.committed == [
        Sent(EVENTS, b"run", b"{}", cloud_event_headers(first, b"/the/source")),
        Sent(LETTERS, b"key", b"bad", [("reason", b"why")]),
    ]
    assert broker.remembered == {(EVENTS, 0): (0, '["id-1","id-2"]')}


@pytest.mark.parametrize("told_by", ["refuses", "knows"])
@pytest.mark.parametrize("code", FOR_GOOD)
def test_a_message_refused_for_good_ends_the_transaction_and_nothing_of_it_is_seen(
    broker: Broker, code: int, told_by: str
) -> None:
    setattr(broker, told_by, only(2, code))
    outlet = make(broker).outlet
    with pytest.raises(Unpublishable, match="words"):
        outlet.publish([letter(number, b"%d" % number) for number in (1, 2, 3)], ["id"])
    assert broker.calls == ["begin_transaction", *["produce"] * 3, "flush", "abort_transaction"]
    assert (broker.committed, broker.remembered) == ([], {})
    outlet.publish([letter(1)], ["id"])  # the producer is as good as new
    assert len(broker.committed) == 1


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.name())
@pytest.mark.parametrize("told_by", ["refuses", "knows"])
def test_a_delivery_that_failed_for_now_is_an_outage_and_nothing_is_committed(
    broker: Broker, told_by: str, error: KafkaError
) -> None:
    setattr(broker, told_by, lambda _: error)
    with pytest.raises(TransientError, match=error.str()):
        make(broker).outlet.publish([letter(1)], ["id"])
    assert not {"send_offsets", "commit_transaction"} & set(broker.calls)


@pytest.mark.parametrize("first", [1, 2])
def test_a_message_refused_for_good_is_told_although_others_failed_for_now(broker: Broker, first: int) -> None:
    codes = {b"%d" % first: KafkaError.INVALID_RECORD, b"%d" % (3 - first): KafkaError._MSG_TIMED_OUT}
    broker.refuses = lambda sent: KafkaError(codes[sent.value or b""], "words")
    with pytest.raises(Unpublishable):
        make(broker).outlet.publish([letter(1, b"1"), letter(2, b"2")], ["id"])


def test_a_refusal_is_only_told_once_nothing_can_become_visible_any_more(broker: Broker) -> None:
    """The abort failed: the transaction may still be open, so the producer is thrown away."""
    broker.refuses = only(1, KafkaError.MSG_SIZE_TOO_LARGE)
    broker.fail("abort_transaction", [KafkaError(KafkaError._TIMED_OUT, "abort timed out")])
    with pytest.raises(TransientError, match="abort timed out"):
        make(broker).outlet.publish([letter(1, b"1")], ["id"])
    assert broker.committed == []


def test_a_refusal_that_is_told_late_is_found_when_the_commit_fails(broker: Broker) -> None:
    outlet, producer, answers = make(broker)
    late = KafkaError(KafkaError.INVALID_RECORD, "told late")
    broker.fail("commit_transaction", [KafkaError(KafkaError._STATE, "failed", txn_requires_abort=True)])
    producer.send_offsets_to_transaction = lambda *_: answers.failures.append(late)  # type: ignore[method-assign]
    with pytest.raises(Unpublishable, match="told late"):
        outlet.publish([letter(1)], ["id"])
    assert broker.calls[-2:] == ["commit_transaction", "abort_transaction"]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.name())
@pytest.mark.parametrize("call", ["begin_transaction", "produce", "send_offsets", "commit_transaction"])
def test_any_other_failure_of_a_call_is_an_outage(broker: Broker, call: str, error: KafkaError) -> None:
    """Also where another relay took over: fatal for this producer, not for the process."""
    broker.fail(call, [error])
    with pytest.raises(TransientError, match=error.str()):
        make(broker).outlet.publish([letter(1)], ["id"])
    assert broker.calls[-1] == call
    assert (broker.committed, broker.remembered) == ([], {})


def test_what_is_not_delivered_in_time_is_an_outage(broker: Broker) -> None:
    broker.undelivered = 1
    with pytest.raises(TransientError, match="does not take the messages"):
        make(broker).outlet.publish([letter(1)], ["id"])
    assert broker.calls[-1] == "flush"


def test_the_failures_of_one_transaction_are_not_those_of_the_next(broker: Broker) -> None:
    outlet, _, answers = make(broker)
    answers.failures.append(KafkaError(KafkaError._PURGE_QUEUE, "of the one before"))
    outlet.publish([letter(1)], ["id"])
    assert len(broker.committed) == 1


@pytest.mark.parametrize("call", ["begin_transaction", "send_offsets", "commit_transaction"])
def test_a_person_has_to_act_where_the_broker_denies_a_call(broker: Broker, call: str) -> None:
    broker.fail(call, [DENIED])
    with pytest.raises(SetupError, match="may not use the topic"):
        make(broker).outlet.publish([letter(1)], ["id"])
    assert broker.committed == []


def test_a_person_has_to_act_where_the_broker_denies_a_delivery(broker: Broker) -> None:
    broker.refuses = lambda _: DENIED
    with pytest.raises(SetupError, match="may not use the topic"):
        make(broker).outlet.publish([letter(1)], ["id"])
    assert "commit_transaction" not in broker.calls


def test_what_the_client_was_told_beside_the_calls_explains_why_they_fail(broker: Broker) -> None:
    """librdkafka tells of a wrong password by an event, and lets the call time out."""
    outlet, _, answers = make(broker)
    answers.on_error(KafkaError(KafkaError._TRANSPORT, "passes by itself"))
    answers.on_error(KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "no"))
    answers.on_error(KafkaError(KafkaError._TRANSPORT, "passes by itself"))
    broker.fail("init_transactions", [KafkaError(KafkaError._TIMED_OUT, "timed out")])
    with pytest.raises(SetupError, match="transactional id"):
        outlet.take_over()


def test_what_passes_by_itself_explains_nothing(broker: Broker) -> None:
    outlet, _, answers = make(broker)
    answers.on_error(KafkaError(KafkaError._TRANSPORT, "passes by itself"))
    outlet.publish([letter(1)], ["id"])
    broker.fail("begin_transaction", [KafkaError(KafkaError._TIMED_OUT, "timed out")])
    with pytest.raises(TransientError, match="timed out"):
        outlet.publish([letter(1)], ["id"])


def test_a_full_queue_is_waited_out_and_no_message_is_left_out_or_doubled(broker: Broker) -> None:
    broker.full = 3
    make(broker).outlet.publish([letter(number, b"%d" % number) for number in (1, 2)], ["id"])
    assert broker.calls[1:8] == [*["produce", "poll"] * 3, "produce"]
    assert [sent.value for sent in broker.committed] == [b"1", b"2"]


def test_a_commit_is_tried_again_where_that_is_safe(broker: Broker) -> None:
    broker.fail("commit_transaction", [KafkaError(KafkaError._TIMED_OUT, "timed out", retriable=True)] * 2)
    make(broker).outlet.publish([letter(1)], ["id"])
    assert broker.calls[-4:] == ["send_offsets", *["commit_transaction"] * 3]
    assert len(broker.committed) == 1


def test_a_commit_that_never_succeeds_is_given_up(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "TRANSACTION_SECONDS", 0.05)
    broker.fail("commit_transaction", itertools.repeat(KafkaError(KafkaError._TIMED_OUT, "timed out", retriable=True)))
    with pytest.raises(TransientError, match="timed out"):
        make(broker).outlet.publish([letter(1)], ["id"])
    assert broker.calls.count("commit_transaction") > 1


@pytest.mark.parametrize("call", ["flush", "send_offsets", "commit_transaction"])
def test_a_call_that_hangs_is_given_up(broker: Broker, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(hanging, "HANG_SECONDS", 0.05)
    broker.hangs_in = call
    outlet = make(broker).outlet
    began = time.monotonic()
    with pytest.raises(TransientError, match="hangs"):
        outlet.publish([letter(1)], ["id"])
    assert time.monotonic() - began < patient(5)
    broker.free.set()
    wait_until(lambda: all(thread.name != "outlet" for thread in threading.enumerate()), "the thread ends", 10)


def test_a_defect_in_a_call_is_told_as_it_is(broker: Broker) -> None:
    outlet, producer, _ = make(broker)
    producer.flush = None  # type: ignore[method-assign, assignment]
    with pytest.raises(TypeError):
        outlet.publish([letter(1)], ["id"])


def fenced_in_a_callback(*_: Any) -> Any:
    """What Python raises where the client set an exception and then told an answer: the callback is found at fault."""
    fenced = KafkaException(KafkaError(KafkaError._FENCED, "another took over", fatal=True))
    raise SystemError("<method 'append' of 'list' objects> returned a result with an exception set") from fenced


@pytest.mark.parametrize(
    ("work", "call"),
    [
        *[("publish", call) for call in ("poll", "flush", "send_offsets_to_transaction", "commit_transaction")],
        *[("try_out", call) for call in ("poll", "flush", "abort_transaction")],
    ],
)
def test_a_client_that_is_fenced_while_it_tells_answers_is_an_outage(broker: Broker, call: str, work: str) -> None:
    outlet, producer, _ = make(broker)
    broker.full = 1
    setattr(producer, call, fenced_in_a_callback)
    with pytest.raises(TransientError, match="another took over"):
        outlet.publish([letter(1)], ["id"]) if work == "publish" else outlet.try_out([letter(1)])
    assert broker.committed == []


def test_a_system_error_of_another_cause_is_told_as_it_is(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    outlet, producer, _ = make(broker)
    monkeypatch.setattr(producer, "flush", Mock(side_effect=SystemError("a defect")))
    with pytest.raises(SystemError, match="a defect"):
        outlet.publish([letter(1)], ["id"])


def test_closing_waits_for_nothing(broker: Broker) -> None:
    """An open transaction is aborted by whoever takes over."""
    make(broker).outlet.close()
    assert broker.calls == ["close"]
