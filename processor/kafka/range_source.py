"""A source over fixed ranges of a topic, read beside every group.

It assigns partitions to itself and never subscribes, so no group waits for it or moves; progress is committed for a
group of its own. The end is fixed when it starts: what is
written later is not read, so that a growing topic ends too. An end may be an offset that is never delivered (a
transaction marker, a compacted record); a partition is done when its reader stands there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from processor.core.errors import FatalError, TransientError
from processor.core.messages import NextOffsets, RawRecord
from processor.core.settings import KafkaSettings
from processor.kafka.brokers import Brokers
from processor.kafka.client import ends_client, explain, translate
from processor.kafka.intake import Intake
from processor.kafka.offsets import held_offsets
from processor.kafka.ranges import Range, open_consumer
from processor.kafka.refused import is_refused, why_refused
from processor.kafka.unconfirmed import Unconfirmed

log = structlog.get_logger(__name__)

_LOST_CODES = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._LOG_TRUNCATION})


class RangeSource:
    """A source over fixed ranges, for the pipeline or for `read`.

    It is `finished` only once everything that was handed out has come back as committed. Without a `progress_group`
    nothing is ever committed to Kafka.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        ranges: Sequence[Range],
        *,
        progress_group: str | None = None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._topic, self._where = topic, settings.kafka_bootstrap_servers
        self._ranges, self._remember, self._tell = ranges, progress_group is not None, tell
        self._left = {one.partition: one for one in ranges if one.at < one.end}
        self._handed: dict[int, int] = {}
        self._safe: dict[int, int] = {}
        self._brokers = Brokers(self._where)
        self._unconfirmed = Unconfirmed()
        self._paused = False
        self._held_back: set[int] = set()
        self._failure: KafkaError | None = None
        self.notes: list[str] = []
        self._consumer = open_consumer(
            settings,
            progress_group or f"{settings.group_id}-reader",
            error_cb=self._on_error,
            on_commit=self._unconfirmed.answered,
        )
        self._intake = Intake(self._consumer, self._keep)
        self._consumer.assign([TopicPartition(self._topic, one.partition, one.at) for one in self._left.values()])

    @property
    def finished(self) -> bool:
        return not self._left and self._handed == self._safe

    @property
    def done(self) -> int:
        """Offsets of the ranges that need not be read again, those of earlier runs included."""
        return sum(self._done_of(one) for one in self._ranges)

    def _done_of(self, one: Range) -> int:
        safe = self._safe.get(one.partition)
        if one.partition not in self._left and safe == self._handed.get(one.partition):
            return one.size
        return (one.at if safe is None else safe) - one.begin

    def poll(self, limit: int, timeout_s: float) -> list[RawRecord] | None:
        """At most `limit` records, none while paused, None at the end.

        Raises `FatalError` when the ranges can never be read to their end.
        """
        if not self._left:
            return None
        self._brokers.seek(self._consumer, self._topic)
        if self._unconfirmed.due:
            self._send(wait=False)
        if self._paused:
            time.sleep(min(timeout_s, 0.02))
            return []
        try:
            records = self._intake.take(limit, timeout_s)
            if self._failure is not None:
                raise explain(self._failure, self._where)
            return records or []
        except KafkaException as error:
            raise translate(error, self._where) from error

    def _keep(self, message: Message) -> bool:
        if message.error() is not None:
            self._judge(message)
            return False
        partition, offset = message.partition() or 0, message.offset() or 0
        one = self._left.get(partition)
        if one is None:  # prefetched before its partition was done
            return False
        if offset < one.end:
            self._handed[partition] = offset + 1
        if offset + 1 >= one.end:
            self._finish(partition)
        return offset < one.end

    def _finish(self, partition: int) -> None:
        del self._left[partition]
        self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def _judge(self, message: Message) -> None:
        """What comes in place of a record: an end, a start that is gone, or an error that librdkafka tries again."""
        error, offset = message.error(), message.offset() or 0
        code, one = error.code() if error else None, self._left.get(message.partition() or 0)
        if code == KafkaError._PARTITION_EOF:
            if one is not None and offset < one.end:
                raise self._cut(one, offset)
            if one is not None:
                self._finish(one.partition)
        elif code == KafkaError._AUTO_OFFSET_RESET:
            if one is not None:
                self._go_on_from_first(one, offset)
        elif code in _LOST_CODES:
            raise FatalError(f"topic {self._topic} at {self._where} is gone, or was made anew")
        elif is_refused(message):
            raise FatalError(f"{self._topic} at {self._where}: {why_refused(message)}")
        elif error is not None:
            problem = explain(error, self._where)
            if not isinstance(problem, TransientError):
                raise problem
            log.warning("kafka_error", cause=str(problem))

    def _go_on_from_first(self, one: Range, offset: int) -> None:
        """Retention took records away before they were read: says so and goes on with the first that is left."""
        at = TopicPartition(self._topic, one.partition)
        first, end = held_offsets(self._consumer, at)
        if offset >= first:
            raise self._cut(one, end)
        note = f"partition {one.partition}: {offset}..{min(first, one.end)} was deleted by retention before it was read"
        log.warning("records_gone", note=note)
        self.notes.append(note)
        self._finish(one.partition)
        if first < one.end:
            self._left[one.partition] = one
            self._consumer.incremental_assign([TopicPartition(self._topic, one.partition, first)])

    def _cut(self, one: Range, end: int) -> FatalError:
        return FatalError(
            f"partition {one.partition} of {self._topic} ends at {end} now, where it reached {one.end} before: the "
            "topic was made anew or lost records; the same command again reads what is there"
        )

    def _on_error(self, error: KafkaError) -> None:
        self._brokers.note(error)
        if ends_client(error, self._where):
            self._failure = error

    def commit(self, next_offsets: NextOffsets, *, wait: bool) -> None:
        """Remembers progress; a failure is logged, not raised: what is written is recognised when read again."""
        self._safe.update({partition: offset for (_, partition), offset in next_offsets.items()})
        self._tell(self.done)
        if self._remember:
            self._unconfirmed.add(next_offsets)
            self._send(wait=wait)

    def _send(self, *, wait: bool) -> None:
        offsets = [TopicPartition(*place, offset) for place, offset in self._unconfirmed.offsets.items()]
        self._unconfirmed.send(self._consumer, offsets, wait=wait)

    def pause(self, partitions: Collection[int] | None) -> None:
        """Reading of all just stops: what was prefetched stays, and there is no group membership to keep."""
        self._paused = partitions is None
        wanted = set(partitions or ()) & self._left.keys()
        held_back, self._held_back = self._held_back & self._left.keys(), wanted
        if wanted - held_back:
            self._consumer.pause([TopicPartition(self._topic, one) for one in wanted - held_back])
        if held_back - wanted:
            self._consumer.resume([TopicPartition(self._topic, one) for one in held_back - wanted])

    def close(self) -> None:
        self._consumer.close()


def read(source: RangeSource, limit: int = 500) -> Iterator[Sequence[RawRecord]]:
    """All records of the source, for those who only read; what was taken counts as done when more is asked for."""
    while (records := source.poll(limit, 0.2)) is not None:
        if records:
            yield records
            source.commit({(one.topic, one.partition): one.offset + 1 for one in records}, wait=False)
