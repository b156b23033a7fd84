"""Whether all brokers are gone: told when it begins and when it ends, and how a client finds them again."""

from __future__ import annotations

import math
import time

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from processor.core import metrics
from processor.core.errors import FatalError

log = structlog.get_logger(__name__)

#: after all brokers were gone: how often they are asked for, how long an answer may take, and how long the client may
#: hear nothing of brokers that answer another one
SEEK_SECONDS, SEEK_ANSWER_SECONDS, DEAF_SECONDS = 2.0, 1.0, 60.0
#: another client of this process that has heard nothing for so long gives reason to ask: brokers that hang close no
#: connection, and this one's requests may wait for a minute. It is more than two of the other one's questions take
SILENT_SECONDS = 15.0


class Brokers:
    """The brokers of one client. It says of them again and again that all are down: here that is one outage.

    It says so too where idle connections were closed: an outage begins with the first question that nobody answers. It
    ends with the second answer in a row: a broker that starts comes and goes, and what the client said of it before the
    first answer is heard behind it.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._away_since: float | None = None
        self._answered_at: float | None = None
        self._deaf_since: float | None = None
        self._seek_at = 0.0
        self.doubted = False  # there is reason to ask whether they are there

    @property
    def away(self) -> bool:
        return self._away_since is not None

    def note(self, error: KafkaError) -> None:
        """For the client's `error_cb`."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._answered_at, self.doubted = None, True

    def seek(self, consumer: Consumer, topic: str, others_heard_at: float = math.inf) -> None:
        """Asks for them while there is reason to, so that an outage is told however idle the client is.

        Once all brokers were gone librdkafka (2.16) may never look for them again: a question makes it do so. Seen with
        KIP-848, one time in some thirty that a broker was away for half a minute on a busy machine: no record, no
        commit, no attempt to connect for as long as the process lived, and `close` waited for ever (probably
        librdkafka's issue 5301: a broker that starts tells of none, and the client forgets those it knew).

        `others_heard_at` is when another client of this process was last answered; without one, brokers are waited for
        without an end. Raises `FatalError` where even asking does not help: only a new process does.
        """
        now = time.monotonic()
        self.doubted = self.doubted or now - others_heard_at > SILENT_SECONDS
        if not self.doubted or now < self._seek_at:
            return
        self._seek_at = now + SEEK_SECONDS
        try:
            consumer.list_topics(topic, timeout=SEEK_ANSWER_SECONDS)
        except KafkaException:
            self._answered_at = None
            self._begin(now)
            answers_others = 0 <= now - others_heard_at < 2 * SEEK_SECONDS
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
        else:
            self._end(self._answered_at)

    def _begin(self, now: float) -> None:
        if self._away_since is None:
            self._away_since = now
            metrics.OUTAGES.labels("kafka").inc()
            metrics.OUTAGE.labels("kafka").set(1)
            log.warning("waiting_for_kafka", servers=self._where)

    def _end(self, answered_at: float) -> None:
        if self._away_since is not None:
            metrics.OUTAGE.labels("kafka").set(0)
            log.info("kafka_back", after_s=round(answered_at - self._away_since, 1))
        self.doubted, self._away_since, self._answered_at = False, None, None
