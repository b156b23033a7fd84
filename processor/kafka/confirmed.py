"""Messages -> raw topic, each with Kafka's answer: where it is kept, or why it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from processor.core.errors import FatalError, ProcessorError, SetupError, TransientError
from processor.core.messages import Headers
from processor.core.settings import KafkaSettings
from processor.kafka.client import ask, client_properties, explain, translate

POLL_SECONDS = 0.1
#: of what is still queued when it ends; whoever waited for it has been answered by then
FLUSH_SECONDS = 1.0
#: a message costs librdkafka some 200 bytes beside its own
QUEUED_MESSAGES = 200_000
#: refused for what the message is: sending it again is of no use
_FOREVER = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD})


class Receipt(NamedTuple):
    """Where all in-sync replicas have the message."""

    partition: int
    offset: int


class Failure(NamedTuple):
    """Kafka has not confirmed the message (it may have it all the same), or where `forever`, never will."""

    words: str
    forever: bool = False


Settle = Callable[[Receipt | Failure], None]


class ConfirmedProducer:
    """An idempotent producer with acks=all; a thread of its own hears what the broker says.

    A message that is not confirmed within the delivery time leaves the queue: whoever sent it was told so and sends it
    again, and the queue of a long outage does not fill up with what nobody waits for. One that is on its way then may
    still arrive: a report that arrives twice changes nothing.
    """

    def __init__(self, settings: KafkaSettings, topic: str, *, delivery_s: float, queue_bytes: int) -> None:
        """Connects in the background. Raises `UsageError` for options that librdkafka refuses."""
        self.topic, self._where = topic, settings.kafka_bootstrap_servers
        self._settings = settings
        self._asking: Consumer | None = None
        self.failure: ProcessorError | None = None
        properties = client_properties(
            settings,
            **{
                "client.id": f"{settings.group_id}-gateway",
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # as `TrialReporter` and Java clients: a run stays on one partition
                "compression.type": "lz4",
                "linger.ms": 0,  # what waits while a batch is under way is the next batch: nobody waits for nothing
                "message.timeout.ms": max(1, int(delivery_s * 1000)),
                "message.max.bytes": 64 * 1024 * 1024,  # how large a report may be is the topic's to say
                "queue.buffering.max.messages": QUEUED_MESSAGES,
                "queue.buffering.max.kbytes": max(1024, queue_bytes // 1024),
                "error_cb": self._on_error,
            },
        )
        self._producer = Producer(properties)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="confirmations", daemon=True)
        self._thread.start()

    def send(self, key: bytes, value: bytes, timestamp_ms: int, headers: Headers, settle: Settle) -> None:
        """Queues a message; `settle` is called once, in the polling thread, with what became of it.

        Raises `TransientError` where the queue is full, and then never calls it.
        """
        try:
            self._producer.produce(
                self.topic,
                value=value,
                key=key,
                timestamp=timestamp_ms,
                headers=list(headers),
                on_delivery=partial(_settled, settle),
            )
        except BufferError:
            raise TransientError("the queue to Kafka is full") from None
        except KafkaException as error:
            raise TransientError(f"Kafka at {self._where}: {error.args[0].str()}") from None

    def ask(self) -> None:
        """Raises `TransientError` (or `SetupError`) where no broker answers; for one thread."""
        if self._asking is None:
            own = {"group.id": f"{self._settings.group_id}-gateway"}
            self._asking = Consumer(client_properties(self._settings, **own))
        try:
            ask(self._asking, self.topic)
        except KafkaException as error:
            raise translate(error, self._where) from error

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(POLL_SECONDS)

    def _on_error(self, error: KafkaError) -> None:
        problem = explain(error, self._where)
        if isinstance(problem, SetupError) or (isinstance(problem, FatalError) and self.failure is None):
            self.failure = problem

    def close(self) -> None:
        """Ends, and drops what is still queued."""
        self._closing.set()
        self._thread.join()
        self._producer.flush(FLUSH_SECONDS)
        self._producer.purge()
        self._producer.flush(FLUSH_SECONDS)


def _settled(settle: Settle, error: KafkaError | None, message: Message) -> Any:
    if error is None:
        settle(Receipt(message.partition() or 0, message.offset() or 0))
    else:
        settle(Failure(f"{error.str()} ({error.name()})", error.code() in _FOREVER))
