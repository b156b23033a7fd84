"""Stored rejections: listing them, and reading them in pages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from processor.core.errors import UsageError
from processor.core.messages import RawRecord
from processor.core.parts import in_parts
from processor.core.times import timestamp_text
from processor.store.headers import read_headers
from processor.store.session import Session


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


#: of each reason unresolved ones are counted one by one up to here; of more it is about so many
LETTERS_COUNTED = 10_000


class Selection(NamedTuple):
    """Which dead letters are meant: all conditions hold; None is no condition. `bound` is the latest id to look at."""

    reason: str | None = None
    since_ms: int | None = None
    ids: Sequence[int] | None = None
    resolved_too: bool = False
    bound: int = 2**63 - 1


class DeadLetters:
    """Reads dead letters. Use it in one thread only."""

    def __init__(self, store: Session) -> None:
        self._store = store

    def groups(self, *, resolved_too: bool = False) -> list[dict[str, Any]]:
        """reason, count, resolved (how many of them), first_seen, last_seen, example_id, example; largest first."""
        return self._store.fetch("dead_letter_groups", resolved_too)

    def reasons(self) -> list[dict[str, Any]]:
        """Unresolved ones: reason, count, about (so many), last_seen; the most first. As quick for millions."""
        return self._store.fetch("dead_letter_reasons", LETTERS_COUNTED)

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
            for part in in_parts(_by_record(rows), lambda same: int(same[0]["bytes"]), max_bytes):
                yield self._with_records([row for same in part for row in same])

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


def _by_record(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The dead letters of each record together: they share its bytes."""
    return (list(same) for _, same in groupby(rows, key=itemgetter("record_id")))


def _record(row: dict[str, Any], held: dict[str, Any]) -> RawRecord:
    position = (row["topic"], row["partition"], row["offset"], row["timestamp_ms"])
    return RawRecord(*position, held["key"], held["value"], read_headers(held["headers"]))


def _letter(row: dict[str, Any], record: RawRecord) -> DeadLetter:
    same = ("reason", "detail", "path", "attempts", "first_seen", "last_seen", "last_detail", "resolved_at")
    return DeadLetter(id=row["id"], record=record, index=row["report_index"], **{name: row[name] for name in same})
