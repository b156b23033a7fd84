"""Which dead letters stand for a report of a range that is read again."""

from __future__ import annotations

from collections.abc import Mapping

from processor.core.messages import Outcome
from processor.store.compare import Letter


def letters_of(letters: Mapping[Letter, bool], outcome: Outcome) -> list[bool]:
    """For each dead letter that stands for this report, alone or with its whole record: True where it is unresolved."""
    record = outcome.record
    places = {outcome.index, -1}
    found = (letters.get(Letter(record.partition, record.offset, record.timestamp_ms, place)) for place in places)
    return [unresolved for unresolved in found if unresolved is not None]
