"""Fixed ranges of a topic: which offsets two edges come to, and how far they have been read before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from processor.core.errors import SetupError, UsageError
from processor.core.settings import KafkaSettings
from processor.kafka.client import TIMEOUT_SECONDS, client_properties, prefetch_properties, translate
from processor.kafka.offsets import asked_again, committed_offsets, held_offsets

#: far less than the live source prefetches: a replay shares the machine with it
PREFETCH_BYTES = 8 * 1024 * 1024
#: for a moment later than every record
_AFTER_ALL = -1


class Edge(NamedTuple):
    """One side of what is to be read; `value` is an offset, or milliseconds since the epoch."""

    kind: Literal["open", "offset", "moment"]
    value: int = 0


class Range(NamedTuple):
    """What is to be read of a partition: `begin` to before `end`; reading starts `at`, below it all was done before."""

    partition: int
    begin: int
    end: int
    at: int
    note: str = ""

    @property
    def size(self) -> int:
        """Offsets, which are a few more than records where the topic is compacted or written by transactions."""
        return self.end - self.begin


def open_consumer(settings: KafkaSettings, group_id: str, **callbacks: Any) -> Consumer:
    """A consumer that never commits by itself; what keeps it away from the live group wins over KAFKA_OPTIONS."""
    return Consumer(
        {
            **client_properties(
                settings,
                **{
                    **prefetch_properties(PREFETCH_BYTES),
                    "fetch.wait.max.ms": 100,
                },
            ),
            "group.id": group_id,
            "group.protocol": "classic",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "error",  # a start that retention took away is to be said, not jumped over
            "max.poll.interval.ms": 86_400_000,  # in a long outage there is no group to be thrown out of
            **callbacks,
        }
    )


def find_ranges(settings: KafkaSettings, topic: str, edges: tuple[Edge, Edge], only: Sequence[int] = ()) -> list[Range]:
    """The range of each partition (or of `only` these), fixed now, from the first edge up to and without the second.

    Raises `UsageError` for a partition there is not, `SetupError` for a topic there is not.
    """
    where = settings.kafka_bootstrap_servers
    consumer = open_consumer(settings, f"{settings.group_id}-reader")
    try:
        found = consumer.list_topics(timeout=TIMEOUT_SECONDS).topics.get(topic)
        if found is None or found.error is not None:
            raise SetupError(f"Kafka at {where} has no topic {topic}: run `processor topics create`")
        there = sorted(found.partitions)
        if unknown := sorted(set(only) - set(there)):
            raise UsageError(f"no partition {', '.join(map(str, unknown))}; there are {', '.join(map(str, there))}")
        chosen = [one for one in there if not only or one in only]
        begins, ends = (_offsets_at(consumer, topic, chosen, edge) for edge in edges)
        ranges = []
        for one in chosen:
            # the end that a read_committed reader can reach: records of an open transaction are not yet there
            first, end = held_offsets(consumer, TopicPartition(topic, one))
            begin, stop = (end if at == _AFTER_ALL else at for at in (begins.get(one, first), ends.get(one, end)))
            ranges.append(clamp_range(one, (first, end), (begin, stop)))
        return ranges
    except KafkaException as error:
        raise translate(error, where) from error
    finally:
        consumer.close()


def _offsets_at(consumer: Consumer, topic: str, partitions: Sequence[int], edge: Edge) -> dict[int, int]:
    """The edge as offsets, `_AFTER_ALL` for a time later than every record; nothing where the edge is open."""
    if edge.kind == "open":
        return {}
    if edge.kind == "offset":
        return dict.fromkeys(partitions, edge.value)
    wanted = [TopicPartition(topic, one, edge.value) for one in partitions]

    def ask() -> list[TopicPartition]:
        found = consumer.offsets_for_times(wanted, TIMEOUT_SECONDS)
        for answer in found:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return found

    found = asked_again(ask)
    return {one.partition: one.offset if one.offset >= 0 else _AFTER_ALL for one in found}


def clamp_range(partition: int, holds: tuple[int, int], wanted: tuple[int, int]) -> Range:
    """The part of the wanted offsets that the partition holds (first, end), and a word where that is less."""
    first, end = holds
    begin = min(max(wanted[0], first), end)
    stop = max(begin, min(wanted[1], end))
    what = f"{begin}..{stop} is read" if begin < stop else "nothing is read"
    note = "" if (begin, stop) == wanted else f"partition {partition} holds {first}..{end}: {what}"
    return Range(partition, begin, stop, begin, note)


class Progress:
    """How far ranges have been written: the committed offsets of a group of their own."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str) -> None:
        self._settings, self._topic, self.group = settings, topic, group

    def resume(self, ranges: Sequence[Range]) -> list[Range]:
        """The ranges, each `at` where the last run left it."""
        consumer = open_consumer(self._settings, self.group)
        try:
            wanted = [TopicPartition(self._topic, one.partition) for one in ranges]
            found = committed_offsets(consumer, wanted)
        except KafkaException as error:
            raise translate(error, self._settings.kafka_bootstrap_servers) from error
        finally:
            consumer.close()
        done = {one.partition: one.offset for one in found}
        return [one._replace(at=min(max(done[one.partition], one.begin), one.end)) for one in ranges]

    def forget(self) -> None:
        """Deletes the group, so that the same window starts anew."""
        admin = AdminClient(client_properties(self._settings))
        try:
            admin.delete_consumer_groups([self.group], request_timeout=TIMEOUT_SECONDS)[self.group].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise translate(error, self._settings.kafka_bootstrap_servers) from error
