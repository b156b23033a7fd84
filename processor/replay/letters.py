"""Which dead letters stand for a report of a range that is read again."""

from __future__ import annotations

from collections.abc import Mapping

from processor.core.messages import Outcome
from processor.store.compare import Letter


def letters_of(letters: Mapping[Letter, bool], outcome: Outcome, *, beside_whole: bool = False) -> list[bool]:
    """For each dead letter that stands for this report, alone or with its whole record: True where it is unresolved.

    `beside_whole`: the record is rejected at -1 and this is a report of it that is valid all the same: it was written,
    and only a dead letter of its own stands for it.
    """
    record = outcome.record
    places = {outcome.index} if beside_whole else {outcome.index, -1}
    found = (letters.get(Letter(record.partition, record.offset, record.timestamp_ms, place)) for place in places)
    return [unresolved for unresolved in found if unresolved is not None]
