"""A Kafka message as librdkafka gives it -> RawRecord."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from processor.core.messages import Headers, RawRecord

#: year 9999, the last that both Postgres' and Python's dates reach; a producer may send any 64-bit number
LATEST_TIMESTAMP_MS = 253_402_300_799_999


def to_record(message: Message) -> RawRecord:
    kind, timestamp = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE or timestamp < 0:
        timestamp = 0
    elif timestamp > LATEST_TIMESTAMP_MS:
        timestamp = LATEST_TIMESTAMP_MS
    return RawRecord(
        message.topic(),  # type: ignore[arg-type] # never None in a record that was read
        message.partition(),  # type: ignore[arg-type]
        message.offset(),  # type: ignore[arg-type]
        timestamp,
        message.key(),
        message.value(),
        raw_headers(message.headers()),
    )


def raw_headers(headers: Any) -> Headers:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers) if headers else ()
