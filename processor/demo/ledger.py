"""What was sent, what must come of it, and whether it did; pure, so that each kind of mismatch has a test."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from processor.core.fields import COMPLETE, COMPLETE_NAMES, FAILED, FAILED_NAMES, NAMES
from processor.core.messages import RawRecord
from processor.demo.life import Life, Told, compare_life
from processor.events.headers import event_id

Content = Mapping[str, Any]
Trial = tuple[str, str]  # run_id, trial_id


class Rejected(NamedTuple):
    """A report that must become a dead letter: the bytes it came in, its place there (-1: all of it), and why."""

    value: bytes
    place: int
    reason: str


class Observed(NamedTuple):
    """What Postgres and the two output topics hold of the demo's runs; `told` is what came before trials ended."""

    rows: Sequence[Mapping[str, Any]]
    dead_letters: Sequence[Mapping[str, Any]]
    events: Sequence[RawRecord]
    dead_letter_records: Sequence[RawRecord]
    told: Told = Told()


class Ledger:
    """Written while sending: every report, as the revision of a trial, a repetition, or a rejection."""

    def __init__(self) -> None:
        self.revisions: dict[Trial, list[Content]] = {}
        self.rejected: list[Rejected] = []
        self.repeated = 0
        self.life = Life()

    def expect(self, run_id: str, trial_id: str, content: Content) -> None:
        """A valid report; one that says what the trial's last one said must change nothing."""
        history = self.revisions.setdefault((run_id, trial_id), [])
        stored = _as_stored({name: content.get(name) for name in NAMES})
        if history and history[-1] == stored:
            self.repeated += 1
        else:
            history.append(stored)

    def expect_rejection(self, rejected: Rejected) -> None:
        self.rejected.append(rejected)

    @property
    def trials(self) -> int:
        return len(self.revisions)

    @property
    def total_revisions(self) -> int:
        return sum(map(len, self.revisions.values()))

    @property
    def sent(self) -> int:
        """Reports of trials that have ended, and what is none."""
        return self.total_revisions + self.repeated + len(self.rejected)

    def events(self) -> dict[str, dict[str, Any]]:
        """The events that must be there, body by ce_id."""
        bodies = {
            event_id(*trial, number): body
            for trial, history in self.revisions.items()
            for number, content in enumerate(history, start=1)
            if (body := _event_body(trial, number, content)) is not None
        }
        return bodies | {name: _as_read(body) for name, body in self.life.events().items()}


def reconcile(ledger: Ledger, observed: Observed) -> list[str]:
    """Every difference between what was sent and what is there, a sentence each; none: all is well."""
    return [
        *_compare_rows(ledger, observed.rows),
        *_compare_dead_letters(ledger, observed.dead_letters),
        *_compare_events(ledger, observed.events),
        *_compare_dead_letter_records(observed),
        *compare_life(ledger.life, observed.told),
    ]


def _compare_rows(ledger: Ledger, rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    found: dict[Trial, Mapping[str, Any]] = {(row["run_id"], row["trial_id"]): row for row in rows}
    for run_id, trial_id in found.keys() - ledger.revisions.keys():
        yield f"row {run_id}/{trial_id} was never sent"
    for (run_id, trial_id), history in ledger.revisions.items():
        row = found.get((run_id, trial_id))
        if row is None:
            yield f"trial {run_id}/{trial_id} was sent, but has no row"
            continue
        if row["revision"] != len(history):
            yield f"row {run_id}/{trial_id} has revision {row['revision']} instead of {len(history)}"
        there = _as_stored({name: row[name] for name in NAMES})
        for name in NAMES:
            if there[name] != history[-1][name]:
                yield f"row {run_id}/{trial_id}: {name} differs from what was sent last"


def _compare_dead_letters(ledger: Ledger, dead_letters: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    expected = Counter(ledger.rejected)
    found = Counter(Rejected(row["value"] or b"", row["report_index"], row["reason"]) for row in dead_letters)
    for rejected in expected - found:
        yield f"no dead letter for {rejected.reason}: {rejected.value[:60]!r}"
    for rejected in found - expected:
        yield f"unexpected dead letter, {rejected.reason}: {rejected.value[:60]!r}"


def _compare_events(ledger: Ledger, events: Sequence[RawRecord]) -> Iterable[str]:
    expected = ledger.events()
    found = Counter(header(event, "ce_id") for event in events)
    yield from (f"event {name} is there {count} times" for name, count in found.items() if count > 1)
    yield from (f"event {name} belongs to no revision" for name in found.keys() - expected.keys())
    for name in expected.keys() - found.keys():
        body = expected[name]
        yield f"no event for {'/'.join(_subject(body))} revision {body['revision']}"
    latest: dict[tuple[str, ...], int] = {}
    for event in events:
        name = header(event, "ce_id")
        if name not in expected:
            continue
        body = expected[name]
        if json.loads(event.value or b"null", parse_int=float) != body:
            yield f"the body of event {name} differs from what was sent"
        trial = _subject(body)
        if body["revision"] < latest.get(trial, 0):
            yield f"events of {'/'.join(trial)} are out of order"
        latest[trial] = body["revision"]


def _subject(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a trial, or of a run."""
    return tuple(body[name] for name in ("model_run_id", "trial_id") if name in body)


def _compare_dead_letter_records(observed: Observed) -> Iterable[str]:
    stored = {str(row["id"]): row["value"] or b"" for row in observed.dead_letters}
    published = Counter(header(record, "dead_letter_id") for record in observed.dead_letter_records)
    yield from (f"dead letter {number} was never published" for number in stored.keys() - published.keys())
    yield from (f"dead letter {number} was published {n} times" for number, n in published.items() if n > 1)
    for record in observed.dead_letter_records:
        number = header(record, "dead_letter_id")
        if stored.get(number) != (record.value or b""):
            yield f"dead letter {number} was published with other bytes than were sent"


def _event_body(trial: Trial, revision: int, content: Content) -> dict[str, Any] | None:
    about = {"model_run_id": trial[0], "trial_id": trial[1], "revision": revision}
    if content["status"] == "succeeded":
        said = {name: content[name] for name in COMPLETE_NAMES}
        return {**said, **about, "event": COMPLETE, "status": "completed"}
    if content["status"] == "failed":
        said = {name: content[name] for name in FAILED_NAMES}
        message = content["error_message"] or (content["warnings"][0] if content["warnings"] else "Trial failed")
        kind = content["error_type"] or "trial_failed"
        about |= {"event": FAILED, "status": "failed", "error_message": message, "error_type": kind}
        return {**said, **about}
    return None


def header(record: RawRecord, name: str) -> str:
    """The header's text, "" where it is missing."""
    return (dict(record.headers).get(name) or b"").decode()


def _as_read(body: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(body), parse_int=float)
    return read


def _as_stored(content: Content) -> Content:
    """In a form to compare: NaN and infinities are strings in Postgres, and numbers have no kind there (1e30 comes
    back as an integer of 31 digits)."""
    stored: Content = json.loads(json.dumps(content), parse_constant=str, parse_int=float)
    return stored
