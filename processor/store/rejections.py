"""What becomes of rejections in the batch's own transaction: stored once, with their original bytes, and resolved when
a replay or a redrive brings a report that can be written after all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import asyncpg

from processor.core.messages import Batch, OutboxMessage, Outcome, RawRecord, Reason, Rejection, TrialReport
from processor.core.text import storable
from processor.events.headers import dead_letter_message
from processor.store.headers import headers_json
from processor.store.queries import load_queries

#: dead letters that a batch's reports are compared with one by one; where there are more, all reports are looked up
MAX_SUSPECTS = 1000


async def resolve_written(connection: asyncpg.Connection, batch: Batch, refused: Sequence[Rejection]) -> None:
    """Resolves dead letters of reports that are written now: a replay or a redrive brought them again.

    Runs behind the locks on the runs and before the batch's own rejections are stored: where nothing comes again it
    is one look at an index.
    """
    spans = spans_of(batch)
    found = await connection.fetch(load_queries()["unresolved_in_spans"], *spans, MAX_SUSPECTS)
    if found:
        suspects = {tuple(row) for row in found} if len(found) < MAX_SUSPECTS else None
        places = settled_places(batch, refused, suspects)
        if places:
            await connection.execute(load_queries()["resolve_written"], *zip(*places, strict=True))


async def store_rejections(connection: asyncpg.Connection, rejections: Sequence[Rejection]) -> list[OutboxMessage]:
    """Stores what is not stored yet; the messages for the dead letter topic.

    A record may be twice in a batch, when reading was reset meanwhile: its rejection is stored and published once.
    """
    rejections = list({(place_of(one.record), one.index): one for one in rejections}.values())
    records = {place_of(rejection.record): rejection.record for rejection in rejections}
    columns = [(*place, record.key, record.value, headers_json(record.headers)) for place, record in records.items()]
    await connection.execute(load_queries()["insert_dead_letter_records"], *zip(*columns, strict=True))
    letters = [
        (*place_of(one.record), one.index, one.reason.value, storable(one.detail), storable(one.path))
        for one in rejections
    ]
    rows = await connection.fetch(load_queries()["insert_dead_letters"], *zip(*letters, strict=True))
    ids = {(row["topic"], row["partition"], row["offset"], row["report_index"]): row["id"] for row in rows}
    return [
        dead_letter_message(one, ids[key])
        for one in rejections
        if (key := (one.record.topic, one.record.partition, one.record.offset, one.index)) in ids
    ]


def place_of(record: RawRecord) -> tuple[str, int, int, int]:
    return (record.topic, record.partition, record.offset, record.timestamp_ms)


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
    batch: Batch, refused: Sequence[Rejection], suspects: Collection[tuple[Any, ...]] | None
) -> list[tuple[str, int, int, int, int]]:
    """(topic, partition, offset, timestamp, index) of what was written, index -1 for a record that is readable now.

    Only of records whose (topic, partition, offset) is among the `suspects`; None: of all.
    """
    not_written = {(place_of(one.record), one.index) for one in refused}
    outcomes: list[Outcome] = [*batch.reports, *batch.rejections]
    settled: dict[tuple[str, int, int, int, int], None] = {}
    for outcome in outcomes:
        place = place_of(outcome.record)
        if outcome.index < 0 or (suspects is not None and place[:3] not in suspects):
            continue
        settled[*place, -1] = None
        if type(outcome) is TrialReport and (place, outcome.index) not in not_written:
            settled[*place, outcome.index] = None
    return list(settled)


def refused_by_database(report: TrialReport, refusal: str) -> Rejection:
    return Rejection(report.record, report.index, Reason.DATABASE_REFUSED, f"Postgres: {refusal}")
