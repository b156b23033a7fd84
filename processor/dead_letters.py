"""Dead letters for people: what a stored rejection says, where exactly it went wrong, and the redrive.

A redrive takes the bytes of a rejected report through the same decoding and the same single transaction as ingest, at
the report's own position and timestamp: it can't overwrite what is newer, and doing it twice changes nothing.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from processor import metrics
from processor.catalogue import Catalogue, Problem
from processor.decode import CONFLUENT_MAGIC, SINGLE_OBJECT_MARKER, SUBJECT, Decode, Outcome, WriterSchemas
from processor.errors import TransientError
from processor.messages import Batch, Reason, Rejection, TrialReport
from processor.normalise import Refused, storable
from processor.store.dead_letters import DeadLetter, Redriven, RedriveStore

#: a lock, a deadlock or a switch-over is soon over; after that a person may as well run the command again
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)
_INDEX = re.compile(r"\[(\d+)\]")

Step = str | int
_Read = tuple[dict[str, Any], int] | Problem


@dataclass
class Tally:
    """What a redrive came to, in dead letters (`taken`, `resolved`, `failed_again` by reason), then in reports."""

    taken: int = 0
    resolved: int = 0
    failed_again: Counter[str] = field(default_factory=Counter)
    reports: Counter[str] = field(default_factory=lambda: Counter(inserted=0, changed=0, equal=0, stale=0))
    new_dead_letters: int = 0
    events: int = 0

    def add(self, letters: Sequence[DeadLetter], redriven: Redriven) -> None:
        written = redriven.written
        self.taken += len(letters)
        self.resolved += len(letters) - len(redriven.failed)
        self.failed_again.update(rejection.reason.value for _, rejection in redriven.failed)
        equal = written.touched + written.unchanged
        self.reports.update(inserted=written.inserted, changed=written.changed, equal=equal, stale=written.stale)
        self.new_dead_letters += written.dead_letters
        self.events += written.events

    def as_json(self) -> dict[str, Any]:
        return {
            "dead_letters": self.taken,
            "resolved": self.resolved,
            "failed_again": dict(self.failed_again),
            "reports": dict(self.reports),
            "new_dead_letters": self.new_dead_letters,
            "events": self.events,
        }


class Attempt(NamedTuple):
    """Dead letters that are written in one transaction, and what they are now."""

    letters: Sequence[DeadLetter]
    batch: Batch


def redrive(
    pages: Iterator[Sequence[DeadLetter]],
    decode: Decode,
    sink: RedriveStore,
    max_reports: int = 4000,
    done: Callable[[int], None] = lambda count: None,
) -> Tally:
    """Decodes and writes page after page; memory holds one of them. `done` hears how many dead letters are through.

    Where the sink only rehearses, each transaction is judged against the tables as they are, not as those before it
    would have left them: of two reports of one trial that are far apart, both may count as inserted.
    Raises `TransientError` when the world stays down: what is written stays, the rest is as it was.
    """
    tally = Tally()
    for page in pages:
        for attempt in attempts(page, decode, max_reports):
            redriven = write_patiently(sink, attempt)
            tally.add(attempt.letters, redriven)
            if not sink.rehearses:
                metrics.REDRIVES.labels("resolved").inc(len(attempt.letters) - len(redriven.failed))
                metrics.REDRIVES.labels("failed_again").inc(len(redriven.failed))
            done(len(attempt.letters))
    return tally


def attempts(page: Sequence[DeadLetter], decode: Decode, max_reports: int) -> Iterator[Attempt]:
    """One transaction's worth after the other; the reports of one record stay together."""
    letters: list[DeadLetter] = []
    outcomes: list[Outcome] = []
    for _, same in groupby(page, key=lambda letter: letter.record):
        of_record = list(same)
        letters += of_record
        outcomes += decode_again(of_record, decode)
        if len(outcomes) >= max_reports:
            yield _attempt(letters, outcomes)
            letters, outcomes = [], []
    if letters:
        yield _attempt(letters, outcomes)


def _attempt(letters: list[DeadLetter], outcomes: Sequence[Outcome]) -> Attempt:
    reports = [one for one in outcomes if isinstance(one, TrialReport)]
    return Attempt(letters, Batch(reports, [one for one in outcomes if isinstance(one, Rejection)], {}))


def decode_again(letters: Sequence[DeadLetter], decode: Decode) -> list[Outcome]:
    """What the rejected reports of one record are now: the others of the record were handled when it came.

    Where the record as a whole was rejected and can be read now, all its reports are new.
    """
    record, wanted = letters[0].record, [letter.index for letter in letters]
    outcomes = list(decode(record))
    whole = next((one for one in outcomes if isinstance(one, Rejection) and one.index < 0), None)
    if whole is not None:
        return [Rejection(record, index, whole.reason, whole.detail, whole.path) for index in wanted]
    found = {one.index: one for one in outcomes}
    gone = f"the record now holds {len(outcomes)} reports, none at this place"
    again = [found.get(index) or Rejection(record, index, Reason.REPORT_NOT_OBJECT, gone) for index in wanted]
    return again if -1 not in wanted else outcomes + [one for one in again if one.index not in (-1, *found)]


