"""A Confluent schema registry: writer schemas by id, and ids for the events' schemas; only used where one is set."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from processor.catalogue import Catalogue
from processor.errors import SetupError, TransientError
from processor.events import BodyEncoder


class SchemaRegistry:
    """Answers are kept: a schema id never changes its meaning."""

    def __init__(self, url: str) -> None:
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError:
            raise SetupError("SCHEMA_REGISTRY_URL needs: pip install 'cerebros-processor[registry]'") from None
        parts = urlsplit(url)
        self._url = (
            f"{parts.scheme}://{parts.hostname}:{parts.port or 80}"  # shown in errors: without user and password
        )
        self._client = SchemaRegistryClient({"url": url})
        self._writers: dict[int, Mapping[str, Any] | None] = {}

    def writer_schema(self, schema_id: int) -> Mapping[str, Any] | None:
        """The schema as JSON, None where the registry has none; raises `TransientError` when it does not answer."""
        if schema_id not in self._writers:
            self._writers[schema_id] = self._ask(schema_id)
        return self._writers[schema_id]

    def _ask(self, schema_id: int) -> Mapping[str, Any] | None:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            schema = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return None
            raise TransientError(f"schema registry at {self._url}: HTTP {error.http_status_code}") from None
        except Exception as error:  # noqa: BLE001 - the client lets its HTTP library's own exceptions through
            raise TransientError(f"schema registry at {self._url} does not answer ({type(error).__name__})") from None
        document = msgspec.json.decode(schema.schema_str or "null")
        return document if isinstance(document, dict) else None

    def body_encoder(self, catalogue: Catalogue, topic: str) -> BodyEncoder:
        """Registers the event schemas (subject TOPIC-NAME) and frames bodies in the Confluent wire format."""
        from confluent_kafka.schema_registry import Schema

        heads = {}
        for name in ("ml.trial.complete", "ml.trial.failed"):
            text = msgspec.json.encode(catalogue.latest(name).definition).decode()
            try:
                schema_id = self._client.register_schema(f"{topic}-{name}", Schema(text, "AVRO"))
            except Exception as error:  # noqa: BLE001 - as above
                raise SetupError(f"schema registry at {self._url} refuses {name}: {type(error).__name__}") from None
            heads[name] = struct.pack(">bI", 0, schema_id)

        def encode(kind: str, body: Mapping[str, Any]) -> bytes:
            return heads[kind] + catalogue.encode(kind, dict(body))

        return encode
