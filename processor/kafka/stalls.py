"""Partitions that are to be read, hold more and bring nothing: told, and given back to the client.

librdkafka may lose a partition in many ways (a pause that is kept over a rebalance was one), and all of them look alike
from outside: assigned, lag, no record, no error. What helps is to take the partition from it and to give it back, at
the offset that comes next: whatever it held of it is forgotten by that, and nothing is read twice or left out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from processor.core import metrics
from processor.core.messages import TopicPartition as Partition

log = structlog.get_logger(__name__)

#: how often it is looked, and how long an answer may take
LOOK_SECONDS, ANSWER_SECONDS = 10.0, 1.0
#: nothing for so long is a stall; where giving the partition back does not help it is tried again after twice as long
STALL_SECONDS, MOST_SECONDS = 60.0, 3600.0


class _Behind:
    """A partition that holds more than it has brought."""

    def __init__(self, offset: int, now: float) -> None:
        self.offset, self.since = offset, now
        self.patience, self.next = STALL_SECONDS, now + STALL_SECONDS
        self.told = False


class Stalls:
    """Of one consumer."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._stood: dict[Partition, int] = {}
        self._behind: dict[Partition, _Behind] = {}
        self._look_at = 0.0

    def __bool__(self) -> bool:
        return any(one.told for one in self._behind.values())

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._look_at

    def look(self, standing: Mapping[Partition, int]) -> list[Partition]:
        """Which partitions the client is to be given back.

        `standing` are those that are to be read just now, with the offset that comes next. Kafka is asked about those
        that have not moved since the last look, all in one question.
        """
        now = time.monotonic()
        if now > self._look_at + LOOK_SECONDS:  # nobody polled: what has not moved says nothing
            self._stood = {}
        self._look_at = now + LOOK_SECONDS
        still = {place: offset for place, offset in standing.items() if self._stood.get(place) == offset}
        self._stood = dict(standing)
        ends = self._ends(still)
        if ends is None:
            return []
        self._forget(self._behind.keys() - {place for place, end in ends.items() if end > still[place]}, now)
        for place, end in ends.items():
            if end > still[place]:
                metrics.LAG.labels(str(place[1])).set(end - still[place])
                self._behind.setdefault(place, _Behind(still[place], now))
        stalled = [place for place, one in self._behind.items() if now >= one.next]
        for place in stalled:
            self._tell(place, ends[place], now)
        self._show()
        return stalled

    def _ends(self, places: Mapping[Partition, int]) -> dict[Partition, int] | None:
        """Of each the offset behind its last record; None where nobody answers."""
        if not places:
            return {}
        wanted = [TopicPartition(*place, OFFSET_END) for place in places]
        try:
            found = self._consumer.offsets_for_times(wanted, timeout=ANSWER_SECONDS)
        except KafkaException:
            return None
        return {(one.topic, one.partition): one.offset for one in found if one.error is None}

    def _tell(self, place: Partition, end: int, now: float) -> None:
        one = self._behind[place]
        if not one.told:
            metrics.OUTAGES.labels("stalled").inc()
            metrics.LAST_ERROR.set_to_current_time()
            log.error("partition_stalled", partition=place[1], offset=one.offset, end=end, for_s=round(now - one.since))
        one.told = True
        one.patience = min(MOST_SECONDS, 2 * one.patience)
        one.next = now + one.patience

    def _forget(self, places: set[Partition], now: float) -> None:
        """These have moved, have no more, or are not to be read just now."""
        for place in places:
            one = self._behind.pop(place)
            if one.told:
                log.info("partition_read_again", partition=place[1], after_s=round(now - one.since))

    def given_up(self, places: set[Partition]) -> None:
        """These partitions are somebody else's now."""
        for place in places & self._behind.keys():
            del self._behind[place]
        self._show()

    def _show(self) -> None:
        metrics.OUTAGE.labels("stalled").set(sum(one.told for one in self._behind.values()))
