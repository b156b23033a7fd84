"""What one round of the mirror works on: an event each, on its way into a run; values, and pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from processor.core.numbers import read_count
from processor.mlflow.content import REVISION_TAG, SHAPE_TAG, TIME_TAG, Content, Happening, Moment
from processor.mlflow.parents import SEEN
from processor.mlflow.ports import Link, Run, Trial


class Job(msgspec.Struct, frozen=True):
    """One event on its way; `run` is what was found or made for it, `found`: not made by us just now."""

    event: Happening
    content: Content
    link: Link
    run: Run | None = None
    found: bool = False

    @property
    def ends_at(self) -> Moment | None:
        """Where the link stands once this is done."""
        moment, held = self.event.moment, self.link.moment
        if not moment.revision:
            return held
        return moment if held is None else max(held, moment)


def in_rounds(events: Sequence[Happening]) -> list[list[Happening]]:
    """Each event in the round behind the one with its trial's former event."""
    rounds: list[list[Happening]] = []
    before: Counter[Trial] = Counter()
    for event in events:
        place = before[event.trial]
        before[event.trial] += 1
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(event)
    return rounds


def is_due(event: Happening, link: Link) -> bool:
    """Only what is newer than what the run holds; that a run exists is told only where there is none."""
    if event.kind == SEEN:
        return link.mlflow_run_id is None
    return link.moment is None or event.moment > link.moment


def as_linked(job: Job) -> Link:
    run = job.run
    if run is None:
        return job.link
    return msgspec.structs.replace(job.link, mlflow_run_id=run.run_id, experiment_id=run.experiment_id)


def as_found(link: Link, run: Run) -> Link:
    """A run that was made before tells by its tags what it holds."""
    time_ms, revision = read_count(run.tags.get(TIME_TAG, "")), read_count(run.tags.get(REVISION_TAG, ""))
    moment = None if time_ms is None or revision is None else Moment(time_ms, revision)
    return msgspec.structs.replace(link, moment=moment, shape=run.tags.get(SHAPE_TAG))
