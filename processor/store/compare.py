"""Reports beside the rows and dead letters that are there; every query in a read-only transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

from processor.core.messages import RawRecord
from processor.core.parts import Halves
from processor.core.verdict import Verdict
from processor.store.errors import ReportError
from processor.store.queries import load_queries
from processor.store.rejections import Places
from processor.store.session import Session


class Position(NamedTuple):
    """Where the report that a row holds came from."""

    topic: str
    partition: int
    offset: int
    place: int


class Compared(NamedTuple):
    """One report beside the row of its trial.

    `verdict` is what writing it would do; `newer` is 1 where it is newer than the row, 0 where the row holds this very
    report, -1 where it is older; `fields` are those whose content differs. `refusal` holds the database's words where
    it can't even read the report.
    """

    run_known: bool = False
    verdict: Verdict = Verdict.INSERTED
    revision: int = 0
    position: Position | None = None
    newer: int = 1
    fields: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def held(self) -> bool:
        """Whether there is a row."""
        return self.verdict is not Verdict.INSERTED


class Letter(NamedTuple):
    """Which report a dead letter stands for: `place` -1 is a record as a whole."""

    partition: int
    offset: int
    timestamp_ms: int
    place: int


class Comparison:
    """Reads rows and dead letters and can't write any. Raises what `Store` raises."""

    def __init__(self, store: Session) -> None:
        self._store = store

    def compare(self, rows: Sequence[bytes]) -> list[Compared]:
        """Each report (as `store.rows.row_json` gives it) beside its row; no two may be of the same trial."""
        compared: list[Compared] = []
        halves = Halves(rows)
        for part in halves:
            try:
                found = self._fetch("compare_reports", b"[" + b",".join(part) + b"]")
            except ReportError as error:
                if not halves.split():
                    compared.append(Compared(refusal=str(error)))
            else:
                compared += [_compared(row) for row in found]
        return compared

    def letters(self, records: Sequence[RawRecord]) -> dict[Letter, bool]:
        """The dead letters of these records of one topic; True where one is not resolved."""
        spans: dict[int, tuple[int, int]] = {}
        given: dict[tuple[int, int, int], RawRecord] = {}
        for record in records:
            given[record.partition, record.offset, record.timestamp_ms] = record
            first, after = spans.get(record.partition, (record.offset, record.offset))
            spans[record.partition] = min(first, record.offset), max(after, record.offset + 1)
        if not spans:
            return {}
        firsts, nexts = zip(*spans.values(), strict=True)
        found = self._fetch("dead_letters_between", records[0].topic, list(spans), firsts, nexts)
        letters: dict[Letter, bool] = {}
        place_of = Places()
        for row in found:
            where = row["partition"], row["offset"], row["timestamp_ms"]
            # another record that stood there before the topic was made anew is none of these
            if where in given and place_of(given[where]).digest == row["digest"]:
                letters[Letter(*where, row["report_index"])] = row["open"]
        return letters

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
    verdict, fields = Verdict(row["verdict"]), tuple(row["fields"])
    return Compared(True, verdict, row["revision"], position, row["position"], fields)
