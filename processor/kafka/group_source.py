"""A group's records from Kafka: poll, assign and revoke, pause, commit; every consumer call on one thread.

Measured with confluent-kafka 2.16: commit() from another thread starves while one loops in consume().
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator

import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.core import metrics
from processor.core.errors import FatalError, TransientError
from processor.core.messages import NextOffsets, RawRecord
from processor.core.messages import TopicPartition as Partition
from processor.core.settings import KafkaSettings
from processor.core.times import Seldom
from processor.kafka.brokers import Brokers
from processor.kafka.client import ends_client, explain, translate
from processor.kafka.hanging import run_bounded
from processor.kafka.intake import Intake
from processor.kafka.membership import Subscription, consumer_properties
from processor.kafka.refused import Refusals, is_refused
from processor.kafka.stalls import Stalls
from processor.kafka.standing import ASK_SECONDS, Standing
from processor.kafka.topic_watch import TopicWatch
from processor.kafka.unconfirmed import Unconfirmed

log = structlog.get_logger(__name__)

#: how long a static member may be refused before its name is taken to be in use for good
UNRELEASED_SECONDS = 30.0
LAG_SECONDS = 5.0
#: how often an offset is committed that no record brings: one behind markers and aborted records
REACHED_SECONDS = 1.0
KAFKA_ERROR_SECONDS = 10.0
#: so long after a rebalance or a pause the client is kept awake (see `_wake`)
WAKE_SECONDS = 2.0


def named(partitions: Iterable[TopicPartition]) -> set[Partition]:
    return {(one.topic, one.partition) for one in partitions}


class GroupSource:
    """A group's source for the pipeline. `release(partitions, lost=...)` is called before partitions go away."""

    def __init__(self, settings: KafkaSettings, subscription: Subscription, release: Callable[..., None]) -> None:
        self._settings, self._subscription, self._release = settings, subscription, release
        self._where = settings.kafka_bootstrap_servers
        self._ever_assigned = False
        self._paused: frozenset[int] | None = frozenset()  # None: all
        self._failure: KafkaError | None = None
        self._unconfirmed = Unconfirmed()
        self._held: set[Partition] = set()
        self._wake_until = 0.0
        self._lag_at = self._reached_at = 0.0
        self._brokers = Brokers(self._where)
        self._refusals = Refusals()
        self._errors = Seldom(KAFKA_ERROR_SECONDS)
        self._watch = TopicWatch(settings, subscription.topic)
        self._patience = time.monotonic() + UNRELEASED_SECONDS
        self._consumer = self._join()

    def _join(self) -> Consumer:
        callbacks = {"error_cb": self._on_error, "on_commit": self._unconfirmed.answered}
        consumer = Consumer({**consumer_properties(self._settings, self._subscription), **callbacks})
        self._intake = Intake(consumer, self._keep)
        self._standing = Standing(consumer, self._watch, start_latest=self._subscription.start == "latest")
        self._stalls = Stalls(consumer)
        consumer.subscribe(
            [self._subscription.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        return consumer

    @property
    def in_outage(self) -> bool:
        """Whether something stands still: no broker answers, or only a person sets it going again."""
        return self._brokers.away or self._watch.missing or bool(self._refusals) or bool(self._stalls)

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
        waiting = self._subscription.instance_id is not None and not self._ever_assigned
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
        if self._is_paused(partition.partition):
            with contextlib.suppress(KafkaException):
                return int(self._consumer.get_watermark_offsets(partition, timeout=ASK_SECONDS, cached=False)[1])
        return int(self._consumer.get_watermark_offsets(partition, cached=True)[1])

    def _poll(self, limit: int, timeout_s: float) -> list[RawRecord]:
        self._brokers.seek(self._consumer, self._subscription.topic, self._watch.heard_at)
        self._measure_lag()
        self._keep_place()
        if self._unconfirmed.due:
            self._send({}, wait=False)
        try:
            records = self._intake.take(limit, timeout_s)
        except KafkaException as error:
            raise self._or_wait(translate(error, self._where)) from error
        if self._failure is not None:
            raise self._or_wait(explain(self._failure, self._where))
        if records is None and time.monotonic() < self._wake_until:
            self._wake()
        if not records:
            return []
        self._standing.hand_out(records)
        if self._refusals:
            self._refusals.read(records)
        return records

    def _keep(self, message: Message) -> bool:
        if message.error() is None:
            return True
        self._judge(message)
        return False

    def _keep_place(self) -> None:
        """Commits where it stands now without a record having brought it there."""
        try:
            found = self._standing.look()
            self._give_back_stalled()
            if time.monotonic() > self._reached_at:
                self._reached_at = time.monotonic() + REACHED_SECONDS
                found = {**self._standing.reached(), **found}
        except KafkaException as error:
            raise self._or_wait(translate(error, self._where)) from error
        if found:
            self._send(found, wait=False)
            # a partition that was given back to the client is read on
            if again := [TopicPartition(*one) for one in self._held if self._is_paused(one[1])]:
                self._consumer.pause(again)

    def _give_back_stalled(self) -> None:
        if not self._stalls.due:
            return
        silent = self._brokers.doubted or self._watch.missing
        read = [one for one in self._held if not (silent or self._is_paused(one[1]) or self._refusals.stop(one))]
        standing = self._standing.next_of(read)
        for place in self._stalls.look(standing):
            self._standing.give_back(place, standing[place])

    def _wake(self) -> None:
        """Any request to a broker wakes the thread that fetches from it.

        While all its partitions are paused, by us or by a rebalance, it sleeps for a second at a time, and librdkafka
        (2.16) does not wake it when they may be read again: those that stay with us would stand still for that long.
        """
        read = [partition for partition in self._held if not self._is_paused(partition[1])]
        latest = [TopicPartition(*partition, OFFSET_END) for partition in read]
        if latest:
            with contextlib.suppress(KafkaException):  # a broker that is down: nothing to fetch from it either
                self._consumer.offsets_for_times(latest, timeout=ASK_SECONDS)

    def _or_wait(self, error: Exception) -> Exception:
        return FatalError(str(error)) if isinstance(error, TransientError) else error

    def _judge(self, message: Message) -> None:
        """What comes in place of a record: most of it passes by itself, librdkafka keeps trying."""
        error, place = message.error(), (message.topic() or "", message.partition() or 0)
        if error is None or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:  # the watch tells of it
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            if place in self._held:
                self._standing.went_astray(place, message.offset())
            return
        if is_refused(message):
            self._refusals.note(message)
            return
        problem = explain(error, self._where)
        if isinstance(problem, FatalError):
            raise problem
        if times := self._errors.due():
            log.warning("kafka_error", cause=str(problem), times=times)

    def _on_error(self, error: KafkaError) -> None:
        metrics.LAST_ERROR.set_to_current_time()
        self._brokers.note(error)
        if ends_client(error, self._where):
            self._failure = error

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [partition.partition for partition in partitions]
        log.info("assigned", partitions=numbers, protocol=self._subscription.protocol)
        self._ever_assigned = True
        with self._no_raising():
            consumer.incremental_assign(partitions)
            # the client keeps a pause while somebody else has the partition: what was paused then would stand still
            consumer.resume(partitions)
            if paused := [one for one in partitions if self._is_paused(one.partition)]:
                consumer.pause(paused)
        self._standing.assigned(named(partitions))
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
        self._send(self._standing.write(next_offsets), wait=wait)

    def _send(self, next_offsets: NextOffsets, *, wait: bool) -> None:
        self._unconfirmed.add(next_offsets)
        offsets = self._standing.commits(self._unconfirmed.offsets)
        self._unconfirmed.send(self._consumer, offsets, wait=wait)

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        names = named(partitions)
        self._release(names, lost=lost)
        self._intake.gone |= names
        self._unconfirmed.forget(names)
        for name in names:
            with contextlib.suppress(KeyError):
                metrics.LAG.remove(str(name[1]))
        with self._no_raising():
            consumer.incremental_unassign(partitions)
        self._standing.given_up(names)
        self._refusals.forget(names)
        self._stalls.given_up(names)
        self._hold(self._held - names)

    def pause(self, partitions: Collection[int] | None) -> None:
        """Brings nothing of these partitions (None: of all), and of all others again."""
        wanted = {one for one in self._held if partitions is None or one[1] in partitions}
        paused = {one for one in self._held if self._is_paused(one[1])}
        self._paused = None if partitions is None else frozenset(partitions)
        if wanted - paused:
            self._consumer.pause([TopicPartition(*one) for one in wanted - paused])
        if back := paused - wanted - self._standing.waiting:
            self._consumer.resume([TopicPartition(*one) for one in back])
            self._wake_until = time.monotonic() + WAKE_SECONDS

    def _is_paused(self, partition: int) -> bool:
        return self._paused is None or partition in self._paused

    def close(self) -> None:
        """Leaves the group, so that others take over at once; where the brokers are gone that has an end."""
        if not self._brokers.doubted:
            self._consumer.close()
            return
        try:
            run_bounded(self._consumer.close, lambda: None, self._where)
        except TransientError:
            log.warning("group_not_left", servers=self._where)
