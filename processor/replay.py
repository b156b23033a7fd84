"""The plan of an offset reset: which offsets the live group would start from. The writing makes any replay harmless.

The options are those of Kafka's own `kafka-consumer-groups --reset-offsets`, so that a person knows them already.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from processor.errors import SetupError, UsageError
from processor.kafka import client_properties, explain, list_topics, translate
from processor.settings import Settings

T = TypeVar("T")

COORDINATOR_PAUSE_SECONDS = 0.2
_COORDINATOR_MOVES = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
    }
)
TIMEOUT_SECONDS = 15.0
_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)


class Bounds(NamedTuple):
    """What a partition holds and where the group stands; `current` is None where it never committed."""

    earliest: int
    latest: int
    current: int | None

    @property
    def lag(self) -> int:
        """Records that the group has yet to read: retention may have deleted some, or the topic been made anew."""
        start = self.earliest if self.current is None else min(max(self.current, self.earliest), self.latest)
        return self.latest - start


class Move(NamedTuple):
    """One line of the plan."""

    partition: int
    current: int | None
    target: int
    latest: int
    note: str = ""

    @property
    def records(self) -> int:
        """How many records will be read again (or for the first time)."""
        return max(0, self.latest - self.target)


def parse_datetime(text: str) -> int:
    """ISO 8601 -> milliseconds; without a zone it is UTC. Raises `UsageError`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no date and time such as 2026-05-01T12:00:00Z") from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return max(0, since // timedelta(milliseconds=1))  # Kafka gives negative timestamps meanings of their own


def parse_duration(text: str) -> timedelta:
    """ISO 8601 duration (P1D, PT2H30M, P1DT12H). Raises `UsageError`."""
    match = _DURATION.fullmatch(text.upper())
    parts = {unit: int(value) for unit, value in match.groupdict().items() if value} if match else {}
    if not parts:
        raise UsageError(f"{text!r} is no ISO 8601 duration such as PT2H30M or P1D")
    try:
        return timedelta(**parts)
    except OverflowError:
        raise UsageError(f"{text!r} is too long ago") from None


