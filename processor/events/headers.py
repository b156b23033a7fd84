"""What stands beside an event's body, and a stored rejection -> OutboxMessage; pure.

CloudEvents 1.0 in binary mode (Kafka Protocol Binding, section 3.2): attributes in `ce_` headers, the body alone in the
value. `ce_id` is a UUIDv5 (RFC 9562, 5.5) of run, trial and revision: the same history gives the same ids.
"""

from __future__ import annotations

import uuid
from hashlib import sha1

import msgspec

from processor.core.messages import Destination, Event, OutboxMessage, Rejection
from processor.core.times import timestamp_text

#: namespace of every ce_id; never changes
EVENT_NAMESPACE = uuid.UUID("5b0f2a64-5d0e-5f0b-9a0c-2f6f1d1b7c11")
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_encode = msgspec.json.Encoder().encode
#: a key is repeated in each dead letter of its record where it is no larger than what such a message says anyway
SAME_KEY_BYTES = 256


def event_id(run_id: str, trial_id: str, revision: int) -> str:
    """UUIDv5 of the JSON array [run_id, trial_id, revision]: JSON, so that no two triples share a name."""
    name = _encode((run_id, trial_id, revision))
    digest = sha1(EVENT_NAMESPACE.bytes + name, usedforsecurity=False).hexdigest()  # uuid.uuid5, in a third of the time
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANTS[digest[16]]}{digest[17:20]}-{digest[20:32]}"


def cloud_event_headers(event: Event, source: bytes) -> list[tuple[str, bytes]]:
    """The headers that an event is published with; `source` is ce_source."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_source", source),
        ("ce_id", event_id(event.run_id, event.trial_id, event.revision).encode()),
        ("ce_type", event.kind.encode()),
        ("ce_subject", event.subject.encode()),
        ("ce_time", timestamp_text(event.timestamp_ms).encode()),
        ("content-type", event.content_type.encode()),
    ]


def dead_letter_message(rejection: Rejection, dead_letter_id: int, first_id: int | None = None) -> OutboxMessage:
    """The rejected record as it came, with `dead_letter_*` headers that say why and where it is stored.

    A record whose reports are rejected one by one goes once, with dead letter `first_id`; the others only name that
    one, and keep a key of at most `SAME_KEY_BYTES`, by which they go to the same partition, behind it.
    """
    record = rejection.record
    facts = {
        "id": dead_letter_id,
        "reason": rejection.reason.value,
        "detail": rejection.detail,
        "path": rejection.path,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": timestamp_text(record.timestamp_ms),
        "report_index": rejection.index,
    }
    key, value, headers = record.key, record.value, record.headers
    if first_id is not None and first_id != dead_letter_id:
        facts["value"] = f"in dead letter {first_id}"
        key, value, headers = key if len(key or b"") <= SAME_KEY_BYTES else None, None, ()
    said = ((f"dead_letter_{name}", str(fact).encode("utf-8", "replace")) for name, fact in facts.items())
    return OutboxMessage(Destination.DEAD_LETTERS, f"dead-letter/{dead_letter_id}", key, value, (*headers, *said))
