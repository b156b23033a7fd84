"""The frozen values that pass between rooms; nothing else.

    RawRecord -> TrialReport | RunReport | Progress | Rejection -> Batch -> Written
    Event | OutboxMessage -> (relay) -> Kafka

`msgspec.Struct` rather than a frozen dataclass: creating one costs 0.14 us instead of 2-3 us, and there is
one for every report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from processor.core.numbers import read_exactly


class Reason(StrEnum):
    """Why a report was rejected: the code that people filter dead letters by. Released codes keep their meaning."""

    EMPTY_VALUE = "empty_value"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    TRIALS_NOT_LIST = "trials_not_list"
    REPORT_NOT_OBJECT = "report_not_object"
    MISSING_TRIAL_ID = "missing_trial_id"
    MISSING_RUN_ID = "missing_run_id"
    INVALID_ID = "invalid_id"
    UNKNOWN_STATUS = "unknown_status"
    NOT_FINAL = "not_final"
    UNKNOWN_EVENT = "unknown_event"
    UNSUPPORTED_EVENT = "unsupported_event"
    NOT_A_MAP = "not_a_map"
    INVALID_NUMBER = "invalid_number"
    MISSING_METRIC = "missing_metric"
    INVALID_TYPE = "invalid_type"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    AVRO_UNKNOWN_SCHEMA = "avro_unknown_schema"
    AVRO_UNREADABLE = "avro_unreadable"
    SCHEMA_MISMATCH = "schema_mismatch"
    UNKNOWN_RUN = "unknown_run"
    DATABASE_REFUSED = "database_refused"


Headers = tuple[tuple[str, bytes | None], ...]
TopicPartition = tuple[str, int]
#: a record costs memory and time even when it is empty, and so does a header: an empty one is 2 bytes in Kafka
RECORD_OVERHEAD, HEADER_OVERHEAD = 200, 150
#: next offset to read, by partition: always the offset of the last handled record + 1
NextOffsets = Mapping[TopicPartition, int]


class RawRecord(msgspec.Struct, frozen=True, gc=False):
    """One Kafka message as it was read; `timestamp_ms` is milliseconds since the epoch, 0 where the broker has none.

    `unreadable` says what of it the client could not read and is not here, "" where all is. `size`, which is not given
    but found, is what it counts wherever bytes are bounded: all that it holds, and what holding it costs.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    unreadable: str = ""
    size: int = 0

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "size", size_of(self.key, self.value, self.headers))


def size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Bytes of a Kafka message, with what it costs beside them."""
    size = RECORD_OVERHEAD + len(value or b"") + len(key or b"")
    for name, content in headers:
        size += HEADER_OVERHEAD + len(name) + len(content or b"")
    return size


class Order(NamedTuple):
    """The total order of reports: a later one may replace what an earlier one left, never the reverse."""

    timestamp_ms: int
    partition: int
    offset: int
    place: int


def read_text(held: Any) -> Any:
    """The value that a checked JSON text stands for; anything else as it is."""
    return read_exactly(held) if type(held) is msgspec.Raw else held


class _Placed(msgspec.Struct, frozen=True, gc=False):
    """Where a report stands: its place in the record, and the order in which reports replace each other."""

    record: RawRecord
    index: int
    run_id: str

    @property
    def order(self) -> Order:
        record = self.record
        return Order(record.timestamp_ms, record.partition, record.offset, self.index)


class TrialReport(_Placed, frozen=True, gc=False):
    """One normalised, schema-valid report of a trial that has ended.

    `content` holds the fields of the latest `trial_report` schema by name (`run_id` and `trial_id` among them), those
    that have a column always, later ones where they are not at their default; a field of any JSON may be there as the
    text it came as (`msgspec.Raw`): it was checked, and most of it is only passed on. `values` has it read.
    What the report held beyond that is in `extra`, and what its envelope held in `envelope`.
    `schema_version` is the version the report was written with (JSON: the oldest version that has all its fields).
    `bent` names the fields that normalisation had to change.
    `spectral_norm_reported`: whether the report said spectral_norm in a form that could be read; where it did not, the
    schema's default stands in `content`. None: not known.
    `digest` (32 hexadecimal digits) is of what it was made from (JSON's bytes, Avro's fields) and of the rules it was
    made by: two reports of one trial with the same digest are equal in content. "" tells nothing.
    """

    trial_id: str
    content: dict[str, Any]
    schema_version: int
    extra: Mapping[str, Any] | None = None
    envelope: Mapping[str, Any] | None = None
    bent: tuple[str, ...] = ()
    digest: str = ""
    spectral_norm_reported: bool | None = None

    @property
    def values(self) -> dict[str, Any]:
        """`content`, with what is still text read."""
        return {name: read_text(held) for name, held in self.content.items()}


class RunReport(_Placed, frozen=True, gc=False):
    """That a run has started (`content` has the state `running`) or stopped, normalised and schema-valid.

    `content` holds the fields of a start or of a stop by name, `rest` all else that the report and its envelope said.
    """

    content: dict[str, Any]
    rest: Mapping[str, Any]
    schema_version: int
    bent: tuple[str, ...] = ()

    @property
    def starts(self) -> bool:
        return bool(self.content["state"] == "running")


class Progress(_Placed, frozen=True, gc=False):
    """What a trial says before it has ended, normalised and schema-valid: that it started, or one metric at one step.

    `content` holds the fields of a trial's start, or those of a metric; `rest` all else that was said.
    """

    trial_id: str
    content: dict[str, Any]
    rest: Mapping[str, Any]
    schema_version: int
    bent: tuple[str, ...] = ()

    @property
    def starts(self) -> bool:
        return "metric_name" not in self.content


#: what is valid, and is written
Report = TrialReport | RunReport | Progress


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A report that will never be valid: `index` is its place in the record, -1 where the record as a whole is meant.

    `path` names the exact place inside the report (`metrics.layers[3]`), "" where there is none to name. `detail` ends
    with what of the record could not be read: it may be the cause, and the stored bytes lack it.
    """

    record: RawRecord
    index: int
    reason: Reason
    detail: str
    path: str = ""

    def __post_init__(self) -> None:
        missing = self.record.unreadable
        if missing and not self.detail.endswith(missing):
            msgspec.structs.force_setattr(self, "detail", f"{self.detail}; {missing}")


