"""A transactional producer and the memory beside it: a broker in memory that refuses and fails where it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from processor.core.messages import Destination, Event, OutboxMessage
from processor.kafka.outlet import Answers, Outlet

EVENTS, LETTERS = "the.events", "the.letters"
GROUP = object()  # what librdkafka gives as the metadata of the relay's group
PATIENCE_SECONDS = 20.0


class Sent(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Any]


class Broker:
    """What is durable, what is refused, and what goes wrong; `calls` are those of the producer and of its memory."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.committed: list[Sent] = []
        self.remembered: dict[tuple[str, int], tuple[int, str | None]] = {}  # by topic and partition: offset, metadata
        self.topics = {EVENTS, LETTERS}
        self.limits: dict[Destination, int] = {}  # what the topics take by now; none: as they did when it was opened
        self.unwell: dict[str, KafkaError] = {}  # by topic: what questions about it are answered with
        self.refuses: Callable[[Sent], KafkaError | None] = lambda _: None  # told by the delivery report
        self.knows: Callable[[Sent], KafkaError | None] = lambda _: None  # told by `produce` already
        self.full = 0  # so many attempts to produce find the queue full
        self.undelivered = 0  # what `flush` leaves behind
        self.hangs_in = ""
        self.free = threading.Event()  # ends the hanging
        self._errors: dict[str, Iterator[KafkaError]] = {}

    def fail(self, call: str, errors: Iterable[KafkaError]) -> None:
        """The next calls of that name raise these."""
        self._errors[call] = iter(errors)

    def called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.hangs_in:
            assert self.free.wait(PATIENCE_SECONDS)
        error = next(self._errors.get(name, iter(())), None)
        if error is not None:
            raise KafkaException(error)

    def listed(self) -> dict[str, Any]:
        self.called("list_topics")
        listed = {topic: SimpleNamespace(error=None) for topic in self.topics}
        return listed | {topic: SimpleNamespace(error=error) for topic, error in self.unwell.items()}


class FakeProducer:
    def __init__(self, broker: Broker, answers: Answers) -> None:
        self._broker, self._answers = broker, answers
        self._open: list[Sent] | None = None
        self._offsets: list[TopicPartition] = []
        self._untold: list[KafkaError] = []

    def init_transactions(self, timeout: float) -> None:
        self._broker.called("init_transactions")

    def begin_transaction(self) -> None:
        self._broker.called("begin_transaction")
        assert self._open is None
        self._open, self._offsets = [], []

    def produce(self, topic: str, value: bytes | None, key: bytes | None, *, headers: Any) -> None:
        self._broker.called("produce")
        assert self._open is not None
        if self._broker.full:
            self._broker.full -= 1
            raise BufferError("queue full")
        sent = Sent(topic, key, value, headers)
        if (known := self._broker.knows(sent)) is not None:
            raise KafkaException(known)
        if (refusal := self._broker.refuses(sent)) is not None:
            self._untold.append(refusal)
        else:
            self._open.append(sent)

    def poll(self, timeout: float) -> int:
        self._broker.called("poll")
        return 0

    def tell(self) -> None:
        """What librdkafka does in whatever call waits for the broker."""
        while self._untold:
            self._answers.on_delivery(self._untold.pop(0), None)
        self._answers.on_delivery(None, None)

    def flush(self, timeout: float) -> int:
        self._broker.called("flush")
        self.tell()
        return self._broker.undelivered

    def send_offsets_to_transaction(self, positions: list[TopicPartition], group: Any, timeout: float) -> None:
        self._broker.called("send_offsets")
        assert group is GROUP
        self._offsets += positions

    def commit_transaction(self, timeout: float) -> None:
        self._broker.called("commit_transaction")
        assert self._open is not None
        assert self._answers.failures == []
        self._broker.committed += self._open
        for one in self._offsets:
            self._broker.remembered[one.topic, one.partition] = (one.offset, one.metadata)
        self._open = None

    def abort_transaction(self, timeout: float) -> None:
        self._broker.called("abort_transaction")
        assert self._open is not None
        self._open = None


class FakeMemory:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[Any]:
        self._broker.called("committed")
        answers = []
        for one in partitions:
            _, metadata = self._broker.remembered.get((one.topic, one.partition), (-1001, None))
            answers.append(SimpleNamespace(metadata=metadata, error=self._broker.unwell.get(one.topic)))
        return answers

    def consumer_group_metadata(self) -> Any:
        return GROUP

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        return self._broker.listed()

    def close(self) -> None:
        self._broker.called("close")


class Made(NamedTuple):
    outlet: Outlet
    producer: FakeProducer
    answers: Answers


def make(broker: Broker, *, events: int = 1000, letters: int = 1000, source: str = "/the/source") -> Made:
    """An outlet to the broker, whose topics take messages of so many bytes."""
    answers = Answers("broker:9092")
    producer = FakeProducer(broker, answers)
    outlet = Outlet(
        producer,
        FakeMemory(broker),
        answers,
        {Destination.EVENTS: EVENTS, Destination.DEAD_LETTERS: LETTERS},
        {Destination.EVENTS: events, Destination.DEAD_LETTERS: letters},
        source=source,
        where="broker:9092",
        list_topics=broker.listed,
        ask_limits=lambda: broker.limits or {Destination.EVENTS: events, Destination.DEAD_LETTERS: letters},
    )
    return Made(outlet, producer, answers)


def event(trial: str, value: bytes = b"{}") -> Event:
    return Event("run", trial, 1, "ml.trial.complete", 0, value)


def letter(number: int, value: bytes | None = b"bad") -> OutboxMessage:
    return OutboxMessage(Destination.DEAD_LETTERS, f"dead-letter/{number}", b"key", value, (("reason", b"why"),))
