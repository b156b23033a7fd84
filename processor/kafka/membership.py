"""How a consumer is a member of its group: by which protocol, and with which properties."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from processor.core.settings import KafkaSettings
from processor.kafka.client import METADATA_SECONDS, client_properties, prefetch_properties, translate

#: a killed process must not hold its partitions longer than this (the broker's default for KIP-848 groups is 45 s)
ACCEPTABLE_SESSION_MS = 10_000
_NOT_TOLD = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.INVALID_REQUEST,
    }
)


class Subscription(NamedTuple):
    """What a group reads, and how: a topic from where the group stands, or from `start` where it never committed.

    `protocol` is `consumer` (KIP-848) or `classic` (cooperative-sticky); `session_timeout_ms` is for the latter.
    `instance_id` makes the membership static (KIP-345). At most `prefetch_bytes` are read ahead.
    """

    topic: str
    group: str
    start: Literal["earliest", "latest"] = "earliest"
    protocol: str = "classic"
    instance_id: str | None = None
    session_timeout_ms: int = 6000
    prefetch_bytes: int = 32 * 1024 * 1024


def choose_protocol(settings: KafkaSettings) -> str:
    """`consumer` (KIP-848) where the broker has it and frees a killed member's partitions soon enough, else `classic`.

    Raises `TransientError` when the broker does not answer.

    With KIP-848 the session timeout is the broker's: 45 s by default, so long would a killed ingest block its
    successor. With the classic protocol it is ours (SESSION_TIMEOUT_MS).
    """
    try:
        admin = AdminClient(client_properties(settings))
        broker = next(iter(admin.list_topics(timeout=METADATA_SECONDS).brokers))
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
        configs = admin.describe_configs([resource], request_timeout=METADATA_SECONDS)[resource].result()
        protocols = configs["group.coordinator.rebalance.protocols"].value
        session_ms = int(configs["group.consumer.session.timeout.ms"].value)
    except (KeyError, StopIteration):  # an older broker
        return "classic"
    except KafkaException as error:
        if error.args[0].code() in _NOT_TOLD:  # or one that does not let us look
            return "classic"
        raise translate(error, settings.kafka_bootstrap_servers) from error
    return "consumer" if "consumer" in protocols and session_ms <= ACCEPTABLE_SESSION_MS else "classic"


def consumer_properties(settings: KafkaSettings, subscription: Subscription) -> dict[str, Any]:
    """Properties of a consumer that commits what it is told to, and nothing by itself."""
    session_ms = subscription.session_timeout_ms
    own: dict[str, Any] = {
        "group.id": subscription.group,
        "group.protocol": subscription.protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # a place that is gone is told before another is taken, see `standing`
        "allow.auto.create.topics": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": False,
        "fetch.wait.max.ms": 100,
        "fetch.error.backoff.ms": 50,
        **prefetch_properties(subscription.prefetch_bytes),
        "max.poll.interval.ms": 300_000,
    }
    if subscription.protocol == "classic":
        own["partition.assignment.strategy"] = "cooperative-sticky"
        own["session.timeout.ms"] = session_ms
        own["heartbeat.interval.ms"] = max(200, session_ms // 3)
    if subscription.instance_id:
        own["group.instance.id"] = subscription.instance_id
    return client_properties(settings, **own)
