"""Event | OutboxMessage -> Kafka, in transactions.

A transaction remembers the packets it published in Kafka itself: their ids are the metadata of an offset that
`send_offsets_to_transaction` writes for a group named after the relay (KIP-98, KIP-447). Either both are visible, or
neither is, so a relay that died knows what it had published although Postgres was never told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from processor.core.checkpoints import reach
from processor.core.errors import ProcessorError, SetupError, TransientError, Unpublishable
from processor.core.messages import Destination, Event, Outgoing
from processor.core.parts import Halves
from processor.events.headers import cloud_event_headers
from processor.kafka.client import ask, explain
from processor.kafka.hanging import run_bounded

T = TypeVar("T")
log = structlog.get_logger(__name__)

TRANSACTION_SECONDS = 10.0
#: what a record costs on the wire beyond key, value and headers: batch head and varints, rounded up
RECORD_OVERHEAD = 128
#: what the headers of an event hold beyond its ids and ce_source, rounded up
HEADER_BYTES = 512
_NEVER = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD})
_GONE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})


class TransactionalProducer(Protocol):
    """What the outlet needs of a librdkafka producer with a transactional id."""

    def init_transactions(self, timeout: float) -> None: ...
    def begin_transaction(self) -> None: ...
    def produce(self, topic: str, value: bytes | None, key: bytes | None, *, headers: Any) -> None: ...
    def poll(self, timeout: float) -> int: ...
    def flush(self, timeout: float) -> int: ...
    def send_offsets_to_transaction(self, positions: list[TopicPartition], group: Any, timeout: float) -> None: ...
    def commit_transaction(self, timeout: float) -> None: ...
    def abort_transaction(self, timeout: float) -> None: ...


class OffsetMemory(Protocol):
    """What it needs of a consumer of the relay's group, which reads nothing."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]: ...
    def consumer_group_metadata(self) -> Any: ...
    def list_topics(self, topic: str, *, timeout: float) -> Any: ...
    def close(self) -> None: ...


