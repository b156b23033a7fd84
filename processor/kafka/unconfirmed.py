"""Offsets that a source commits, until the broker confirms them: what is not confirmed is sent again.

A commit may come to nothing in three ways: it fails as a whole, for one partition of several (which librdkafka tells in
that partition only), or it is never answered, as one that waited for a coordinator that went away. Where no more
records come nothing else would send it, and lag would stay in sight for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processor.core.messages import TopicPartition as Partition

log = structlog.get_logger(__name__)

#: how soon after a failure, or while what is remembered with an offset is being read
AGAIN_SECONDS = 0.5
#: how long an answer may take: less is asked of librdkafka than of a broker (`socket.timeout.ms` is 60 s), which may
#: have lost the request; sending the same offsets twice harms nothing
UNANSWERED_SECONDS = 10.0


class Unconfirmed:
    """Of one consumer; called by the thread that polls."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offsets: dict[Partition, int] = {}
        self._again_at = 0.0
        self._failing = False

    @property
    def offsets(self) -> Mapping[Partition, int]:
        return self._offsets

    @property
    def due(self) -> bool:
        return bool(self._offsets) and self._clock() >= self._again_at

    def add(self, offsets: Mapping[Partition, int]) -> None:
        self._offsets.update(offsets)

    def send(self, consumer: Consumer, offsets: Sequence[TopicPartition], *, wait: bool) -> None:
        """Commits these, of all that are not confirmed: what is held back is soon tried again.

        A failure is logged, not raised: what is written is written, and recognised when it is read again.
        """
        complete = len(offsets) == len(self._offsets)
        self._again_at = self._clock() + (UNANSWERED_SECONDS if complete and not self._failing else AGAIN_SECONDS)
        if not offsets:
            return
        try:
            if not wait:  # the client's types tell the two calls apart
                consumer.commit(offsets=list(offsets), asynchronous=True)
                return
            found = consumer.commit(offsets=list(offsets), asynchronous=False)
        except KafkaException as error:
            self.answered(error.args[0], ())
            return
        self.answered(None, found or ())

    def answered(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        """What became of a commit: what librdkafka hands to `on_commit`, or what a commit that waited returned."""
        failure = error or next((one.error for one in offsets if one.error is not None), None)
        if failure is None or failure.code() == KafkaError._NO_OFFSET:
            self._failing = False
        else:
            if not self._failing:  # one line, not a thousand
                log.warning("commit_failed", cause=failure.str(), code=failure.name())
            self._failing = True
            self._again_at = self._clock() + AGAIN_SECONDS
        for one in offsets if error is None else ():
            place = (one.topic, one.partition)
            # equal, not at least: of a topic made anew the next one may be lower
            if one.error is None and self._offsets.get(place) == one.offset:
                del self._offsets[place]

    def forget(self, places: Collection[Partition]) -> None:
        """Partitions that went away: committing them is another's."""
        for place in places:
            self._offsets.pop(place, None)
