"""The redrive: dead letters through the pipeline again.

A redrive takes the bytes of a rejected report through the same decoding and the same single transaction as ingest, at
the report's own position and timestamp: it can't overwrite what is newer, and doing it twice changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from processor.core import metrics
from processor.core.errors import TransientError
from processor.core.messages import Batch, Outcome, Reason, Rejection
from processor.core.times import Backoff
from processor.decode.decoder import Decode
from processor.store.dead_letters import DeadLetter
from processor.store.redrive import Redriven, RedriveStore

#: a lock, a deadlock or a switch-over is soon over; after that a person may as well run the command again
RETRIES, RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS = 5, 0.2, 4.0


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
    reports = [one for one in outcomes if not isinstance(one, Rejection)]
    return Attempt(letters, Batch(reports, [one for one in outcomes if isinstance(one, Rejection)], {}))


def decode_again(letters: Sequence[DeadLetter], decode: Decode) -> list[Outcome]:
    """What the rejected reports of one record are now: the others of the record were handled when it came.

    Where the record as a whole was rejected, all that can be read of it now, and what is still rejected. Some of these
    reports may have stood beside the rejection and have rows: at their own positions they change nothing.
    """
    record, wanted = letters[0].record, [letter.index for letter in letters]
    outcomes = list(decode(record))
    found = {one.index: one for one in outcomes}
    whole = found.get(-1)

    def gone(index: int) -> Rejection:
        if isinstance(whole, Rejection):
            return Rejection(record, index, whole.reason, whole.detail, whole.path)
        said = f"the record now holds {len(outcomes)} reports, none at this place"
        return Rejection(record, index, Reason.REPORT_NOT_OBJECT, said)

    if -1 not in wanted:
        return [found.get(index) or gone(index) for index in wanted]
    return outcomes + [gone(index) for index in wanted if index != -1 and index not in found]


def write_patiently(sink: RedriveStore, attempt: Attempt) -> Redriven:
    """Tries again where the world is down, a few times; whatever an attempt left behind may be written again."""
    backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS)
    for _ in range(RETRIES):
        try:
            return sink.redrive(*attempt)
        except TransientError:
            time.sleep(backoff.next_s())
    return sink.redrive(*attempt)
