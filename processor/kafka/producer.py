"""The only producer of the processor, with the outlet around it: settings -> Outlet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from processor.core.errors import TransientError
from processor.core.messages import Destination, Identity
from processor.core.settings import KafkaSettings, RelaySettings
from processor.kafka.client import client_properties, explain, list_topics
from processor.kafka.outlet import Answers, Outlet

#: a producer's own limit; what a topic takes is asked from the broker (max.message.bytes)
DEFAULT_MESSAGE_BYTES = 1_048_588
_NOT_TOLD = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.UNSUPPORTED_VERSION,
    }
)


def open_outlet(settings: RelaySettings, identity: Identity, *, one_by_one: bool = False) -> Outlet:
    """An outlet on a producer of its own, by this name and to these topics, whatever the settings say of them.

    `one_by_one`: no batches, for a broker that refuses some for reasons we could not ask for.

    Raises `TransientError` where the broker does not answer, `SetupError` when a person has to act.
    """
    where = settings.kafka_bootstrap_servers
    topics = {Destination.EVENTS: identity.events_topic, Destination.DEAD_LETTERS: identity.dead_letter_topic}
    limits = ask_limits(settings, topics)
    answers = Answers(where)
    consumer = Consumer(client_properties(settings, **{"group.id": identity.transactional_id}))
    properties = producer_properties(identity.transactional_id, limits.values(), one_by_one=one_by_one)
    callbacks = {"on_delivery": answers.on_delivery, "error_cb": answers.on_error}
    return Outlet(
        Producer(client_properties(settings, **properties, **callbacks)),
        consumer,
        answers,
        topics,
        limits,
        source=settings.event_source,
        where=where,
        list_topics=lambda: list_topics(settings).topics,
        ask_limits=lambda: ask_limits(settings, topics),
    )


def producer_properties(transactional_id: str, limits: Collection[int], *, one_by_one: bool) -> dict[str, Any]:
    """Properties of the relay's producer, for topics that take messages of so many bytes."""
    return {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": 60_000,
        "acks": "all",
        "linger.ms": 5,
        "batch.num.messages": 1 if one_by_one else 10_000,
        # a topic that is gone is told after this long (30 s by default, longer than we wait)
        "topic.metadata.propagation.max.ms": 3000,
        "partitioner": "murmur2_random",  # a run's events in the partition where Java clients expect them
        "message.max.bytes": min(max(limits) + 64 * 1024, 1_000_000_000),
        # a batch is refused as a whole: it must fit the topic that takes least
        "batch.size": min(1_000_000, *limits),
        "queue.buffering.max.messages": 200_000,
        "delivery.report.only.error": True,
    }


def ask_limits(settings: KafkaSettings, topics: Mapping[Destination, str]) -> dict[Destination, int]:
    """max.message.bytes of both topics; the broker's default where it does not let us look.

    Raises `TransientError` where it does not answer: a limit that is only guessed would park what fits.
    """
    limits = dict.fromkeys(topics, DEFAULT_MESSAGE_BYTES)
    resources = {ConfigResource(ConfigResource.Type.TOPIC, topic): kind for kind, topic in topics.items()}
    admin = AdminClient(client_properties(settings))
    for resource, future in admin.describe_configs(list(resources), request_timeout=10).items():
        try:
            limits[resources[resource]] = int(future.result()["max.message.bytes"].value)
        except (KeyError, ValueError):
            continue
        except KafkaException as error:
            if error.args[0].code() not in _NOT_TOLD:
                raise TransientError(str(explain(error.args[0], settings.kafka_bootstrap_servers))) from error
    return limits