class Answers:
    """What librdkafka says about what was produced; its callbacks write it while the producer is polled."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.failures: list[KafkaError] = []
        self.setup_failure: KafkaError | None = None

    def on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self.failures.append(error)

    def on_error(self, error: KafkaError) -> None:
        if isinstance(explain(error, self._where), SetupError):
            self.setup_failure = error


class Outlet:
    """A transactional producer and the memory of what it published. Use it in one thread only.

    Every method raises `TransientError` when the broker is down or another relay took over (then close this and open
    another), `SetupError` when a person has to act.
    """

    def __init__(
        self,
        producer: TransactionalProducer,
        memory: OffsetMemory,
        answers: Answers,
        topics: Mapping[Destination, str],
        limits: Mapping[Destination, int],
        *,
        source: str,
        where: str,
        list_topics: Callable[[], Mapping[str, Any]],
        ask_limits: Callable[[], Mapping[Destination, int]],
    ) -> None:
        """`limits` are the topics' max.message.bytes, `source` is ce_source, `where` the broker's address for people.

        `answers` hears what the producer is told; `list_topics` gives the metadata of the topics that there are,
        `ask_limits` what `limits` are by now.
        """
        self._producer, self._consumer, self._answers = producer, memory, answers
        self._topics, self._limits = topics, limits
        self._source, self._where = source.encode(), where
        self._list_topics, self._ask_limits = list_topics, ask_limits
        self._gone: set[Destination] = set()

    def _broken(self, error: KafkaException) -> ProcessorError:
        """A producer that failed is thrown away: whatever state it is in, the next one finds out what was published."""
        failure = self._answers.setup_failure or error.args[0]
        problem = explain(failure, self._where)
        return problem if isinstance(problem, SetupError) else TransientError(str(problem))

    def take_over(self) -> list[str]:
        """Fences every earlier producer of this relay, ends its open transaction; the packets published last."""
        try:
            self._producer.init_transactions(TRANSACTION_SECONDS)
            places = [self._memory(destination) for destination in Destination]
            found = self._consumer.committed(places, timeout=TRANSACTION_SECONDS)
        except KafkaException as error:
            raise self._broken(error) from error
        published: list[str] = []
        for one in found:
            if one.error is not None and one.error.code() not in _GONE:
                raise TransientError(f"Kafka at {self._where}: {one.error.str()}")
            published += json.loads(one.metadata) if one.metadata else []
        return published

    def _memory(self, destination: Destination, packet_ids: Sequence[str] = ()) -> TopicPartition:
        """What was published: the offset of a partition that nobody reads as this group. Its metadata are packet ids.

        It lies on the events topic, and on the other one only while that is gone.
        """
        return TopicPartition(self._topics[destination], 0, 0, json.dumps(list(packet_ids), separators=(",", ":")))

    def ask(self) -> None:
        """Raises `TransientError` where no broker answers: an outlet with nothing to publish would not notice."""
        try:
            ask(self._consumer, self._topics[Destination.EVENTS])
        except KafkaException as error:
            raise self._broken(error) from error

    def look_for_topics(self) -> None:
        """Finds out which topics are gone; what would go there is refused from now on. Raises `TransientError`."""
        there = self._list_topics()
        self._gone = {
            destination
            for destination, topic in self._topics.items()
            if topic not in there or (there[topic].error is not None and there[topic].error.code() in _GONE)
        }

    def has_changed(self) -> bool:
        """Whether the topics take other sizes by now, or one that was gone is back: an outlet opened anew knows.

        One that is newly gone this one knows from now on as well. Raises `TransientError`.
        """
        gone = self._gone
        self.look_for_topics()
        return not gone <= self._gone or dict(self._limits) != dict(self._ask_limits())

    def is_gone(self, destination: Destination) -> bool:
        return destination in self._gone

    def takes_all_of(self, packet_bytes: int) -> bool:
        """Whether both topics surely take every message of a packet of so many bytes.

        An event's ids are twice in the message and once in the packet, and most of its headers are not in the packet.
        """
        most = 2 * packet_bytes + HEADER_BYTES + len(self._source) + RECORD_OVERHEAD
        return not self._gone and most <= min(self._limits.values())

    def _headers_of(self, message: Outgoing) -> list[Any]:
        return cloud_event_headers(message, self._source) if isinstance(message, Event) else list(message.headers)

    def _size_of(self, message: Outgoing) -> int:
        headers = sum(len(name) + len(value or b"") + 4 for name, value in self._headers_of(message))
        return len(message.key or b"") + len(message.value or b"") + headers + RECORD_OVERHEAD

    def refuses(self, message: Outgoing) -> str | None:
        """Why the broker would never take this message; None where nothing is known against it."""
        if message.destination in self._gone:
            return f"the topic {self._topics[message.destination]} is gone"
        size, limit = self._size_of(message), self._limits[message.destination]
        if size > limit:
            topic = self._topics[message.destination]
            return f"{size} bytes, the topic {topic} takes {limit} (max.message.bytes)"
        return None

    def publish(self, messages: Sequence[Outgoing], packet_ids: Sequence[str]) -> None:
        """One transaction: all messages, and in it the ids of their packets.

        Raises `Unpublishable` where the broker refuses a message for good; then nothing has become visible.
        """
        self._bounded(lambda: self._publish(messages, packet_ids))

    def _bounded(self, work: Callable[[], T]) -> T:
        """Runs Kafka calls in a thread that is given up when they hang.

        A producer that is given up may still commit later. That does no harm: the next one fences it first and only
        then asks what was published.
        """
        try:
            return run_bounded(work, self._let_go, self._where)
        except SystemError as error:
            # a client that is fenced raises in the midst of a call that goes on to tell what was not delivered, and
            # Python then finds our callback at fault, with what was raised as its cause
            if not isinstance(error.__cause__, KafkaException):
                raise
            raise self._broken(error.__cause__) from error

    def _let_go(self) -> None:
        """Frees the producer, which nobody uses any more."""
        del self._producer

    def _publish(self, messages: Sequence[Outgoing], packet_ids: Sequence[str]) -> None:
        self._answers.failures.clear()
        try:
            self._producer.begin_transaction()
            self._produce(messages)
            self._flush()  # before the offsets: that order is nearly three times as fast
            self._judge_failures()
            reach("relay.after_produce")
            place = next(destination for destination in Destination if destination not in self._gone)
            self._producer.send_offsets_to_transaction(
                [self._memory(place, packet_ids)], self._consumer.consumer_group_metadata(), TRANSACTION_SECONDS
            )
            self._commit()
        except KafkaException as error:
            if self._refused_for_good():
                self._abandon_transaction()
            raise self._broken(error) from error

    def _produce(self, messages: Sequence[Outgoing]) -> None:
        produce, topics = self._producer.produce, self._topics
        for message in messages:
            topic: str = topics[message.destination]
            headers = self._headers_of(message)
            while True:
                try:
                    produce(topic, message.value, message.key, headers=headers)
                    break
                except BufferError:
                    self._producer.poll(0.05)
                except KafkaException as error:  # known at once: too large for the client, or a topic known to be gone
                    if error.args[0].code() not in _NEVER | _GONE:
                        raise
                    self._answers.failures.append(error.args[0])
                    break

    def _flush(self) -> None:
        if self._producer.flush(TRANSACTION_SECONDS):
            raise TransientError(f"Kafka at {self._where} does not take the messages")

    def _refused_for_good(self) -> bool:
        return any(failure.code() in _NEVER | _GONE for failure in self._answers.failures)

    def _judge_failures(self) -> None:
        """Messages that failed for good end the transaction; anything else is an outage."""
        if self._refused_for_good():
            self._abandon_transaction()
        if self._answers.failures:
            raise self._broken(KafkaException(self._answers.failures[0]))

    def _abandon_transaction(self) -> None:
        """Raises `Unpublishable`, once nothing of the transaction can become visible any more."""
        try:
            self._producer.abort_transaction(TRANSACTION_SECONDS)
        except KafkaException as error:
            raise self._broken(error) from error
        raise Unpublishable("; ".join(sorted({failure.str() for failure in self._answers.failures})))

    def _commit(self) -> None:
        deadline = time.monotonic() + TRANSACTION_SECONDS
        while True:
            try:
                return self._producer.commit_transaction(TRANSACTION_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise

    def try_out(self, messages: Sequence[Outgoing]) -> dict[int, str]:
        """Finds the messages that the broker refuses for good, by halving, in transactions that are always aborted.

        By the message's place: why.
        """
        found: dict[int, str] = {}
        halves = Halves(list(enumerate(messages)))
        for part in halves:
            attempt = [message for _, message in part]
            refused = self._bounded(partial(self._try_once, attempt))
            if refused and not halves.split():
                found[part[0][0]] = refused
        return found

    def _try_once(self, messages: Sequence[Outgoing]) -> str:
        self._answers.failures.clear()
        try:
            self._producer.begin_transaction()
            try:
                self._produce(messages)
                self._flush()
            finally:
                self._producer.abort_transaction(TRANSACTION_SECONDS)
        except KafkaException as error:
            raise self._broken(error) from error
        refused = sorted({one.str() for one in self._answers.failures if one.code() in _NEVER | _GONE})
        if self._answers.failures and not refused:  # failed only for now, which says nothing of the messages
            raise self._broken(KafkaException(self._answers.failures[0]))
        return "; ".join(refused)

    def close(self) -> None:
        """Ends without waiting: an open transaction is aborted by whoever takes over."""
        self._consumer.close()
