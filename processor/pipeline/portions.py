"""How much of a batch goes into one transaction; pure.

A batch may be too much at once for the database (a slow trigger, a statement timeout, little memory). Then it is
written in halves, in its order, each a transaction of its own. Nothing can be seen of that: what is written twice is
recognised, and the offsets are committed once all of it is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from msgspec.structs import replace

from processor.core.messages import Batch, Outcome, Rejection, Report

UNLIMITED = sys.maxsize
#: portions near the limit that have to be written before a larger one is tried: its failure costs a timeout
GROW_AFTER = 8
#: beyond the largest batch that settings allow a limit limits nothing
_MOST = 100_000


class Portions:
    """The size that the database has taken lately: halved where it did not, doubled after `GROW_AFTER` that it did."""

    def __init__(self) -> None:
        self.limit = UNLIMITED
        self._taken = 0

    @property
    def patience(self) -> int:
        """How often a portion may fail before it is halved: a size that is only tried out goes back at once."""
        return 2 if self.limit == UNLIMITED else 1

    def failed(self, size: int) -> None:
        self.limit, self._taken = max(1, (size + 1) // 2), 0

    def took(self, size: int) -> None:
        if self.limit == UNLIMITED or size * 2 <= self.limit:
            return
        self._taken += 1
        if self._taken == GROW_AFTER:
            grown, self._taken = self.limit * 2, 0
            self.limit = grown if grown <= _MOST else UNLIMITED


def outcomes_of(batch: Batch) -> Sequence[Outcome]:
    """What a batch is cut into."""
    return [*batch.reports, *batch.rejections]


def portion_of(batch: Batch, part: Sequence[Outcome]) -> Batch:
    """A part of the batch's outcomes as a batch.

    A record's rejection at -1 goes along with each of its reports: without it they would say that the record can be
    read now. Stored once more, it changes nothing.
    """
    if len(part) == len(batch.reports) + len(batch.rejections):
        return batch
    reports = [one for one in part if type(one) is not Rejection]
    rejections: dict[int, Rejection] = {id(one): one for one in part if type(one) is Rejection}
    records = {id(one.record) for one in reports}
    for one in batch.rejections:
        if one.index < 0 and id(one.record) in records:
            rejections[id(one)] = one
    return replace(batch, reports=reports, rejections=list(rejections.values()))


def without_runs(portion: Batch, waiting: Sequence[Report]) -> tuple[Batch, list[Report]]:
    """The portion less the runs of reports that wait, and its own reports of these runs."""
    if not waiting:
        return portion, []
    runs = {report.run_id for report in waiting}
    reports = [report for report in portion.reports if report.run_id not in runs]
    behind = [report for report in portion.reports if report.run_id in runs]
    return replace(portion, reports=reports), behind
