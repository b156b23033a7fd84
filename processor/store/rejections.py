"""What becomes of rejections in the batch's own transaction: stored once, with their original bytes, and resolved when
a replay or a redrive brings a report that can be written after all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import asyncpg

from processor.core.messages import Batch, OutboxMessage, Outcome, RawRecord, Reason, Rejection, Report
from processor.core.parts import in_parts
from processor.core.text import storable
from processor.events.headers import dead_letter_message
from processor.store.headers import headers_json
from processor.store.queries import load_queries

#: dead letters that a batch's reports are compared with one by one; where there are more, all reports are looked up
MAX_SUSPECTS = 1000
#: bytes of records, and dead letters, that one statement carries at the most (one record always fits): the driver
#: copies them twice, and Postgres holds them once more
STATEMENT_BYTES, STATEMENT_LETTERS = 4 * 1024 * 1024, 1000


class Place(NamedTuple):
    """Which record: a topic that was made anew may have another one at the same offset, of the same timestamp."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    digest: bytes


class Places:
    """The place of a record; its bytes, which many rejections may share, are gone through once.

    Records are told by the object: use it for those of one batch, while they are held.
    """

    def __init__(self) -> None:
        self._known: dict[int, Place] = {}

    def __call__(self, record: RawRecord) -> Place:
        place = self._known.get(id(record))
        if place is None:
            where = record.topic, record.partition, record.offset, record.timestamp_ms
            place = self._known[id(record)] = Place(*where, digest_of(record))
        return place


def digest_of(record: RawRecord) -> bytes:
    """SHA-256 of key and value; the fragment `record_digest` is its twin in SQL."""
    digest = sha256()
    for part in (record.key, record.value):
        digest.update((-1 if part is None else len(part)).to_bytes(4, "big", signed=True))
    for part in (record.key, record.value):
        digest.update(part or b"")
    return digest.digest()


class StoredLetter(NamedTuple):
    """A rejection that is stored for the first time; the message of dead letter `first_id` carries its record."""

    rejection: Rejection
    id: int
    first_id: int


async def resolve_written(
    connection: asyncpg.Connection, batch: Batch, refused: Sequence[Rejection], *, whole_records: bool = True
) -> None:
    """Resolves dead letters of reports that are written now: a replay or a redrive brought them again.

    Runs behind the locks on the runs and before the batch's own rejections are stored: where nothing comes again it
    is one look at an index. Without `whole_records` the batch may hold some of a record's reports only.
    """
    spans = spans_of(batch)
    found = await connection.fetch(load_queries()["unresolved_in_spans"], *spans, MAX_SUSPECTS)
    if found:
        suspects = {tuple(row) for row in found} if len(found) < MAX_SUSPECTS else None
        places = settled_places(batch, refused, suspects, whole_records=whole_records)
        if places:
            await connection.execute(load_queries()["resolve_written"], *zip(*places, strict=True))


async def store_rejections(connection: asyncpg.Connection, rejections: Sequence[Rejection]) -> list[StoredLetter]:
    """Stores what is not stored yet, and returns that, in statements of bounded size; a record's bytes go once.

    A record may be twice in a batch, when reading was reset meanwhile: its rejection is stored and published once.
    """
    place_of = Places()
    rejections = list({(place_of(one.record), one.index): one for one in rejections}.values())
    records = {place_of(rejection.record): rejection.record for rejection in rejections}
    columns = ((*place[:4], one.key, one.value, headers_json(one.headers)) for place, one in records.items())
    for part in in_parts(columns, lambda row: sum(len(bytes_ or b"") for bytes_ in row[4:]), STATEMENT_BYTES):
        await connection.execute(load_queries()["insert_dead_letter_records"], *zip(*part, strict=True))
    stored: list[StoredLetter] = []
    first_ids: dict[Place, int] = {}
    for some in in_parts(rejections, lambda _: 0, STATEMENT_BYTES, STATEMENT_LETTERS):
        letters = [
            (*place_of(one.record), one.index, one.reason.value, storable(one.detail), storable(one.path))
            for one in some
        ]
        rows = await connection.fetch(load_queries()["insert_dead_letters"], *zip(*letters, strict=True))
        ids = {row["place"]: row["id"] for row in rows}
        stored += [
            StoredLetter(one, ids[at], first_ids.setdefault(place_of(one.record), ids[at]))
            for at, one in enumerate(some)
            if at in ids
        ]
    return stored


def letter_messages(letters: Sequence[StoredLetter]) -> Iterator[OutboxMessage]:
    """The messages for the dead letter topic, one by one: together their headers are larger than the record."""
    for one in letters:
        yield dead_letter_message(one.rejection, one.id, one.first_id)


def spans_of(batch: Batch) -> tuple[list[str], list[int], list[int], list[int]]:
    """Parameters of `unresolved_in_spans`: topic, partition, first and last offset of what the batch holds."""
    offsets: dict[tuple[str, int], list[int]] = {}
    for outcomes in (batch.reports, batch.rejections):
        for outcome in outcomes:
            record = outcome.record
            offsets.setdefault((record.topic, record.partition), []).append(record.offset)
    topics, partitions = [topic for topic, _ in offsets], [partition for _, partition in offsets]
    return topics, partitions, [min(some) for some in offsets.values()], [max(some) for some in offsets.values()]


def settled_places(
    batch: Batch,
    refused: Sequence[Rejection],
    suspects: Collection[tuple[Any, ...]] | None,
    *,
    whole_records: bool = True,
) -> list[tuple[str, int, int, int, bytes, int]]:
    """The place of a record, and which of its reports was written; index -1 for a record that is readable now.

    A record that is rejected at -1 once more is not, whatever else it brings: that rejection stands beside reports
    that are valid. Only of records whose (topic, partition, offset) is among the `suspects`; None: of all.
    """
    place_of = Places()
    not_written = {(place_of(one.record), one.index) for one in refused}
    unreadable = {place_of(one.record) for one in batch.rejections if one.index < 0}
    outcomes: list[Outcome] = [*batch.reports, *batch.rejections]
    settled: dict[tuple[str, int, int, int, bytes, int], None] = {}
    for outcome in outcomes:
        record = outcome.record
        suspected = suspects is None or (record.topic, record.partition, record.offset) in suspects
        if outcome.index < 0 or not suspected:
            continue
        place = place_of(record)
        if whole_records and place not in unreadable:
            settled[*place, -1] = None
        if type(outcome) is not Rejection and (place, outcome.index) not in not_written:
            settled[*place, outcome.index] = None
    return list(settled)


def refused_by_database(report: Report, refusal: str) -> Rejection:
    return Rejection(report.record, report.index, Reason.DATABASE_REFUSED, f"Postgres: {refusal}")
