"""The sources that a pipeline may have, opened on a test's topic, and reading from them as a pipeline does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from processor.core import metrics
from processor.core.messages import RawRecord
from processor.core.settings import Settings
from processor.kafka.group_source import GroupSource
from processor.kafka.membership import Subscription
from processor.kafka.offsets import GroupOffsets
from processor.kafka.range_source import RangeSource
from processor.kafka.ranges import Edge, Progress, find_ranges
from processor.pipeline.ports import Source
from tests.factories import produce
from tests.support.patience import patient

Place = tuple[int, int]  # partition, offset
PARTITIONS = 4  # of a test's topics
PATIENCE_SECONDS = 30.0
QUIET_SECONDS = 0.6


def open_group(settings: Settings, topic: str, group: str, **how: Any) -> GroupSource:
    return GroupSource(settings, Subscription(topic, group, **how), lambda _partitions, lost: None)


def open_range(settings: Settings, topic: str, group: str) -> RangeSource:
    """Over all that the topic holds now, from where the group's progress is."""
    ranges = find_ranges(settings, topic, (Edge("open"), Edge("open")))
    return RangeSource(settings, topic, Progress(settings, topic, group).resume(ranges), progress_group=group)


def is_assigned() -> bool:
    return metrics.REGISTRY.get_sample_value("processor_assigned_partitions") == PARTITIONS


class Kind(NamedTuple):
    """A source: how it is opened, what a poll gives when all is read, and whether it has its partitions by now."""

    open: Callable[[Settings, str, str], Source]
    at_end: list[RawRecord] | None
    is_assigned: Callable[[], bool]


KINDS = {
    "classic": Kind(lambda *where: open_group(*where, protocol="classic"), [], is_assigned),
    "consumer": Kind(lambda *where: open_group(*where, protocol="consumer"), [], is_assigned),
    "range": Kind(open_range, None, lambda: True),
}


@contextmanager
def closing(source: Source) -> Iterator[Source]:
    try:
        yield source
    finally:
        source.close()


def send(settings: Settings, topic: str, *numbers: int) -> list[Place]:
    """So many records to each partition; where they are, if nothing else was sent."""
    for partition, number in enumerate(numbers):
        values = [("key", b"%d/%d" % (partition, place)) for place in range(number)]
        if values:
            produce(settings.kafka_bootstrap_servers, topic, values, partition=partition)
    return [(partition, offset) for partition, number in enumerate(numbers) for offset in range(number)]


def polls(source: Source, limit: int, number: int) -> list[list[RawRecord]]:
    """What each poll brought, until they brought so many records."""
    brought: list[list[RawRecord]] = []
    deadline = time.monotonic() + patient(PATIENCE_SECONDS)
    while sum(map(len, brought)) < number:
        assert time.monotonic() < deadline, f"{number} records never came, only {sum(map(len, brought))}"
        brought.append(list(source.poll(limit, 0.1) or ()))
    return brought


def read(source: Source, number: int, limit: int = 100) -> list[RawRecord]:
    """Polls until it has so many records."""
    return [record for brought in polls(source, limit, number) for record in brought]


def read_rest(source: Source) -> list[RawRecord]:
    """What comes before a while without any."""
    records: list[RawRecord] = []
    while brought := source.poll(100, QUIET_SECONDS):
        records += brought
    return records


def places(records: Sequence[RawRecord]) -> list[Place]:
    """Sorted by partition only: within one, in the order in which they came."""
    return sorted(((one.partition, one.offset) for one in records), key=lambda place: place[0])


def commit(source: Source, records: Sequence[RawRecord], *, wait: bool = True) -> None:
    source.commit({(one.topic, one.partition): one.offset + 1 for one in records}, wait=wait)


def committed(settings: Settings, topic: str, group: str) -> dict[int, int]:
    """As the broker says it to anybody who asks; without the partitions of which no record was read.

    Their beginning may have been committed by the group itself, as the position that it has reached.
    """
    offsets = GroupOffsets(settings.model_copy(update={"group_id": group}), topic).committed(range(PARTITIONS))
    return {partition: offset for partition, offset in offsets.items() if offset > 0}