def write_patiently(sink: RedriveStore, attempt: Attempt) -> Redriven:
    """Tries again where the world is down, a few times; whatever an attempt left behind may be written again."""
    for delay in RETRY_SECONDS:
        try:
            return sink.redrive(*attempt)
        except TransientError:
            time.sleep(delay * random.uniform(0.5, 1.0))
    return sink.redrive(*attempt)


class Reading(NamedTuple):
    """A record's value as a person reads it: `kind` is json, avro, text, binary or empty.

    `place` leads to the spot in `document`, None where it is elsewhere (key, headers); `at` is the byte that can't be
    read, and `note` says why.
    """

    kind: str
    document: Any = None
    place: tuple[Step, ...] | None = None
    at: int | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """With NaN and what else JSON lacks bent as in the tables; a document nested too deeply for that is null."""
        try:
            document = storable(self.document)
        except Refused:
            document = None
        return {**self._asdict(), "document": document}


def read_value(letter: DeadLetter, catalogue: Catalogue, writer_schemas: WriterSchemas | None = None) -> Reading:
    """Never raises for what the value holds."""
    value = letter.record.value
    if not value:
        return Reading("empty")
    if value[0] == CONFLUENT_MAGIC or value[:2] == SINGLE_OBJECT_MARKER:
        try:
            read = _read_avro(value, catalogue, writer_schemas)
        except TransientError as error:  # the registry is down: the bytes are there all the same
            return Reading("binary", note=str(error))
        if isinstance(read, Problem):
            return Reading("binary", note=read.message)
        return Reading("avro", read[0], place_in(read[0], letter))
    return _read_json(value, letter)


def _read_avro(value: bytes, catalogue: Catalogue, writer_schemas: WriterSchemas | None) -> _Read:
    if value[:2] == SINGLE_OBJECT_MARKER:
        return catalogue.read_single_object(SUBJECT, value)
    writer = writer_schemas(int.from_bytes(value[1:5], "big")) if writer_schemas else None
    if writer is None:
        return Problem("", "Avro in Confluent wire format, but its schema is not known here", "unknown_schema")
    return catalogue.read_confluent(SUBJECT, value, writer)


def _read_json(value: bytes, letter: DeadLetter) -> Reading:
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Reading("binary", at=error.start, note=f"not UTF-8 at byte {error.start}")
    try:
        document = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 400 else float(digits))
        return Reading("json", document, place_in(document, letter))
    except json.JSONDecodeError as error:
        where = len(text[: error.pos].encode())
        return Reading("text", at=where, note=f"{error.msg} in line {error.lineno}, column {error.colno}")
    except RecursionError:
        return Reading("text", note="nested too deeply to be shown as JSON")


def place_in(document: Any, letter: DeadLetter) -> tuple[Step, ...] | None:
    """Steps from the top of the value to the spot, or to the last one above it where it is missing itself."""
    path = letter.path
    if path == "key" or path.startswith("headers."):
        return None
    base: tuple[Step, ...] = ("trials",) if isinstance(document, dict) and "trials" in document else ()
    if path.startswith("envelope.") and base:
        return walk(document, path.removeprefix("envelope."))[0]
    if letter.index < 0:
        return walk(document, path)[0]
    if base or isinstance(document, list):
        base = (*base, letter.index)
    node = document
    for step in base:
        try:
            node = node[step]
        except (LookupError, TypeError):
            return ()
    return (*base, *walk(node, path)[0])


def walk(node: Any, path: str) -> tuple[tuple[Step, ...], str]:
    """The steps of the path (`metrics.layers[3]`) that are there, and what is left of it.

    A key may itself hold dots and brackets, so every key that fits is followed, and the one that leads furthest counts.
    """
    best: tuple[tuple[Step, ...], str] = ((), path)
    match = _INDEX.match(path) if isinstance(node, list) else None
    candidates: list[tuple[Step, str]] = []
    if match and int(match[1]) < len(node):
        candidates = [(int(match[1]), path[match.end() :])]
    elif path and isinstance(node, dict):
        candidates = [
            (key, path[len(key) :]) for key in node if path.startswith(key) and path[len(key) :][:1] in ("", ".", "[")
        ]
    for step, rest in candidates:
        steps, left = walk(node[step], rest.removeprefix("."))
        if len(left) < len(best[1]):
            best = ((step, *steps), left)
    return best