#: what became of one report
Outcome = Report | Rejection


class Batch(msgspec.Struct, frozen=True):
    """What one transaction writes, in the order it was read, and the offsets that are safe once it is written."""

    reports: Sequence[Report]
    rejections: Sequence[Rejection]
    next_offsets: NextOffsets
    records: int = 0
    bytes: int = 0


class Written(msgspec.Struct, frozen=True):
    """What one transaction did, in reports; those `set_aside` it left for later, in their order."""

    inserted: int = 0
    changed: int = 0
    touched: int = 0
    unchanged: int = 0
    stale: int = 0
    events: int = 0
    dead_letters: int = 0
    rejected_by_database: Sequence[Rejection] = ()
    set_aside: Sequence[Report] = ()


class Destination(StrEnum):
    """Which of the two output topics a message goes to."""

    EVENTS = "events"
    DEAD_LETTERS = "dead_letters"


JSON = "application/json"


class Event(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="event"):
    """One revision's event as the outbox holds it: its body, and what its headers are made from when published.

    `trial_id` is "" in an event of a run, which no trial's is.
    """

    run_id: str
    trial_id: str
    revision: int
    kind: str
    timestamp_ms: int
    value: bytes
    content_type: str = JSON

    @property
    def destination(self) -> Destination:
        return Destination.EVENTS

    @property
    def subject(self) -> str:
        return f"{self.run_id}/{self.trial_id}" if self.trial_id else self.run_id

    @property
    def owner(self) -> tuple[str, str]:
        """Whose revisions it is one of; ids may hold a slash, so the subjects of two trials may be the same."""
        return self.run_id, self.trial_id

    @property
    def id(self) -> str:
        """Names it for people."""
        return f"{self.subject}#{self.revision}"

    @property
    def key(self) -> bytes:
        return self.run_id.encode()


class OutboxMessage(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="message"):
    """One Kafka message to publish as it is; `id` names it for people, such as `dead-letter/N`."""

    destination: Destination
    id: str
    key: bytes | None
    value: bytes | None
    headers: Headers


#: what waits in the outbox
Outgoing = Event | OutboxMessage


class Identity(NamedTuple):
    """Who publishes an outbox, and where to; the transactional id also names the group that remembers it."""

    transactional_id: str
    events_topic: str
    dead_letter_topic: str


class Packet(msgspec.Struct, frozen=True):
    """A row of the outbox: messages that one transaction wrote, in order; `id` is a random UUID (hex).

    `bytes` is the size of all of them together as they are stored.
    """

    id: str
    messages: Sequence[Outgoing]
    bytes: int
