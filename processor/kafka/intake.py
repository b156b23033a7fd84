"""Records out of a consumer's queue, in portions, so that what one poll brings is bounded in bytes."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, Message

from processor.core.messages import RawRecord, TopicPartition
from processor.kafka.records import AHEAD_MS, to_record

#: what one poll brings at the most, roughly
POLL_BYTES = 4 * 1024 * 1024
#: how many records are taken before their size is looked at: so many may be large ones behind small ones. A portion of
#: 25 costs no more than one of 1000 (0.6 us a record both ways)
PORTION = 25


class Intake:
    """Takes records that the client has fetched; `keep` says which messages are records to hand on.

    `gone` are partitions that a callback gave away while the client was asked: what was taken of them before is
    dropped, as the client drops their neighbours, and whoever has them now reads them again.
    """

    def __init__(self, consumer: Consumer, keep: Callable[[Message], bool]) -> None:
        self._consumer, self._keep = consumer, keep
        self._portion = PORTION
        self.gone: set[TopicPartition] = set()

    def take(self, limit: int, timeout_s: float) -> list[RawRecord] | None:
        """At most `limit` records, fewer where they are large; None where nothing at all came within `timeout_s`.

        At most a portion of large records comes on top of `POLL_BYTES`. Raises `KafkaException`.
        """
        first = self._consumer.poll(timeout_s)  # returns with the first record; consume() would wait for all
        if first is None:
            return None
        self.gone.clear()
        messages, records, size = [first], list[RawRecord](), 0
        ahead_ms = time.time() * 1000 + AHEAD_MS
        while messages:
            part = [to_record(message, ahead_ms) for message in messages if self._keep(message)]
            size += self._measure(part)
            records += part
            wanted = min(self._portion, limit - len(records))
            if wanted < 1 or size >= POLL_BYTES:
                break
            messages = self._consumer.consume(wanted, 0)
            if self.gone:
                records = [one for one in records if (one.topic, one.partition) not in self.gone]
                self.gone.clear()
        return records

    def _measure(self, part: list[RawRecord]) -> int:
        """The size of all; where one is large the next portion is smaller, and grows again behind it."""
        sizes = [record.size for record in part]
        if sizes:
            self._portion = max(1, min(PORTION, POLL_BYTES // max(sizes), self._portion * 2))
        return sum(sizes)
