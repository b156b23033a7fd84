"""Topics as a whole: whether they are there, making them, and reading one to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from processor.core.errors import SetupError, TransientError
from processor.core.messages import RawRecord
from processor.core.settings import KafkaSettings
from processor.kafka.client import METADATA_SECONDS, client_properties, explain, list_topics, translate
from processor.kafka.intake import PORTION
from processor.kafka.records import to_record


def check_topics(settings: KafkaSettings, *names: str) -> None:
    """Raises `SetupError` where a topic is missing or the broker refuses us, `TransientError` when none answers."""
    where, topics = settings.kafka_bootstrap_servers, list_topics(settings).topics
    missing = []
    for name in names:
        error = topics[name].error if name in topics else None
        if name not in topics or (error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART):
            missing.append(name)
        elif error is not None:  # a leader is being elected, or we may not look
            raise explain(error, where)
    if missing:
        named = ", ".join(missing)
        raise SetupError(f"Kafka at {where} has no topic {named} (that we may see): run `processor topics create`")


def is_compacted(settings: KafkaSettings, topic: str) -> bool:
    """Whether Kafka keeps only the last record of each key; False too where the broker does not let us look."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    try:
        admin = AdminClient(client_properties(settings))
        configs = admin.describe_configs([resource], request_timeout=METADATA_SECONDS)[resource].result()
    except KafkaException:
        return False
    policy = configs.get("cleanup.policy")
    return policy is not None and "compact" in (policy.value or "")


def compaction_warning(topic: str) -> str:
    return (
        f"topic {topic} is compacted: Kafka deletes all but the last record of a key, read or not; "
        "set cleanup.policy=delete"
    )


def create_topics(settings: KafkaSettings, names: Sequence[str], *, partitions: int, replication: int) -> list[str]:
    """Creates those topics that are missing; their names. Raises `SetupError`, `TransientError`."""
    existing = list_topics(settings).topics
    missing = [NewTopic(name, partitions, replication) for name in names if name not in existing]
    if not missing:
        return []
    admin = AdminClient(client_properties(settings))
    for topic, future in admin.create_topics(missing).items():
        try:
            future.result(METADATA_SECONDS * 2)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise SetupError(f"topic {topic} can't be created: {error.args[0].str()}") from None
    return [topic.topic for topic in missing]


def unlike(
    settings: KafkaSettings, names: Sequence[str], *, partitions: int | None, replication: int | None
) -> list[str]:
    """A sentence for each topic that is there already, otherwise than asked for; None asks for nothing."""
    existing, told = list_topics(settings).topics, []
    for name in names:
        there = existing[name].partitions if name in existing else {}
        copies = max((len(one.replicas) for one in there.values()), default=0)
        for asked, has, what in ((partitions, len(there), "partitions"), (replication, copies, "copies of each")):
            if there and asked is not None and asked != has:
                told.append(f"{name} is there already and is not changed: {what}: {has}, not {asked}")
    return told


def read_topic(settings: KafkaSettings, topic: str, *, timeout_s: float = 30.0) -> Iterator[RawRecord]:
    """All records of a topic up to the end it has now, as a read_committed consumer sees them; joins no group.

    Raises `TransientError` when nothing comes for `timeout_s`.
    """
    consumer = Consumer(
        client_properties(
            settings,
            **{
                "group.id": f"{settings.group_id}-reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            },
        )
    )
    try:
        partitions = consumer.list_topics(topic, timeout=METADATA_SECONDS).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        unfinished, deadline = set(partitions), time.monotonic() + timeout_s
        while unfinished:
            for message in consumer.consume(PORTION, 0.2):
                deadline = time.monotonic() + timeout_s
                if (error := message.error()) is None:
                    yield to_record(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition())
                else:
                    raise explain(error, settings.kafka_bootstrap_servers)
            if time.monotonic() > deadline:
                raise TransientError(f"Kafka at {settings.kafka_bootstrap_servers} does not answer")
    except KafkaException as error:
        raise translate(error, settings.kafka_bootstrap_servers) from error
    finally:
        consumer.close()
