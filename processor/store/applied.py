"""What becomes of a batch's reports while they are applied, and who makes the events of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from processor.core.messages import Event, Outgoing, Rejection, Report, RunReport, TrialReport
from processor.core.verdict import Verdict
from processor.store.errors import ReportError
from processor.store.rejections import refused_by_database

#: locked: id (text of uuid) by the run id that Cerebros sent
Runs = Mapping[str, str]


class EventOf(Protocol):
    """Makes the events of new revisions."""

    def __call__(self, report: TrialReport, revision: int) -> Event | None: ...

    def of_run(self, report: RunReport, revision: int, state: str) -> Event:
        """`state`: what the run is in by now."""


class Applied(msgspec.Struct):
    """What became of a batch's reports so far; `set_aside` are those of runs that somebody else holds locked.

    `by_constraint` of the rejections come from a constraint or trigger, of the whole batch's `total` reports.
    """

    total: int = 0

    counts: Counter[Verdict] = msgspec.field(default_factory=Counter)
    messages: list[Outgoing] = msgspec.field(default_factory=list)
    rejections: list[Rejection] = msgspec.field(default_factory=list)
    set_aside: list[Report] = msgspec.field(default_factory=list)
    by_constraint: int = 0

    def add(self, more: Applied) -> None:
        self.counts += more.counts
        self.messages += more.messages
        self.rejections += more.rejections
        self.set_aside += more.set_aside
        self.by_constraint += more.by_constraint

    def without_rejected(self, reports: Iterable[Report], runs: Runs) -> list[Report]:
        """Those that have a run and were not rejected so far."""
        rejected = {(id(one.record), one.index) for one in self.rejections}
        return [one for one in reports if one.run_id in runs and (id(one.record), one.index) not in rejected]

    def refuse(self, report: Report, refusal: ReportError) -> None:
        self.rejections.append(refused_by_database(report, str(refusal)))
        self.by_constraint += refusal.by_constraint
