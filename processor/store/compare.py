"""Reports beside the rows and dead letters that are there; every query in a read-only transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

from processor.messages import RawRecord
from processor.store.connection import ReportError, Store
from processor.store.queries import load_queries


class Position(NamedTuple):
    """Where the report that a row holds came from."""

    topic: str
    partition: int
    offset: int
    place: int


class Compared(NamedTuple):
    """One report beside the row of its trial.

    `newer` is 1 where the report is newer than the row, 0 where the row holds this very report, -1 where it is older;
    `fields` are those whose content differs. `refusal` holds the database's words where it can't even read the report.
    """

    run_known: bool = False
    held: bool = False
    revision: int = 0
    position: Position | None = None
    newer: int = 1
    fields: tuple[str, ...] = ()
    refusal: str = ""


class Letter(NamedTuple):
    """Which report a dead letter stands for: `place` -1 is a record as a whole."""

    partition: int
    offset: int
    timestamp_ms: int
    place: int


class Comparison:
    """Reads rows and dead letters and can't write any. Raises what `Store` raises."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def compare(self, rows: Sequence[bytes]) -> list[Compared]:
        """Each report (as `store.writer.row_json` gives it) beside its row; no two may be of the same trial."""
        if not rows:
            return []
        document = b"[" + b",".join(rows) + b"]"
        try:
            found = self._fetch("compare_reports", document)
        except ReportError as error:
            if len(rows) == 1:
                return [Compared(refusal=str(error))]
            middle = len(rows) // 2
            return self.compare(rows[:middle]) + self.compare(rows[middle:])
        return [_compared(row) for row in found]

    def letters(self, records: Sequence[RawRecord]) -> dict[Letter, bool]:
        """The dead letters of these records of one topic; True where one is not resolved."""
        spans: dict[int, tuple[int, int]] = {}
        for record in records:
            first, after = spans.get(record.partition, (record.offset, record.offset))
            spans[record.partition] = min(first, record.offset), max(after, record.offset + 1)
        if not spans:
            return {}
        firsts, nexts = zip(*spans.values(), strict=True)
        found = self._fetch("dead_letters_between", records[0].topic, list(spans), firsts, nexts)
        return {
            Letter(row["partition"], row["offset"], row["timestamp_ms"], row["report_index"]): row["open"]
            for row in found
        }

    def _fetch(self, name: str, *args: Any) -> list[Any]:
        async def work(connection: asyncpg.Connection) -> list[Any]:
            async with connection.transaction(readonly=True):
                return list(await connection.fetch(load_queries()[name], *args))

        return self._store.run(work)


def _compared(row: Any) -> Compared:
    if not row["held"]:
        return Compared(row["run_known"])
    position = None
    if row["source_topic"] is not None:
        position = Position(row["source_topic"], row["source_partition"], row["source_offset"], row["source_index"])
    return Compared(True, True, row["revision"], position, row["position"], tuple(row["fields"]))
