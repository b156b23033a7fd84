"""Properties of clients: in their ranges whatever the settings, and refused in one sentence where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from processor.core.errors import UsageError
from processor.core.settings import IngestSettings, load_settings
from processor.kafka.client import client_properties
from processor.kafka.membership import Subscription, consumer_properties
from processor.kafka.ranges import open_consumer


@pytest.fixture(autouse=True)
def _no_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings_of(**values: Any) -> IngestSettings:
    return load_settings(IngestSettings, **values)


@pytest.mark.parametrize("memory_mb", [128, 256, 4096, 16_383, 16_384, 65_536])
@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_every_memory_that_the_settings_take_makes_a_client(memory_mb: int, protocol: str) -> None:
    settings = settings_of(memory_mb=memory_mb, kafka_bootstrap_servers="127.0.0.1:1", session_timeout_ms=300_000)
    subscription = Subscription(
        "raw", "g", protocol=protocol, session_timeout_ms=300_000, prefetch_bytes=settings.prefetch_bytes
    )
    Consumer(consumer_properties(settings, subscription)).close()


@pytest.mark.parametrize("options", [{}, {"message.max.bytes": 8_000_000}, {"message.max.bytes": "1000000000"}])
def test_the_largest_message_that_a_person_sets_makes_every_client(options: dict[str, Any]) -> None:
    settings = settings_of(kafka_options=options, kafka_bootstrap_servers="127.0.0.1:1")
    Consumer(consumer_properties(settings, Subscription("raw", "g"))).close()
    open_consumer(settings, "g").close()


@pytest.mark.parametrize(
    "options",
    [
        {"no.such.property": 1},
        {"security.protocol": "NO"},
        {"socket.timeout.ms": "soon"},
        {"socket.timeout.ms": True},
        {"socket.timeout.ms": 10**30},
        {"socket.timeout.ms": float("nan")},
        {"sasl.password": "a\ud800b"},
        {"a\ud800b": "c"},
        {"sasl.pass\0word": "c"},
        {"": ""},
    ],
)
def test_an_option_that_the_client_does_not_take_is_refused_in_one_sentence(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^wrong settings: PROCESSOR_KAFKA_OPTIONS: ") as caught:
        client_properties(settings_of(kafka_options=options))
    assert "\n" not in str(caught.value)
