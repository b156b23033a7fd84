"""Stored rejections: listing them, reading them in pages, and writing what a redrive makes of them.

A redrive writes like ingest does, in the same single transaction, and in it settles the dead letters themselves: killed
at any point it leaves either all of a batch or nothing, and whatever it wrote may be written again.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import msgspec

from processor.errors import UsageError
from processor.events import timestamp_text
from processor.messages import Batch, Headers, RawRecord, Rejection, Written
from processor.normalise import storable
from processor.store.connection import Store
from processor.store.queries import load_queries
from processor.store.rejections import place_of
from processor.store.writer import EventOf, TrialStore


class DeadLetter(msgspec.Struct, frozen=True):
    """A stored rejection with the record it came from; `reason`, `detail` and `path` are those of the first failure."""

    id: int
    record: RawRecord
    index: int
    reason: str
    detail: str
    path: str
    attempts: int
    first_seen: datetime
    last_seen: datetime
    last_detail: str | None
    resolved_at: datetime | None


def as_document(letter: DeadLetter) -> dict[str, Any]:
    """All of it for JSON; every byte is kept: {"text"} where it is UTF-8, else {"base64"}, null where there is none."""
    record = letter.record
    return {
        "id": letter.id,
        "reason": letter.reason,
        "detail": letter.detail,
        "path": letter.path,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": timestamp_text(record.timestamp_ms),
        "timestamp_ms": record.timestamp_ms,
        "report_index": letter.index,
        "attempts": letter.attempts,
        "first_seen": letter.first_seen,
        "last_seen": letter.last_seen,
        "last_detail": letter.last_detail,
        "resolved_at": letter.resolved_at,
        "key": _lossless(record.key),
        "headers": [{"name": name, "value": _lossless(value)} for name, value in record.headers],
        "value": _lossless(record.value),
    }


def _lossless(value: bytes | None) -> dict[str, str] | None:
    if value is None:
        return None
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


class Selection(NamedTuple):
    """Which dead letters are meant: all conditions hold; None is no condition. `bound` is the latest id to look at."""

    reason: str | None = None
    since_ms: int | None = None
    ids: Sequence[int] | None = None
    resolved_too: bool = False
    bound: int = 2**63 - 1


class DeadLetters:
    """Reads dead letters. Use it in one thread only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def groups(self, *, resolved_too: bool = False) -> list[dict[str, Any]]:
        """reason, count, resolved (how many of them), first_seen, last_seen, example_id, example; largest first."""
        return self._store.fetch("dead_letter_groups", resolved_too)

    def latest(self, reason: str, limit: int, *, resolved_too: bool = False) -> list[dict[str, Any]]:
        """The latest ones with the reason, newest first, without their records' bytes."""
        return self._store.fetch("dead_letter_list", reason, resolved_too, limit)

    def bounded(self, selection: Selection) -> Selection:
        """The selection less all that comes after this moment."""
        return selection._replace(bound=int(self._store.fetch("dead_letter_bound")[0]["id"]))

    def count(self, selection: Selection) -> int:
        return int(self._store.fetch("dead_letter_count", *selection)[0]["count"])

    def check_ids(self, ids: Sequence[int]) -> list[int]:
        """Those that are resolved already; raises `UsageError` where one is not there at all."""
        known = {row["id"]: row["resolved_at"] for row in self._store.fetch("dead_letters_known", list(ids))}
        unknown = [str(one) for one in ids if one not in known]
        if unknown:
            raise UsageError(f"there is no dead letter {', '.join(unknown)}; `processor dead-letters list` shows all")
        return [one for one in ids if known[one] is not None]

    def get(self, dead_letter_id: int) -> DeadLetter:
        """Raises `UsageError` where there is none."""
        self.check_ids([dead_letter_id])
        (page,) = self.pages(Selection(ids=[dead_letter_id], resolved_too=True), 1, 1)
        return page[0]

    def pages(
        self, selection: Selection, max_letters: int, max_bytes: int, most: int | None = None
    ) -> Iterator[list[DeadLetter]]:
        """The selection, at most `most`, by record and place in it; each comes once, whatever becomes of it meanwhile.

        A page has at most `max_letters` and `max_bytes` of records; one record always fits.
        """
        behind = (0, -1)
        left = 2**63 - 1 if most is None else most
        while left > 0:
            rows = self._store.fetch("dead_letter_page", *selection, *behind, min(max_letters, left))
            if not rows:
                return
            behind = (rows[-1]["record_id"], rows[-1]["report_index"])
            left -= len(rows)
            for part in _split_by_bytes(rows, max_bytes):
                yield self._with_records(part)

    def _with_records(self, rows: Sequence[dict[str, Any]]) -> list[DeadLetter]:
        held = self._store.fetch("dead_letter_bytes", list({row["record_id"] for row in rows}))
        holding = {row["id"]: row for row in held}
        records: dict[int, RawRecord] = {}
        letters = []
        for row in rows:
            if row["record_id"] not in holding:  # deleted by a person, just now
                continue
            if row["record_id"] not in records:
                records[row["record_id"]] = _record(row, holding[row["record_id"]])
            letters.append(_letter(row, records[row["record_id"]]))
        return letters


