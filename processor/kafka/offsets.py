"""Where a consumer group stands, and moving it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from processor.core.errors import SetupError
from processor.core.settings import KafkaSettings
from processor.kafka.client import TIMEOUT_SECONDS, client_properties, explain, list_topics, translate
from processor.kafka.remembered import Remembered, read_remembered

T = TypeVar("T")

MOVING_PAUSE_SECONDS = 0.2
#: a group's coordinator, or a partition's leader, is just becoming another broker's task, or its first one's
_MOVING = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)


class Bounds(NamedTuple):
    """What a partition holds and where the group stands; `current` is None where it never committed."""

    earliest: int
    latest: int
    current: int | None
    remembered: Remembered = Remembered()

    @property
    def gone(self) -> int:
        """Records that Kafka deleted before the group read them: those it has told of, and those it stands before."""
        return self.remembered.gone + max(0, self.earliest - (self.earliest if self.current is None else self.current))

    def troubles(self) -> list[str]:
        """What of the input is lost, or not where the group stands, each in a few words."""
        current, said = self.current, []
        if self.remembered.gone:
            said.append(
                f"{self.remembered.gone:,} records were deleted before they were read, last {self.remembered.last}"
            )
        if current is not None and current < self.earliest:
            number = self.earliest - current
            said.append(f"{number:,} records that were never read are deleted: {current}..{self.earliest - 1}")
        if current is not None and current > self.latest:
            said.append(
                f"the group stands at {current}, beyond the end {self.latest}: it will read from {self.earliest}"
            )
        return said

    @property
    def lag(self) -> int:
        """Records that the group has yet to read: retention may have deleted some, or the topic been made anew."""
        start = self.earliest if self.current is None else min(max(self.current, self.earliest), self.latest)
        return self.latest - start


def troubles_of(bounds: Mapping[int, Bounds]) -> list[str]:
    """`Bounds.troubles` of all partitions, each with the partition's number."""
    return [f"partition {one}: {said}" for one, held in bounds.items() for said in held.troubles()]


def asked_again(ask: Callable[[], T]) -> T:
    """The answer, asked for again while what should answer is moving. Raises `KafkaException`."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _MOVING or time.monotonic() > deadline:
                raise
        time.sleep(MOVING_PAUSE_SECONDS)


def committed_offsets(consumer: Consumer, wanted: list[TopicPartition]) -> list[TopicPartition]:
    """`Consumer.committed`, also of what is said of a partition alone. Raises `KafkaException`."""

    def ask() -> list[TopicPartition]:
        found = consumer.committed(wanted, timeout=TIMEOUT_SECONDS)
        for one in found:
            if one.error is not None:
                raise KafkaException(one.error)
        return found

    return asked_again(ask)


def held_offsets(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """The first offset that the partition holds and the one behind its last. Raises `KafkaException`."""
    return asked_again(lambda: consumer.get_watermark_offsets(partition, TIMEOUT_SECONDS, cached=False))


class GroupOffsets:
    """The group's offsets on a topic, through Kafka's admin interface."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings, self._group, self._topic = settings, settings.group_id, topic
        self._where = settings.kafka_bootstrap_servers
        self._admin = AdminClient(client_properties(settings))

    def partitions(self) -> list[int]:
        topics = list_topics(self._settings).topics
        if self._topic not in topics:
            raise SetupError(f"Kafka at {self._where} has no topic {self._topic}: run `processor topics create`")
        return sorted(topics[self._topic].partitions)

    def at_time(self, partitions: Iterable[int], timestamp_ms: int) -> dict[int, int]:
        """The first record that is not older; negative where there is none."""
        return self._at(partitions, OffsetSpec.for_timestamp(timestamp_ms))

    def _at(self, partitions: Iterable[int], spec: Any) -> dict[int, int]:
        wanted = {TopicPartition(self._topic, partition): spec for partition in partitions}

        def ask() -> dict[int, int]:
            futures = self._admin.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT_SECONDS
            )
            return {one.partition: future.result(TIMEOUT_SECONDS).offset for one, future in futures.items()}

        try:
            return asked_again(ask)
        except KafkaException as error:
            raise translate(error, self._where) from error

    def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        """Committed offsets; a partition without one is not in it."""
        return {partition: offset for partition, (offset, _) in self._committed(partitions).items()}

    def _committed(self, partitions: Iterable[int]) -> dict[int, tuple[int, Remembered]]:
        wanted = [TopicPartition(self._topic, partition) for partition in partitions]
        found = self._call_consumer(lambda consumer: committed_offsets(consumer, wanted))
        return {one.partition: (one.offset, read_remembered(one.metadata)) for one in found if one.offset >= 0}

    def _call_consumer(self, call: Callable[[Consumer], T]) -> T:
        """Asks as a consumer that joins nothing.

        The admin client's ListConsumerGroupOffsets crashes the process (librdkafka 2.16: rd_kafka_cgrp_op without a
        group) when the coordinator answers with an error, as one does that is just loading.
        """
        consumer = Consumer(client_properties(self._settings, **{"group.id": self._group, "enable.auto.commit": False}))
        try:
            return call(consumer)
        except KafkaException as error:
            raise translate(error, self._where) from error
        finally:
            consumer.close()

    def bounds(self) -> dict[int, Bounds]:
        partitions = self.partitions()
        earliest = self._at(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        latest = self._at(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        found = self._committed(partitions)
        return {one: Bounds(earliest[one], latest[one], *found.get(one, (None, Remembered()))) for one in partitions}

    def troubles(self, only: Iterable[int] = ()) -> list[str]:
        """What of the topic's partitions (or of `only` these) the group lost, or will not find where it stands."""
        chosen = set(only)
        return troubles_of({one: bounds for one, bounds in self.bounds().items() if not chosen or one in chosen})

    def members(self) -> list[str]:
        """client id @ host of every member that consumes as the group just now."""
        future = self._admin.describe_consumer_groups([self._group], request_timeout=TIMEOUT_SECONDS)[self._group]
        try:
            description = future.result(TIMEOUT_SECONDS)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # a group that never was has no members
                return []
            raise translate(error, self._where) from error
        return [f"{member.client_id} @ {member.host}" for member in description.members]

    def refuse_active(self) -> None:
        members = self.members()
        if members:
            named = f"{len(members)} member{'' if len(members) == 1 else 's'}: {', '.join(members[:3])}"
            raise SetupError(
                f"group {self._group} is active ({named}): stop every `processor ingest` of it, then run this again"
            )

    def move(self, targets: Mapping[int, int]) -> None:
        """Commits these offsets by partition for the group. Raises `SetupError` where the group is active."""
        self.refuse_active()
        offsets = [TopicPartition(self._topic, partition, offset) for partition, offset in targets.items()]
        done = self._call_consumer(lambda consumer: consumer.commit(offsets=offsets, asynchronous=False))
        for one in done or ():
            if one.error is not None:
                raise explain(one.error, self._where)
