"""A Confluent schema registry: writer schemas by id, and ids for the events' schemas; only used where one is set."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from processor.contracts.avro.schema import REFERENCES
from processor.contracts.catalogue import Catalogue
from processor.core.errors import ProcessorError, SetupError, TransientError
from processor.core.fields import EVENTS

#: a registry that takes this long is down: the thread that reads must not wait for ever
TIMEOUT_SECONDS = 5.0
#: a schema may be registered after the first record that needs it
ASK_AGAIN_SECONDS = 10.0
MAX_MISSING = 1000
#: the answers that no request of ours could turn into another one
_FOR_A_PERSON = frozenset({401, 403})
#: of the answers that blame the request, those that say: later
_WAIT = frozenset({408, 429})
#: schemas that one schema may refer to, directly or not: each is one more question to the registry
MAX_REFERENCES = 64


class SchemaRegistry:
    """Schemas that were found are kept: an id never changes its meaning."""

    def __init__(self, url: str) -> None:
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError:
            raise SetupError("SCHEMA_REGISTRY_URL needs: pip install 'cerebros-processor[registry]'") from None
        parts = urlsplit(url)
        # shown in errors: without user and password
        self._url = f"{parts.scheme}://{parts.hostname}:{parts.port or 80}"
        self._client = SchemaRegistryClient({"url": url, "timeout": TIMEOUT_SECONDS, "max.retries": 0})
        self._writers: dict[int, Mapping[str, Any]] = {}
        self._missing: dict[int, float] = {}

    def writer_schema(self, schema_id: int) -> Mapping[str, Any] | None:
        """The schema as JSON, None where the registry has none.

        Raises `TransientError` when it does not answer, `SetupError` where it does not let us in.
        """
        known = self._writers.get(schema_id)
        if known is not None or time.monotonic() < self._missing.get(schema_id, 0.0):
            return known
        found = self._ask(schema_id)
        if found is not None:
            self._writers[schema_id] = found
        else:
            if len(self._missing) >= MAX_MISSING:
                self._missing.clear()
            self._missing[schema_id] = time.monotonic() + ASK_AGAIN_SECONDS
        return found

    def _ask(self, schema_id: int) -> Mapping[str, Any] | None:
        schema = self._get(lambda: self._client.get_schema(schema_id))
        if schema is None:
            return None
        references: dict[tuple[str, int], Any] = {}
        if not self._add_references(schema, references):
            return None  # what is missing may be registered yet: asked again later
        return schema_document(schema.schema_type, schema.schema_str, list(references.values()))

    def _add_references(self, schema: Any, found: dict[tuple[str, int], Any]) -> bool:
        """Adds what the schema refers to, each behind what it refers to itself; False where some of it is not there.

        Raises `TransientError`. References can't run in a circle: a registry takes none to what it does not have yet.
        One that breaks this is stopped by the number of questions.
        """
        for one in schema.references or ():
            key = (str(one.subject), int(one.version))
            if key in found:
                continue
            if len(found) >= MAX_REFERENCES:
                return False
            found[key] = None
            named = self._get(lambda key=key: self._client.get_version(*key, deleted=True))  # type: ignore[misc]
            if named is None or not self._add_references(named.schema, found):
                return False
            del found[key]  # to stand behind its own references
            found[key] = schema_document(named.schema.schema_type, named.schema.schema_str)
        return True

    def _get(self, ask: Callable[[], Any]) -> Any:
        """What the client answers, None for what the registry does not have. Raises `TransientError`."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            return ask()
        except SchemaRegistryError as error:
            problem = self._sorted(error.http_status_code)
            if problem is not None:
                raise problem from None
            return None
        except Exception as error:  # noqa: BLE001 - the client lets its HTTP library's own exceptions through
            raise TransientError(f"schema registry at {self._url} does not answer ({type(error).__name__})") from None

    def _sorted(self, status: int) -> ProcessorError | None:
        """What an answer other than 2xx means: a person acts, or we wait; None where it refuses just this request."""
        if status in _FOR_A_PERSON:
            return SetupError(
                f"schema registry at {self._url} does not let us in (HTTP {status}): "
                "check user and password in PROCESSOR_SCHEMA_REGISTRY_URL"
            )
        if 400 <= status < 500 and status not in _WAIT:
            return None
        return TransientError(f"schema registry at {self._url}: HTTP {status}")

    def body_encoder(self, catalogue: Catalogue, topic: str) -> Callable[[str, Mapping[str, Any]], bytes]:
        """Registers the event schemas (subject TOPIC-NAME) and frames bodies in the Confluent wire format.

        Raises `SetupError` where the registry refuses them, `TransientError` when it does not answer.
        """
        from confluent_kafka.schema_registry import Schema
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        heads = {}
        for name in EVENTS:
            text = msgspec.json.encode(catalogue.latest(name).definition).decode()
            try:
                schema_id = self._client.register_schema(f"{topic}-{name}", Schema(text, "AVRO"))
            except SchemaRegistryError as error:
                why = f"HTTP {error.http_status_code}, {error.error_message}"
                refused = SetupError(f"schema registry at {self._url} refuses {name}: {why}")
                raise self._sorted(error.http_status_code) or refused from None
            except Exception as error:  # noqa: BLE001 - as above
                why = type(error).__name__
                raise TransientError(f"schema registry at {self._url} does not answer ({why})") from None
            heads[name] = struct.pack(">bI", 0, schema_id)

        def encode(kind: str, body: Mapping[str, Any]) -> bytes:
            return heads[kind] + catalogue.encode(kind, dict(body))

        return encode


def schema_document(kind: str | None, text: str | None, references: Sequence[Any] = ()) -> Mapping[str, Any]:
    """The schema as a JSON object that holds its references; of what is no Avro one that no Avro reader takes."""
    try:
        document = msgspec.json.decode(text or "null") if kind in (None, "AVRO") else {"type": f"{kind} schema"}
    except (msgspec.DecodeError, RecursionError):
        document = {"type": "unreadable schema"}
    document = document if isinstance(document, dict) else {"type": document}
    return {**document, REFERENCES: references} if references else document
