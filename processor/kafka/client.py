"""What all clients share of librdkafka: their properties, and the one place where its errors are sorted.

Sorted by librdkafka's own flags and codes, never by text.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from processor.core.errors import FatalError, ProcessorError, SetupError, TransientError, UsageError
from processor.core.numbers import read_count
from processor.core.settings import KafkaSettings

#: waiting does not help with these; a person has to act
_SETUP_CODES = {
    KafkaError._AUTHENTICATION: "the broker refuses the user or password; check PROCESSOR_KAFKA_OPTIONS",
    KafkaError.SASL_AUTHENTICATION_FAILED: "the broker refuses the user or password; check PROCESSOR_KAFKA_OPTIONS",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user may not use the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the user may not use the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the user may not do this in the cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the user may not use the relay's transactional id",
    KafkaError._SSL: "the TLS handshake fails; check PROCESSOR_KAFKA_OPTIONS",
    KafkaError.UNRELEASED_INSTANCE_ID: "another process still holds PROCESSOR_GROUP_INSTANCE_ID",
    KafkaError.FENCED_INSTANCE_ID: "another process took over PROCESSOR_GROUP_INSTANCE_ID",
}
#: whose words say more than their code
_WORDED = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})
#: what librdkafka puts around its words: the broker it tried last, and how long it took
_AROUND = re.compile(r"^\S+: | \(after \d+ms in state \w+\)|, \d+ identical error\(s\) suppressed")
METADATA_SECONDS = 10.0
#: any other question to a broker
TIMEOUT_SECONDS = 15.0
#: librdkafka connects 20 times a second meanwhile: a wrong password is noticed before the account is locked
METADATA_SLICE_SECONDS = 2.0
#: how often whoever has nothing to send asks whether Kafka is there, how long that may take, and how many times: of
#: several brokers the one that is asked may be the only one that hangs
ASK_EVERY_SECONDS, ASK_SECONDS, ASK_TIMES = 5.0, 3.0, 2
#: librdkafka's largest value of queued.max.messages.kbytes
MOST_PREFETCH_KBYTES = 2_097_151
#: one answer of a broker, compressed: more than fits into a round trip, and below the default receive.message.max.bytes
MOST_FETCH_BYTES = 64 * 1024 * 1024
#: librdkafka refuses less than message.max.bytes, which is 1,000,000 unless somebody sets it
LEAST_FETCH_BYTES = 1024 * 1024
#: of one partition in it: what compression hides is multiplied by it, and half of it cost a quarter of the throughput
PARTITION_FETCH_BYTES = 1024 * 1024
#: librdkafka fetches on below this number of records, whatever they hold: the only bound that headers do not escape
QUEUED_RECORDS = 100
logging.getLogger("processor.librdkafka").setLevel(logging.CRITICAL)


def client_properties(settings: KafkaSettings, **own: Any) -> dict[str, Any]:
    """Properties of a librdkafka client; what the user set in KAFKA_OPTIONS wins over our choices.

    (`settings.OWN_PROPERTIES`, on which promises rest, were refused when the settings were read.)

    Raises `UsageError` where librdkafka refuses what the user set.
    """
    properties = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": settings.group_id,
        "logger": logging.getLogger("processor.librdkafka"),  # its errors reach us by callbacks
        "reconnect.backoff.max.ms": 2000,
        **own,
        **settings.kafka_options,
    }
    largest = read_count(str(settings.kafka_options.get("message.max.bytes", "")))
    if "fetch.max.bytes" in properties and largest is not None:
        properties["fetch.max.bytes"] = max(properties["fetch.max.bytes"], largest)
    if settings.kafka_options:
        _try_out(properties)
    return properties


def prefetch_properties(prefetch_bytes: int) -> dict[str, Any]:
    """How much a consumer reads ahead: values and keys up to `prefetch_bytes`, and few records whatever they hold.

    librdkafka counts neither headers nor what a batch held compressed. It fetches while it has fewer than
    QUEUED_RECORDS *and* fewer bytes, so at worst that many of the largest records wait, and one answer on top: at most
    PARTITION_FETCH_BYTES a partition (one batch always fits), times what compression made of it.
    """
    return {
        "queued.max.messages.kbytes": min(prefetch_bytes // 1024, MOST_PREFETCH_KBYTES),
        "queued.min.messages": QUEUED_RECORDS,
        "fetch.max.bytes": min(max(prefetch_bytes // 16, LEAST_FETCH_BYTES), MOST_FETCH_BYTES),
        "fetch.message.max.bytes": min(prefetch_bytes // 8, PARTITION_FETCH_BYTES),
        # how soon it looks again after the queue was full: with 100 records left, at the default of a second it would
        # be empty most of the time (measured beside 10 ms: three times the records)
        "fetch.queue.backoff.ms": 2,
    }


def _try_out(properties: Mapping[str, Any]) -> None:
    """Makes a client that connects to nobody: only so are names, values and files looked at."""
    kind = Consumer if "group.id" in properties else Producer
    alone = {name: value for name, value in properties.items() if not callable(value) and name != "bootstrap.servers"}
    try:
        kind(alone)
    except KafkaException as error:
        said = " ".join(error.args[0].str().split())  # some of it ends its line
        raise UsageError(f"wrong settings: PROCESSOR_KAFKA_OPTIONS: {said}") from None
    except (TypeError, ValueError):  # a NUL, half a character, or an object's name that is not known here
        raise UsageError(
            "wrong settings: PROCESSOR_KAFKA_OPTIONS: a name or value is none that librdkafka takes"
        ) from None


def list_topics(settings: KafkaSettings) -> Any:
    """The cluster's metadata, with `topics` and `brokers`, from the first broker that answers.

    Raises `SetupError` where a person has to act, `TransientError` when no broker answers, each naming the address.
    """
    where, failures = settings.kafka_bootstrap_servers, list[KafkaError]()
    admin = AdminClient(client_properties(settings, error_cb=failures.append))
    deadline = time.monotonic() + METADATA_SECONDS
    while True:
        try:
            return admin.list_topics(timeout=METADATA_SLICE_SECONDS)
        except KafkaException as error:
            admin.poll(0)
            problems = [explain(failure, where) for failure in failures]
            for problem in problems:
                if isinstance(problem, SetupError):
                    raise problem from None
            if time.monotonic() > deadline:
                raise TransientError(f"no Kafka broker answers at {where}: {_why(error.args[0], failures)}") from None


def _why(error: KafkaError, failures: Sequence[KafkaError]) -> str:
    told = [failure for failure in failures if failure.code() != KafkaError._ALL_BROKERS_DOWN]
    if told:
        return words(told[-1])
    if error.code() == KafkaError._TRANSPORT:
        return "it closes the connection unasked; if it wants TLS or SASL, set PROCESSOR_KAFKA_OPTIONS"
    return words(error)


class Asked(Protocol):
    """A consumer: a producer's question about a topic that is gone makes it anew."""

    def list_topics(self, topic: str, *, timeout: float) -> Any: ...


