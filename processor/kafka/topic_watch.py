"""Which topic bears the name just now, asked now and then beside the reading: it may be gone, or made anew."""

from __future__ import annotations

import time
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from processor.core import metrics
from processor.core.settings import KafkaSettings
from processor.kafka.client import client_properties

log = structlog.get_logger(__name__)

WATCH_SECONDS = 2.0
ANSWER_SECONDS = 5.0
#: a topic that is deleted and made again is away for a moment: longer than this is told
MISSING_SECONDS = 5.0
_NO_ID = "A" * 22  # of a broker before KIP-516: all zeros


class TopicWatch:
    """`look` never waits; `topic_id` is the latest answer, "" while nobody knows."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self._admin = AdminClient(client_properties(settings))
        self._asked: Any = None
        self._next = 0.0
        self._missing_since: float | None = None
        self.topic_id = ""
        self.heard_at = time.monotonic()  # when a broker last answered, whatever it said
        self.answered = self.missing = False

    def hurry(self) -> None:
        """Until the next answer, which is to one asked from now on, `answered` is False."""
        self._asked, self._next, self.answered = None, 0.0, False

    def look(self) -> bool:
        """True when an answer has come, be it that there is none."""
        if self._asked is None:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + WATCH_SECONDS
                self._asked = self._ask()
            return False
        if not self._asked.done():
            return False
        asked, self._asked, self.answered = self._asked, None, True
        self._take(asked)
        return True

    def _ask(self) -> Any:
        wanted = TopicCollection([self.topic])
        return self._admin.describe_topics(wanted, request_timeout=ANSWER_SECONDS)[self.topic]

    def _take(self, answer: Any) -> None:
        try:
            found = str(answer.result().topic_id or "")
        except KafkaException as error:
            if error.args[0].code() > 0:  # librdkafka's own, of which nobody answered, are below
                self.heard_at = time.monotonic()
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                self._note_missing()
            return  # a broker that is down, or one that does not let us look
        self.topic_id = "" if found == _NO_ID else found
        self.heard_at = time.monotonic()
        self._missing_since = None
        if self.missing:
            self._show(missing=False)
            log.info("topic_back", topic=self.topic)

    def _note_missing(self) -> None:
        self._missing_since = self._missing_since or time.monotonic()
        away_s = time.monotonic() - self._missing_since
        if not self.missing and away_s >= MISSING_SECONDS:
            self._show(missing=True)
            metrics.OUTAGES.labels("raw_topic").inc()
            log.warning("topic_missing", topic=self.topic, for_s=round(away_s))

    def _show(self, *, missing: bool) -> None:
        self.missing = missing
        metrics.OUTAGE.labels("raw_topic").set(missing)
