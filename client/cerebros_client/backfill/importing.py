"""A source into a reporter: sent, confirmed, and only then remembered as done."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from cerebros_client.backfill.items import Item, Skipped, Source
from cerebros_client.backfill.journal import Journal
from cerebros_client.reporter import TrialReporter

log = logging.getLogger(__name__)

# an interruption repeats at most so many; each wait for the broker costs some milliseconds
PORTION = 1000
_FLUSH_S = 600.0  # a broker that is away for longer ends the import, which goes on from there
_NAMED = 20  # skipped things that are named one by one


@dataclass
class Imported:
    """Counts: reports sent and confirmed, known from earlier imports, and skipped by reason."""

    sent: int = 0
    known: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def run_import(
    source: Source,
    reporter: TrialReporter,
    journal: Journal,
    target: str,
    *,
    again: bool = False,
    advance: Callable[[], None] = lambda: None,
    before: Callable[[Item], None] = lambda _: None,
) -> Imported:
    """Reports each item of the source that no earlier import to `target` has had confirmed.

    1. up to `PORTION` reports are queued
    2. Kafka, or the gateway, has confirmed them
    3. the journal remembers them

    `again`: also those that the journal knows. `before` is called with each item that is sent. Raises
    `UndeliveredError`, `SourceError`; what was confirmed until then is remembered.
    """
    result, waiting = Imported(), list[bytes]()
    for item in source:
        advance()
        if isinstance(item, Skipped):
            result.skipped[item.reason] += 1
            if result.skipped.total() <= _NAMED:
                log.warning("%s: skipped: %s", item.where, item.reason)
            continue
        digest = item.digest(target)
        if not again and journal.has(digest):
            result.known += 1
            continue
        before(item)
        try:
            send(reporter, item)
        except (ValueError, TypeError) as error:  # an id that is too long, a time that is none
            result.skipped[str(error)[:200]] += 1
            log.warning("%s/%s: skipped: %s", item.run_id[:80], item.trial_id[:80], error)
            continue
        waiting.append(digest)
        if len(waiting) >= PORTION:
            _confirm(reporter, journal, waiting, result)
    _confirm(reporter, journal, waiting, result)
    return result


def send(reporter: TrialReporter, item: Item) -> None:
    if item.value is not None:
        reporter.send(item.run_id, item.trial_id, item.value, timestamp_ms=item.at_ms)
    else:
        reporter.report(item.run_id, item.trial_id, at=item.at_ms, **item.fields)


def _confirm(reporter: TrialReporter, journal: Journal, waiting: list[bytes], result: Imported) -> None:
    if waiting:
        reporter.flush(_FLUSH_S)
        journal.add(waiting)
        result.sent += len(waiting)
        waiting.clear()