def _split_by_bytes(rows: Sequence[dict[str, Any]], max_bytes: int) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if not part or row["record_id"] != part[-1]["record_id"]:
            size += row["bytes"]
            if part and size > max_bytes:
                yield part
                part, size = [], row["bytes"]
        part.append(row)
    if part:
        yield part


def _record(row: dict[str, Any], held: dict[str, Any]) -> RawRecord:
    position = (row["topic"], row["partition"], row["offset"], row["timestamp_ms"])
    return RawRecord(*position, held["key"], held["value"], read_headers(held["headers"]))


def _letter(row: dict[str, Any], record: RawRecord) -> DeadLetter:
    same = ("reason", "detail", "path", "attempts", "first_seen", "last_seen", "last_detail", "resolved_at")
    return DeadLetter(id=row["id"], record=record, index=row["report_index"], **{name: row[name] for name in same})


def read_headers(entries: Sequence[dict[str, str]]) -> Headers:
    """What `writer.headers_json` wrote, as it was in the record."""

    def value(entry: dict[str, str]) -> bytes | None:
        if "base64" in entry:
            return b64decode(entry["base64"])
        return entry["text"].encode() if "text" in entry else None

    return tuple((entry["name"], value(entry)) for entry in entries)


class Redriven(NamedTuple):
    """What one batch of a redrive came to: `failed` are the dead letters that were rejected again, and by what."""

    written: Written
    failed: Sequence[tuple[DeadLetter, Rejection]]


class RedriveStore(TrialStore):
    """Writes what dead letters give when they are decoded again. Use it in one thread only.

    In the transaction of the rows and their events: who is not rejected again is resolved, who is counts one more
    attempt. One that `rehearses` does all of it and takes it back at the end.
    """

    def __init__(self, store: Store, event_of: EventOf, *, create_runs: bool = True, rehearses: bool = False) -> None:
        super().__init__(store, event_of, create_runs=create_runs)
        self.rehearses = rehearses
        self._letters: Sequence[DeadLetter] = ()

    def redrive(self, letters: Sequence[DeadLetter], batch: Batch) -> Redriven:
        """Writes the batch that the dead letters came to, and settles them; raises as `write` does."""
        self._letters = letters
        if not batch.reports and not batch.rejections:  # readable now, and empty: nothing to write
            if not self.rehearses:
                self._store.execute("resolve_letters", [letter.id for letter in letters])
            return Redriven(Written(), [])
        written = self.write(batch)
        return Redriven(written, failures(letters, (*batch.rejections, *written.rejected_by_database)))

    async def _write(self, connection: asyncpg.Connection, batch: Batch, *, isolate: bool) -> Written:
        if not self.rehearses:
            return await super()._write(connection, batch, isolate=isolate)
        transaction = connection.transaction()  # the real one is a savepoint within this
        await transaction.start()
        try:
            return await super()._write(connection, batch, isolate=isolate)
        finally:
            await transaction.rollback()

    async def _resolve(self, connection: asyncpg.Connection, batch: Batch, refused: Sequence[Rejection]) -> None:
        await super()._resolve(connection, batch, refused)
        queries = load_queries()
        failed = failures(self._letters, (*batch.rejections, *refused))
        failed_ids = {letter.id for letter, _ in failed}
        settled = [letter.id for letter in self._letters if letter.id not in failed_ids]
        await connection.execute(queries["resolve_letters"], settled)
        if failed:
            rows = [(letter.id, letter.attempts, said_again(letter, rejection)) for letter, rejection in failed]
            await connection.execute(queries["count_attempts"], *zip(*rows, strict=True))


def failures(letters: Sequence[DeadLetter], rejections: Sequence[Rejection]) -> list[tuple[DeadLetter, Rejection]]:
    """The dead letters that are rejected again, each with its new rejection."""
    found = {(place_of(one.record), one.index): one for one in rejections}
    pairs = ((letter, found.get((place_of(letter.record), letter.index))) for letter in letters)
    return [(letter, rejection) for letter, rejection in pairs if rejection is not None]


def said_again(letter: DeadLetter, rejection: Rejection) -> str:
    """The new sentence; behind the new reason where that is another one."""
    said = rejection.detail if rejection.reason == letter.reason else f"{rejection.reason.value}: {rejection.detail}"
    return str(storable(said))
