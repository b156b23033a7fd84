"""A Kafka message as librdkafka gives it -> RawRecord; total: whatever a record holds, nothing is raised for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any

import structlog
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from processor.core import metrics
from processor.core.messages import Headers, RawRecord
from processor.core.times import Seldom, timestamp_text

log = structlog.get_logger(__name__)

#: year 9999, the last that both Postgres' and Python's dates reach; a producer may send any 64-bit number
LATEST_TIMESTAMP_MS = 253_402_300_799_999
UNREADABLE_HEADERS = "its headers are not kept: the name of one is not UTF-8"
#: a clock that is further ahead keeps what comes after it from its trials' rows for as long: somebody should know
AHEAD_MS = 5 * 60 * 1000
#: a producer may do it in every record: told in one line of so many seconds, counted always
_TOLD_EVERY_SECONDS = 10.0
#: CPython looks at what a C method returned, and at the error it left behind, only where it has not specialised the
#: call, so not in `message.headers()` once that is warm: the error would come up anywhere, with a holed list in hand
_headers_of: Callable[[Message], Any] = methodcaller("headers")
_unreadable, _ahead = Seldom(_TOLD_EVERY_SECONDS), Seldom(_TOLD_EVERY_SECONDS)


def to_record(message: Message, ahead_ms: float = LATEST_TIMESTAMP_MS) -> RawRecord:
    """Timestamps from `ahead_ms` on are told and counted; they stay as they are, and so does the order they make."""
    kind, timestamp = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE or timestamp < 0:
        timestamp = 0
    elif timestamp > ahead_ms:
        timestamp = min(timestamp, LATEST_TIMESTAMP_MS)
        _tell_ahead(message, timestamp)
    unreadable = ""
    try:
        headers = raw_headers(_headers_of(message))
    except (SystemError, ValueError):
        # confluent-kafka 2.16 wants every name to be UTF-8; a second call would hand out a list with a hole in it,
        # and the process would die of it: what was readable beside the name is lost too
        headers, unreadable = (), UNREADABLE_HEADERS
        _tell_unreadable(message)
    return RawRecord(
        message.topic(),  # type: ignore[arg-type] # never None in a record that was read
        message.partition(),  # type: ignore[arg-type]
        message.offset(),  # type: ignore[arg-type]
        timestamp,
        message.key(),
        message.value(),
        headers,
        unreadable,
    )


def raw_headers(headers: Any) -> Headers:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers) if headers else ()


def _tell_unreadable(message: Message) -> None:
    metrics.UNREADABLE_HEADERS.inc()
    if records := _unreadable.due():
        place = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        log.warning("unreadable_headers", cause=UNREADABLE_HEADERS, records=records, **place)


def _tell_ahead(message: Message, timestamp_ms: int) -> None:
    metrics.TIMESTAMPS_AHEAD.inc()
    if records := _ahead.due():
        place = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        log.warning("timestamp_ahead", timestamp=timestamp_text(timestamp_ms), records=records, **place)
