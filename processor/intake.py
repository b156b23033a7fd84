"""Kafka -> RawRecord: poll, assign and revoke, pause, commit; every consumer call on one thread.

Measured with confluent-kafka 2.16: commit() from another thread starves while one loops in consume().
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from processor import metrics
from processor.errors import FatalError, SetupError, TransientError
from processor.kafka import METADATA_SECONDS, client_properties, explain, list_topics, raw_headers, translate
from processor.messages import NextOffsets, RawRecord
from processor.messages import TopicPartition as Partition
from processor.settings import Settings

log = structlog.get_logger(__name__)

#: year 9999, the last that both Postgres' and Python's dates reach; a producer may send any 64-bit number
LATEST_TIMESTAMP_MS = 253_402_300_799_999
#: a killed process must not hold its partitions longer than this (the broker's default for KIP-848 groups is 45 s)
ACCEPTABLE_SESSION_MS = 10_000
#: how long a static member may be refused before its name is taken to be in use for good
UNRELEASED_SECONDS = 30.0
LAG_SECONDS = 5.0
ASK_SECONDS = 0.5
COMMIT_AGAIN_SECONDS = 0.5
#: so long after a rebalance or a pause the client is kept awake (see `_wake`)
WAKE_SECONDS = 2.0
#: what one poll brings at the most, roughly: it follows the mean size of the records before
POLL_BYTES = 4 * 1024 * 1024

_NOT_TOLD = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.INVALID_REQUEST,
    }
)


def to_record(message: Message) -> RawRecord:
    kind, timestamp = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE or timestamp < 0:
        timestamp = 0
    elif timestamp > LATEST_TIMESTAMP_MS:
        timestamp = LATEST_TIMESTAMP_MS
    return RawRecord(
        message.topic(),  # type: ignore[arg-type] # never None in a record that was read
        message.partition(),  # type: ignore[arg-type]
        message.offset(),  # type: ignore[arg-type]
        timestamp,
        message.key(),
        message.value(),
        raw_headers(message.headers()),
    )


def choose_protocol(settings: Settings) -> str:
    """`consumer` (KIP-848) where the broker has it and frees a killed member's partitions soon enough, else `classic`.

    Raises `TransientError` when the broker does not answer.

    With KIP-848 the session timeout is the broker's: 45 s by default, so long would a killed ingest block its
    successor. With the classic protocol it is ours (SESSION_TIMEOUT_MS).
    """
    if settings.group_protocol != "auto":
        return settings.group_protocol
    try:
        admin = AdminClient(client_properties(settings))
        broker = next(iter(admin.list_topics(timeout=METADATA_SECONDS).brokers))
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
        configs = admin.describe_configs([resource], request_timeout=METADATA_SECONDS)[resource].result()
        protocols = configs["group.coordinator.rebalance.protocols"].value
        session_ms = int(configs["group.consumer.session.timeout.ms"].value)
    except (KeyError, StopIteration):  # an older broker
        return "classic"
    except KafkaException as error:
        if error.args[0].code() in _NOT_TOLD:  # or one that does not let us look
            return "classic"
        raise translate(error, settings.kafka_bootstrap_servers) from error
    return "consumer" if "consumer" in protocols and session_ms <= ACCEPTABLE_SESSION_MS else "classic"


def consumer_properties(settings: Settings, protocol: str) -> dict[str, Any]:
    own: dict[str, Any] = {
        "group.id": settings.group_id,
        "group.protocol": protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": False,
        "fetch.wait.max.ms": 100,
        "fetch.error.backoff.ms": 50,
        # one answer of the broker may come on top of what is queued: both are shares of the one memory setting
        "queued.max.messages.kbytes": settings.prefetch_bytes // 1024,
        "fetch.max.bytes": settings.prefetch_bytes // 2,
        "fetch.message.max.bytes": min(1024 * 1024, settings.prefetch_bytes // 4),
        "queued.min.messages": 20_000,
        # after the queue was full: librdkafka waits a second by default, which alone would limit us to 20,000 records/s
        "fetch.queue.backoff.ms": 10,
        "max.poll.interval.ms": 300_000,
    }
    if protocol == "classic":
        own["partition.assignment.strategy"] = "cooperative-sticky"
        own["session.timeout.ms"] = settings.session_timeout_ms
        own["heartbeat.interval.ms"] = max(200, settings.session_timeout_ms // 3)
    if settings.group_instance_id:
        own["group.instance.id"] = settings.group_instance_id
    return client_properties(settings, **own)


def named(partitions: Iterable[TopicPartition]) -> set[Partition]:
    return {(one.topic, one.partition) for one in partitions}


class KafkaSource:
    """The live group's source for the pipeline. `release(partitions, lost=...)` is called before partitions go away."""

    def __init__(self, settings: Settings, release: Callable[..., None], protocol: str) -> None:
        self._settings, self._release = settings, release
        self._where = settings.kafka_bootstrap_servers
        self._paused = self._ever_assigned = False
        self._failure: KafkaError | None = None
        self._uncommitted: dict[Partition, int] = {}
        self._given_up: set[Partition] = set()
        self._held: set[Partition] = set()
        self._wake_until = 0.0
        self._commit_again_at: float | None = None
        self._lag_at = 0.0
        self._record_bytes = 200
        self.protocol = protocol
        self._patience = time.monotonic() + UNRELEASED_SECONDS
        self._consumer = self._join()

    def _join(self) -> Consumer:
        callbacks = {"error_cb": self._on_error, "on_commit": self._on_commit}
        consumer = Consumer({**consumer_properties(self._settings, self.protocol), **callbacks})
        consumer.subscribe(
            [self._settings.raw_topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        return consumer

    def poll(self, limit: int, timeout_s: float) -> list[RawRecord]:
        """At most `limit` records. Raises `FatalError` when the client can never consume again."""
        try:
            return self._poll(limit, timeout_s)
        except FatalError:
            if not self._may_be_unreleased():
                raise
        self._consumer.close()
        time.sleep(1.0)
        self._failure = None
        self._consumer = self._join()
        return []

    def _may_be_unreleased(self) -> bool:
        """A static member that was killed is refused under its old name until its session ends (KIP-848)."""
        waiting = self._settings.group_instance_id is not None and not self._ever_assigned
        return waiting and time.monotonic() < self._patience

    def _measure_lag(self) -> None:
        """Lag as far as the client knows it by itself: asking the broker here would hold up reading."""
        if time.monotonic() < self._lag_at:
            return
        self._lag_at = time.monotonic() + LAG_SECONDS
        for one in self._consumer.position(self._consumer.assignment()):
            end = self._end_of(one)
            if one.offset >= 0 and end >= 0:
                metrics.LAG.labels(str(one.partition)).set(max(0, end - one.offset))

    def _end_of(self, partition: TopicPartition) -> int:
        """What the client fetched last says, but it fetches nothing while paused: then there is time to ask."""
        if self._paused:
            with contextlib.suppress(KafkaException):
                return int(self._consumer.get_watermark_offsets(partition, timeout=ASK_SECONDS, cached=False)[1])
        return int(self._consumer.get_watermark_offsets(partition, cached=True)[1])

    def _poll(self, limit: int, timeout_s: float) -> list[RawRecord]:
        self._measure_lag()
        if self._commit_again_at is not None and time.monotonic() > self._commit_again_at:
            self._commit_again_at = time.monotonic() + COMMIT_AGAIN_SECONDS
            self.commit({}, wait=False)
        try:
            first = self._consumer.poll(timeout_s)  # returns with the first record; consume() would wait for all
            if self._failure is not None:
                raise self._or_wait(explain(self._failure, self._where))
            if first is None:
                if time.monotonic() < self._wake_until:
                    self._wake()
                return []
            messages = [first]
            limit = min(limit, max(1, POLL_BYTES // self._record_bytes))
            if limit > 1:
                self._given_up.clear()
                rest = self._consumer.consume(limit - 1, 0)
                # consume() may have given the first record's partition away: its neighbours are dropped, so it must
                # not be written and committed past them (librdkafka itself throws away what it had collected)
                messages = rest if (first.topic(), first.partition()) in self._given_up else [first, *rest]
        except KafkaException as error:
            raise self._or_wait(translate(error, self._where)) from error
        records = []
        for message in messages:
            problem = message.error()
            if problem is None:
                records.append(to_record(message))
            else:
                self._judge(problem)
        if records:  # large records: fewer of them next time
            self._record_bytes = 200 + sum(len(record.value or b"") for record in records) // len(records)
        return records

    def _wake(self) -> None:
        """Any request to a broker wakes the thread that fetches from it.

        While all its partitions are paused, by us or by a rebalance, it sleeps for a second at a time, and librdkafka
        (2.16) does not wake it when they may be read again: those that stay with us would stand still for that long.
        """
        latest = [TopicPartition(*partition, OFFSET_END) for partition in self._held]
        if latest and not self._paused:
            with contextlib.suppress(KafkaException):  # a broker that is down: nothing to fetch from it either
                self._consumer.offsets_for_times(latest, timeout=ASK_SECONDS)

    def _or_wait(self, error: Exception) -> Exception:
        return FatalError(str(error)) if isinstance(error, TransientError) else error

    def _judge(self, error: KafkaError) -> None:
        """Errors that come in place of a record: most pass by themselves, librdkafka keeps trying."""
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning("topic_missing", topic=self._settings.raw_topic)
            return
        problem = explain(error, self._where)
        if isinstance(problem, FatalError):
            raise problem
        log.warning("kafka_error", cause=str(problem))

    def _on_error(self, error: KafkaError) -> None:
        metrics.LAST_ERROR.set_to_current_time()
        if error.fatal() or isinstance(explain(error, self._where), SetupError):
            self._failure = error
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            log.warning("waiting_for_kafka", servers=self._where)

    def _on_commit(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        """A commit that failed (a rebalance under way, a broker down) is sent again: else lag would stay in sight."""
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            if self._commit_again_at is None:  # one line, not a thousand
                log.warning("commit_failed", cause=error.str(), code=error.name())
            self._commit_again_at = time.monotonic() + COMMIT_AGAIN_SECONDS
            return
        self._commit_again_at = None
        for one in offsets:
            if self._uncommitted.get((one.topic, one.partition), -1) <= one.offset:
                self._uncommitted.pop((one.topic, one.partition), None)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("assigned", partitions=[partition.partition for partition in partitions], protocol=self.protocol)
        self._ever_assigned = True
        with self._no_raising():
            consumer.incremental_assign(partitions)
            if self._paused:
                consumer.pause(partitions)
        self._hold(self._held | named(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("revoked", partitions=[partition.partition for partition in partitions])
        self._give_up(consumer, partitions, lost=False)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("lost", partitions=[partition.partition for partition in partitions])
        self._give_up(consumer, partitions, lost=True)

    def _hold(self, partitions: set[Partition]) -> None:
        """Our own account: asking the client for its assignment fails in a callback that `close` calls."""
        self._held = partitions
        self._wake_until = time.monotonic() + WAKE_SECONDS
        metrics.ASSIGNED.set(len(partitions))

    @contextlib.contextmanager
    def _no_raising(self) -> Iterator[None]:
        """In a callback: what librdkafka refuses is raised by the next `poll`, as it would lose its type on the way."""
        try:
            yield
        except KafkaException as error:
            self._failure = self._failure or error.args[0]

    def commit(self, next_offsets: NextOffsets, *, wait: bool) -> None:
        """Commits; a failure is logged, not raised: what is written is written, and recognised when read again."""
        self._uncommitted.update(next_offsets)
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in self._uncommitted.items()]
        if not offsets:
            return
        try:
            if wait:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            log.warning("commit_failed", cause=str(translate(error, self._where)))

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        names = named(partitions)
        self._release(names, lost=lost)
        self._given_up |= names
        for name in names:
            self._uncommitted.pop(name, None)
            with contextlib.suppress(KeyError):
                metrics.LAG.remove(str(name[1]))
        with self._no_raising():
            consumer.incremental_unassign(partitions)
        self._hold(self._held - names)

    def pause(self) -> None:
        self._paused = True
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        self._paused = False
        self._consumer.resume(self._consumer.assignment())
        self._wake_until = time.monotonic() + WAKE_SECONDS

    def close(self) -> None:
        """Leaves the group, so that others take over at once."""
        self._consumer.close()


def check_topics(settings: Settings, *names: str) -> None:
    """Raises `SetupError` where a topic is missing or the broker refuses us, `TransientError` when none answers."""
    where, topics = settings.kafka_bootstrap_servers, list_topics(settings).topics
    missing = []
    for name in names:
        error = topics[name].error if name in topics else None
        if name not in topics or (error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART):
            missing.append(name)
        elif error is not None:  # a leader is being elected, or we may not look
            raise explain(error, where)
    if missing:
        named = ", ".join(missing)
        raise SetupError(f"Kafka at {where} has no topic {named} (that we may see): run `processor topics create`")


def create_topics(settings: Settings, *, partitions: int, replication: int) -> list[str]:
    """Creates those of the three topics that are missing; their names. Raises `SetupError`, `TransientError`."""
    existing = list_topics(settings).topics
    wanted = (settings.raw_topic, settings.events_topic, settings.dead_letter_topic)
    missing = [NewTopic(name, partitions, replication) for name in wanted if name not in existing]
    if not missing:
        return []
    admin = AdminClient(client_properties(settings))
    for topic, future in admin.create_topics(missing).items():
        try:
            future.result(METADATA_SECONDS * 2)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise SetupError(f"topic {topic} can't be created: {error.args[0].str()}") from None
    return [topic.topic for topic in missing]


def read_topic(settings: Settings, topic: str, *, timeout_s: float = 10.0) -> Iterator[RawRecord]:
    """All records of a topic up to the end it has now, as a read_committed consumer sees them; joins no group.

    Raises `TransientError` when nothing comes for `timeout_s`.
    """
    consumer = Consumer(
        client_properties(
            settings,
            **{
                "group.id": f"{settings.group_id}-reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            },
        )
    )
    try:
        partitions = consumer.list_topics(topic, timeout=METADATA_SECONDS).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        unfinished, deadline = set(partitions), time.monotonic() + timeout_s
        while unfinished:
            for message in consumer.consume(5000, 0.2):
                deadline = time.monotonic() + timeout_s
                if (error := message.error()) is None:
                    yield to_record(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition())
                else:
                    raise explain(error, settings.kafka_bootstrap_servers)
            if time.monotonic() > deadline:
                raise TransientError(f"Kafka at {settings.kafka_bootstrap_servers} does not answer")
    except KafkaException as error:
        raise translate(error, settings.kafka_bootstrap_servers) from error
    finally:
        consumer.close()
