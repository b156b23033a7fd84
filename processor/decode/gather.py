"""Many rejections of one record -> one that says how many and of what; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from processor.core.messages import Outcome, RawRecord, Rejection
from processor.core.text import one_line

#: rejections of one record that are each kept: more are the work of one mistake, and a person reads the first. Each is
#: a row and a message, which a record of 1 MiB could otherwise ask for by the ten thousand
MAX_REJECTIONS = 100


def gathered(record: RawRecord, outcomes: list[Outcome], within: str) -> list[Outcome]:
    """The outcomes as they are, or where too many are rejections: the reports, then one rejection of all the others.

    It is of the record as a whole, place -1, and has the reason that most of them have. `within` is the path of the
    list that holds the reports.
    """
    if len(outcomes) <= MAX_REJECTIONS:
        return outcomes
    rejections = [one for one in outcomes if type(one) is Rejection]
    if len(rejections) <= MAX_REJECTIONS:
        return outcomes
    kept = [one for one in outcomes if type(one) is not Rejection]
    return [*kept, _one_for(record, rejections, len(outcomes), within)]


def _one_for(record: RawRecord, rejections: Sequence[Rejection], reports: int, within: str) -> Rejection:
    reasons = Counter(one.reason for one in rejections).most_common()
    first = rejections[0]
    path = f"{within}[{first.index}]" + (f".{first.path}" if first.path else "")
    what = ", ".join(f"{number:,} {reason.value}" for reason, number in reasons)
    detail = f"{len(rejections):,} of {reports:,} reports rejected: {what}; the first: {path}: {first.detail}"
    return Rejection(record, -1, reasons[0][0], one_line(detail), path)
