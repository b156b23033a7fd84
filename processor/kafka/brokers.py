"""Whether all brokers are gone: told when it begins and when it ends, and how a client finds them again."""

from __future__ import annotations

import math
import time

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from processor.core.errors import FatalError

log = structlog.get_logger(__name__)

#: after all brokers were gone: how often they are asked for, how long an answer may take, and how long the client may
#: hear nothing of brokers that answer another one
SEEK_SECONDS, SEEK_ANSWER_SECONDS, DEAF_SECONDS = 2.0, 1.0, 60.0


class Brokers:
    """The brokers of one client. It says of them again and again that all are down: here that is one outage.

    An outage ends with the second answer in a row: a broker that starts comes and goes, and what the client said of it
    before the first answer is heard behind it.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._away_since: float | None = None
        self._answered_at: float | None = None
        self._deaf_since: float | None = None
        self._seek_at = 0.0

    @property
    def away(self) -> bool:
        return self._away_since is not None

    def note(self, error: KafkaError) -> None:
        """For the client's `error_cb`."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            return
        self._answered_at = None
        if not self.away:
            self._away_since = time.monotonic()
            log.warning("waiting_for_kafka", servers=self._where)

    def seek(self, consumer: Consumer, topic: str, others_heard_at: float = -math.inf) -> None:
        """Once all brokers were gone librdkafka (2.16) may never look for them again: a question makes it do so.

        Seen with KIP-848, one time in some thirty that a broker was away for half a minute on a busy machine: no
        record, no commit, no attempt to connect for as long as the process lived, and `close` waited for ever (probably
        librdkafka's issue 5301: a broker that starts tells of none, and the client forgets those it knew).

        `others_heard_at` is when another client of this process was last answered; without one, brokers are waited for
        without an end. Raises `FatalError` where even asking does not help: only a new process does.
        """
        now = time.monotonic()
        if self._away_since is None or now < self._seek_at:
            return
        self._seek_at = now + SEEK_SECONDS
        try:
            consumer.list_topics(topic, timeout=SEEK_ANSWER_SECONDS)
        except KafkaException:
            self._answered_at = None
            answers_others = now - others_heard_at < 2 * SEEK_SECONDS
            self._deaf_since = (self._deaf_since or now) if answers_others else None
            if self._deaf_since is not None and now - self._deaf_since > DEAF_SECONDS:
                raise FatalError(
                    f"Kafka at {self._where} answers, but the group's client does not find it again: "
                    "only a new process helps"
                ) from None
            return
        self._deaf_since = None
        if self._answered_at is None:
            self._answered_at = now
            return
        log.info("kafka_back", after_s=round(self._answered_at - self._away_since, 1))
        self._away_since = self._answered_at = None
