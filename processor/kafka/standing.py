"""Where a group's source stands in each partition: handed out, written, remembered; and what Kafka lost of it.

`auto.offset.reset` is `error`: where the client's place is gone it says so and waits, and the next place is found here,
in the open. Called by the thread that polls, between polls.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from processor.core import metrics
from processor.core.messages import RawRecord
from processor.core.messages import TopicPartition as Partition
from processor.kafka.remembered import Remembered, read_remembered
from processor.kafka.topic_watch import TopicWatch

log = structlog.get_logger(__name__)

#: how long a broker may take to answer, and how soon it is asked again
ASK_SECONDS = 0.5


class Standing:
    """Of one consumer. `start_latest`: where the group never committed it begins at the end."""

    def __init__(self, consumer: Consumer, watch: TopicWatch, *, start_latest: bool = False) -> None:
        self._consumer, self._watch, self._start_latest = consumer, watch, start_latest
        self._handed: dict[Partition, int] = {}
        self._written: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self._floor: dict[Partition, int] = {}
        self._remembered: dict[Partition, Remembered] = {}
        self._unknown: set[Partition] = set()  # what was committed with their offsets is not yet read
        self._astray: dict[Partition, int | None] = {}
        self._anew: set[Partition] = set()
        self._ask_at = 0.0
        self._seen_id = self._told_id = ""

    def assigned(self, places: set[Partition]) -> None:
        self._unknown |= places
        for _, partition in places:
            metrics.RECORDS_GONE.labels(str(partition))  # 0 until some are: see `metrics.KNOWN`

    def given_up(self, places: set[Partition]) -> None:
        self._unknown -= places
        self._anew -= places
        for held in (self._handed, self._written, self._committed, self._floor, self._remembered, self._astray):
            for place in places:
                held.pop(place, None)

    def hand_out(self, records: Iterable[RawRecord]) -> None:
        handed = self._handed
        for record in records:
            handed[record.topic, record.partition] = record.offset + 1

    def went_astray(self, place: Partition, offset: int | None) -> None:
        """The client's offset is not in the partition; None: the group never committed one."""
        self._astray[place] = offset
        if offset is not None:  # first of all: is it still the same topic
            self._watch.hurry()

    @property
    def waiting(self) -> set[Partition]:
        """Partitions that are not to be read on: their topic was made anew, and the old one's records are in hand."""
        return self._anew

    def next_of(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """By partition the offset that the client is to bring next; without those where that is being found out."""
        wanted = [one for one in places if one not in self._unknown | self._anew]
        found = {(one.topic, one.partition): one.offset for one in self._consumer.position(_named(wanted))}
        known = {place: self._handed.get(place, self._committed.get(place)) for place in wanted}
        return {place: max(offset, found[place]) for place, offset in known.items() if offset is not None}

    def give_back(self, place: Partition, offset: int) -> None:
        """Takes the partition from the client, and has it read on there, whatever it held of it, pauses included."""
        self._consumer.incremental_unassign([TopicPartition(*place)])
        self._consumer.incremental_assign([TopicPartition(*place, offset)])
        self._consumer.resume([TopicPartition(*place)])

    def write(self, next_offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """What may be committed once everything below these offsets is written."""
        self._written.update(next_offsets)
        return {place: max(offset, self._floor.get(place, 0)) for place, offset in next_offsets.items()}

    def reached(self) -> dict[Partition, int]:
        """Where the client stands beyond the last record, all before it being written: markers and aborted records."""
        settled = [
            TopicPartition(*place) for place in self._committed if self._is_written(place) and place not in self._astray
        ]
        found = {(one.topic, one.partition): one.offset for one in self._consumer.position(settled)}
        return {place: offset for place, offset in found.items() if offset > self._committed[place]}

    def _is_written(self, place: Partition) -> bool:
        return self._handed.get(place) == self._written.get(place)

    def commits(self, offsets: Mapping[Partition, int]) -> list[TopicPartition]:
        """As they are sent, each with what is remembered; where that is not yet known it would be erased: later."""
        known = {place: offset for place, offset in offsets.items() if place not in self._unknown}
        self._committed.update(known)
        return [
            TopicPartition(*place, offset, self._remembered.get(place, Remembered()).text)
            for place, offset in known.items()
        ]

    def look(self) -> dict[Partition, int]:
        """Finds what has changed, and a new place where the old one is gone; the offsets to be committed for it."""
        answered = self._watch.look()
        if self._unknown and self._watch.answered and time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + ASK_SECONDS
            answered = self._read_committed() or answered
        if answered and self._watch.topic_id:
            self._compare_topic()
        found = {}
        for place in [one for one in self._anew if self._is_written(one)]:
            found.update(self._go_to_beginning(place))
        if self._watch.answered:
            for place in [one for one in self._astray if one not in self._unknown | self._anew]:
                found.update(self._go_on(place))
        return found

    def _read_committed(self) -> bool:
        with contextlib.suppress(KafkaException):  # asked again soon
            found = self._consumer.committed([TopicPartition(*place) for place in self._unknown], timeout=ASK_SECONDS)
            for one in found:
                place = (one.topic, one.partition)
                if one.error is None:
                    remembered = read_remembered(one.metadata)
                    topic_id = remembered.topic_id or self._watch.topic_id
                    self._remembered[place] = remembered._replace(topic_id=topic_id)
                    self._committed.setdefault(place, max(0, one.offset))
                    self._unknown.discard(place)
            return True
        return False

    def _compare_topic(self) -> None:
        now, anew = self._watch.topic_id, set()
        for place, remembered in self._remembered.items():
            if not remembered.topic_id:
                self._remembered[place] = remembered._replace(topic_id=now)
            elif remembered.topic_id != now and place not in self._anew:
                anew.add(place)
        if (anew or self._seen_id not in ("", now)) and self._told_id != now:  # it may hold no partition just now
            self._told_id = now
            metrics.TOPICS_MADE_ANEW.inc()
            were_at = {partition: self._committed.get((topic, partition)) for topic, partition in sorted(anew)}
            log.warning("topic_made_anew", topic=self._watch.topic, were_at=were_at)
        self._seen_id = now
        if anew:
            self._consumer.pause([TopicPartition(*place) for place in anew])
            self._anew |= anew

    def _go_to_beginning(self, place: Partition) -> dict[Partition, int]:
        """The old topic's records are written: on with the first record of the new one."""
        bounds = self._bounds(place)
        if bounds is None:
            return {}
        first, _ = bounds
        remembered = self._remembered[place]._replace(topic_id=self._watch.topic_id)
        self._anew.discard(place)
        if first > 0:
            remembered = self._tell_gone(place, remembered, 0, first)
        return self._set_out(place, first, remembered)

    def _go_on(self, place: Partition) -> dict[Partition, int]:
        """From the first record that is there: what was read before is recognised."""
        bounds = self._bounds(place)
        if bounds is None:
            return {}
        (first, end), offset = bounds, self._astray[place]
        remembered = self._remembered.get(place, Remembered())
        if offset is None:
            return self._set_out(place, end if self._start_latest else first, remembered)
        if offset < first:
            remembered = self._tell_gone(place, remembered, offset, first)
        else:
            log.warning("offset_out_of_range", partition=place[1], offset=offset, first=first, end=end)
        return self._set_out(place, first, remembered)

    def _tell_gone(self, place: Partition, remembered: Remembered, first: int, next_: int) -> Remembered:
        metrics.RECORDS_GONE.labels(str(place[1])).inc(next_ - first)
        log.error("records_gone", partition=place[1], records=next_ - first, first=first, next=next_)
        return remembered.with_gap(first, next_)

    def _set_out(self, place: Partition, offset: int, remembered: Remembered) -> dict[Partition, int]:
        """A seek is refused where the client has lost its place; giving the partition back to it is not."""
        self.give_back(place, offset)
        self._astray.pop(place, None)
        self._handed.pop(place, None)
        self._written.pop(place, None)
        self._floor[place], self._remembered[place] = offset, remembered
        return {place: offset}

    def _bounds(self, place: Partition) -> tuple[int, int] | None:
        with contextlib.suppress(KafkaException):  # asked again soon
            first, end = self._consumer.get_watermark_offsets(TopicPartition(*place), ASK_SECONDS, cached=False)
            return first, end
        return None


def _named(places: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]
