"""What intake, outlet and replay share of librdkafka: client properties, and the one place where its errors are sorted.

Sorted by librdkafka's own flags and codes, never by text.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from processor.errors import FatalError, ProcessorError, SetupError, TransientError
from processor.settings import Settings

#: waiting does not help with these; a person has to act
_SETUP_CODES = {
    KafkaError._AUTHENTICATION: "the broker refuses the user or password; check PROCESSOR_KAFKA_OPTIONS",
    KafkaError.SASL_AUTHENTICATION_FAILED: "the broker refuses the user or password; check PROCESSOR_KAFKA_OPTIONS",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user may not use the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the user may not use the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the user may not do this in the cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the user may not use the relay's transactional id",
    KafkaError._SSL: "the TLS handshake failed; check PROCESSOR_KAFKA_OPTIONS",
    KafkaError.UNRELEASED_INSTANCE_ID: "another process still holds PROCESSOR_GROUP_INSTANCE_ID",
    KafkaError.FENCED_INSTANCE_ID: "another process took over PROCESSOR_GROUP_INSTANCE_ID",
}
logging.getLogger("processor.librdkafka").setLevel(logging.CRITICAL)


def client_properties(settings: Settings, **own: Any) -> dict[str, Any]:
    """Properties of a librdkafka client; what the user set in KAFKA_OPTIONS wins over our choices."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": settings.group_id,
        "logger": logging.getLogger("processor.librdkafka"),  # its errors reach us by callbacks
        "reconnect.backoff.max.ms": 2000,
        **own,
        **settings.kafka_options,
    }


def explain(error: KafkaError, where: str) -> ProcessorError:
    """The exception of ours that stands for an error of librdkafka's."""
    code = error.code()
    if code in _SETUP_CODES:
        return SetupError(f"Kafka at {where}: {_SETUP_CODES[code]} ({error.name()})")
    if error.fatal():
        return FatalError(f"Kafka client at {where} cannot go on: {error.str()} ({error.name()})")
    return TransientError(f"Kafka at {where}: {error.str()} ({error.name()})")


def translate(error: KafkaException, where: str) -> ProcessorError:
    return explain(error.args[0], where)


def raw_headers(headers: Any) -> tuple[tuple[str, bytes | None], ...]:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers) if headers else ()
