"""Whether Kafka would remove reports of the past: a record's age counts from its own timestamp."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from cerebros_client.backfill.items import Item
from cerebros_client.transport import Target

log = logging.getLogger(__name__)
_ANSWER_S = 10.0
_DAY_MS = 86_400_000


def retention_ms(target: Target) -> int | None:
    """How long the raw topic keeps records; None for ever, over a gateway, and where nobody says."""
    if target.over_http:
        return None
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

    resource = ConfigResource(ResourceType.TOPIC, target.topic)
    properties: dict[str, Any] = {
        **target.options,
        "bootstrap.servers": target.url.removeprefix("kafka://"),
        "log_level": 2,
        "error_cb": lambda _: None,
    }
    try:
        admin = AdminClient(properties)
        found = admin.describe_configs([resource], request_timeout=_ANSWER_S)[resource].result()
        kept = int(found["retention.ms"].value)
    except (KafkaException, KeyError, TypeError, ValueError):
        return None
    return kept if kept >= 0 else None


def watch_age(target: Target) -> Callable[[Item], None]:
    """To be called with each item: warns once, at the first that is older than the topic keeps."""
    kept, told = retention_ms(target), False

    def look(item: Item) -> None:
        nonlocal told
        if kept is not None and not told and item.at_ms < time.time() * 1000 - kept:
            told = True
            log.warning(
                "reports are older than the %.3g days that topic %s keeps: Kafka may remove them before ingest has "
                "read them. Have ingest running, or set retention.ms=-1 until it has",
                kept / _DAY_MS,
                target.topic,
            )

    return look
