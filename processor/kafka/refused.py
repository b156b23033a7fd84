"""Batches that the client refuses each time it reads them: their partition stands still until somebody acts."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from confluent_kafka import KafkaError, Message

from processor.core import metrics
from processor.core.messages import RawRecord, TopicPartition

log = structlog.get_logger(__name__)

#: what librdkafka says in place of a batch that it can't unpack, and then reads it again, for ever
REFUSED_CODES = frozenset(
    {
        KafkaError._BAD_COMPRESSION,
        KafkaError._BAD_MSG,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }
)


def is_refused(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() in REFUSED_CODES


def why_refused(message: Message) -> str:
    """One sentence: which batch, and what an operator can do about it."""
    error, partition, offset = message.error(), message.partition(), message.offset() or 0
    name = error.name() if error is not None else ""
    return (
        f"the client can't unpack the batch at offset {offset} of partition {partition} ({name}): where it is larger "
        'than receive.message.max.bytes (100 MB) raise that, PROCESSOR_KAFKA_OPTIONS={"receive.message.max.bytes": '
        "1000000000}; where it is damaged skip it, with every ingest stopped: processor replay "
        f"--partition {partition} --to-offset {offset + 1} --execute (further on if the batch holds more records)"
    )


class Refusals:
    """The partitions that stand still for it: told once each, counted as an outage while it lasts."""

    def __init__(self) -> None:
        self._offsets: dict[TopicPartition, int] = {}

    def __bool__(self) -> bool:
        return bool(self._offsets)

    def stop(self, place: TopicPartition) -> bool:
        return place in self._offsets

    def note(self, message: Message) -> None:
        place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
        if self._offsets.get(place) == offset:
            return
        self._offsets[place] = offset
        metrics.OUTAGES.labels("kafka_fetch").inc()
        metrics.LAST_ERROR.set_to_current_time()
        self._show()
        log.error("batch_refused", partition=place[1], offset=offset, cause=why_refused(message))

    def read(self, records: Sequence[RawRecord]) -> None:
        """These were read: a batch that they are of, or that they lie behind, stands in the way no longer."""
        for record in records:
            place = (record.topic, record.partition)
            if place in self._offsets and record.offset >= self._offsets[place]:
                log.info("batch_read", partition=record.partition, offset=self._offsets[place])
                self.forget({place})

    def forget(self, places: set[TopicPartition]) -> None:
        """These partitions are somebody else's now."""
        for place in places:
            self._offsets.pop(place, None)
        self._show()

    def _show(self) -> None:
        metrics.OUTAGE.labels("kafka_fetch").set(len(self._offsets))