def ask(consumer: Asked, topic: str) -> None:
    """Finds out whether Kafka is there. Raises `KafkaException` where nobody answers."""
    for left in reversed(range(ASK_TIMES)):
        try:
            consumer.list_topics(topic, timeout=ASK_SECONDS)
            return
        except KafkaException:
            if not left:
                raise


def words(error: KafkaError) -> str:
    """What librdkafka says, without the address and the time that it puts around it."""
    return _AROUND.sub("", error.str())


def explain(error: KafkaError, where: str) -> ProcessorError:
    """The exception of ours that stands for an error of librdkafka's."""
    code = error.code()
    if code in _SETUP_CODES:
        why = f"{error.name()}: {words(error)}" if code in _WORDED else error.name()
        return SetupError(f"Kafka at {where}: {_SETUP_CODES[code]} ({why})")
    # a fatal error comes as an event of code _FATAL, without the flag
    if error.fatal() or code == KafkaError._FATAL:
        return FatalError(f"Kafka client at {where} cannot go on: {error.str()} ({error.name()})")
    return TransientError(f"Kafka at {where}: {error.str()} ({error.name()})")


def translate(error: KafkaException, where: str) -> ProcessorError:
    return explain(error.args[0], where)


def ends_client(error: KafkaError, where: str) -> bool:
    """For a consumer's `error_cb`: whether it can never go on."""
    return error.fatal() or isinstance(explain(error, where), SetupError)