def read_plan_file(path: Path, topic: str) -> dict[int, int]:
    """Lines `topic,partition,offset`, as `kafka-consumer-groups --export` writes them. Raises `UsageError`."""
    targets: dict[int, int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or row[0].startswith("#"):
                    continue
                try:
                    name, partition, offset = row[0].strip().strip('"'), int(row[-2]), int(row[-1])
                except (ValueError, IndexError):
                    raise UsageError(f"{path}, line {number}: want topic,partition,offset") from None
                if name != topic:
                    raise UsageError(f"{path}, line {number}: topic {name} is not the raw topic {topic}")
                targets[partition] = offset
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    if not targets:
        raise UsageError(f"{path} holds no line topic,partition,offset")
    return targets


def clamp(partition: int, bounds: Bounds, wanted: int) -> Move:
    """The nearest offset that the partition holds, and a word where that is not the wanted one."""
    target = min(max(wanted, bounds.earliest), bounds.latest)
    note = "" if target == wanted else f"{wanted} is out of range {bounds.earliest}..{bounds.latest}: clamped"
    return Move(partition, bounds.current, target, bounds.latest, note)


def committed_offsets(consumer: Consumer, wanted: list[TopicPartition]) -> list[TopicPartition]:
    """`Consumer.committed`, asked again while the group's coordinator is moving or loading. Raises `KafkaException`."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            found = consumer.committed(wanted, timeout=TIMEOUT_SECONDS)
            for one in found:
                if one.error is not None:
                    raise KafkaException(one.error)
            return found
        except KafkaException as error:
            if error.args[0].code() not in _COORDINATOR_MOVES or time.monotonic() > deadline:
                raise
        time.sleep(COORDINATOR_PAUSE_SECONDS)


class GroupOffsets:
    """The live group's offsets on the raw topic, through Kafka's admin interface."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._group, self._topic = settings, settings.group_id, settings.raw_topic
        self._where = settings.kafka_bootstrap_servers
        self._admin = AdminClient(client_properties(settings))

    def _call(self, future: Any) -> Any:
        try:
            return future.result(TIMEOUT_SECONDS)
        except KafkaException as error:
            raise translate(error, self._where) from error

    def partitions(self) -> list[int]:
        topics = list_topics(self._settings).topics
        if self._topic not in topics:
            raise SetupError(f"Kafka at {self._where} has no topic {self._topic}: run `processor topics create`")
        return sorted(topics[self._topic].partitions)

    def offsets_at(self, partitions: Iterable[int], spec: Any) -> dict[int, int]:
        wanted = {TopicPartition(self._topic, partition): spec for partition in partitions}
        futures = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT_SECONDS
        )
        return {one.partition: self._call(future).offset for one, future in futures.items()}

    def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        """Committed offsets; a partition without one is not in it."""
        wanted = [TopicPartition(self._topic, partition) for partition in partitions]
        found = self._call_consumer(lambda consumer: committed_offsets(consumer, wanted))
        return {one.partition: one.offset for one in found if one.offset >= 0}

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
        earliest = self.offsets_at(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        latest = self.offsets_at(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        current = self.committed(partitions)
        return {one: Bounds(earliest[one], latest[one], current.get(one)) for one in partitions}

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
            raise SetupError(
                f"group {self._group} is active ({len(members)} members: {', '.join(members[:3])}): stop every "
                "`processor ingest` of it, then run this again"
            )

    def apply(self, plan: Sequence[Move]) -> None:
        """Commits the plan for the group. Raises `SetupError` where the group is active."""
        self.refuse_active()
        offsets = [TopicPartition(self._topic, move.partition, move.target) for move in plan]
        done = self._call_consumer(lambda consumer: consumer.commit(offsets=offsets, asynchronous=False))
        for one in done or ():
            if one.error is not None:
                raise explain(one.error, self._where)


def plan_reset(
    group: GroupOffsets,
    choose: Callable[[GroupOffsets, dict[int, Bounds]], dict[int, int]],
    only: Sequence[int] = (),
) -> list[Move]:
    """The moves that `choose` (bounds by partition -> wanted offsets) comes to, for all partitions or `only` these."""
    bounds = group.bounds()
    unknown = set(only) - set(bounds)
    known = ", ".join(map(str, bounds))
    if unknown:
        raise UsageError(f"no partition {', '.join(map(str, sorted(unknown)))}; there are {known}")
    chosen = {partition: bound for partition, bound in bounds.items() if not only or partition in only}
    wanted = choose(group, chosen)
    strange = set(wanted) - set(bounds)
    if strange:
        raise UsageError(f"the file names partition {', '.join(map(str, sorted(strange)))}; there are {known}")
    return [
        clamp(partition, chosen[partition], wanted[partition]) for partition in sorted(chosen) if partition in wanted
    ]


Choice = Callable[[GroupOffsets, dict[int, Bounds]], dict[int, int]]


def to_earliest(_: GroupOffsets, bounds: dict[int, Bounds]) -> dict[int, int]:
    return {partition: bound.earliest for partition, bound in bounds.items()}


def to_latest(_: GroupOffsets, bounds: dict[int, Bounds]) -> dict[int, int]:
    return {partition: bound.latest for partition, bound in bounds.items()}


def to_offset(offset: int) -> Choice:
    return lambda _, bounds: dict.fromkeys(bounds, offset)


def shift_by(number: int) -> Choice:
    """Relative to where the group stands; to where it would begin if it never committed."""
    return lambda _, bounds: {
        partition: (bound.earliest if bound.current is None else bound.current) + number
        for partition, bound in bounds.items()
    }


def to_timestamp(timestamp_ms: int) -> Choice:
    """The first record that is not older; the end where there is none."""

    def choose(group: GroupOffsets, bounds: dict[int, Bounds]) -> dict[int, int]:
        found = group.offsets_at(bounds, OffsetSpec.for_timestamp(timestamp_ms))
        return {one: found[one] if found[one] >= 0 else bounds[one].latest for one in bounds}

    return choose


def from_file(targets: dict[int, int]) -> Choice:
    return lambda _, __: targets
