"""Events -> runs, each trial once: nothing in MLflow makes a run once, so what is intended is remembered first.

The durable steps of one round (the events of a batch, one a trial), in this order:

1. intend    a row in `mlflow_links` for each trial that has none, with the key that its run will bear
2. make      the run, with that key as a tag in the same request. Where the row was there before, without a run,
             somebody may have come so far and been killed: a run with the key is looked for first, and taken
3. remember  the run's id in the row, where there is none yet. Another mirror was quicker: our run is deleted again
4. fill      params, metrics, tags, status; a run that this one takes the place of is deleted
5. settle    the row says which revision the run holds
   and after all rounds the offsets are committed

Killed anywhere, the same events are applied again: what is settled is passed over, anything else is done once more and
changes nothing. A request to make a run that got no answer may still be carried out later, so such a link is looked at
again after a while (`reconcile`), and runs of its key that it does not name are deleted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec
import structlog

from processor.core import metrics
from processor.core.checkpoints import reach
from processor.core.errors import TransientError
from processor.mlflow.content import KEY_TAG, NOTHING, Content, Happening, Progress, fits, key_of
from processor.mlflow.crew import Crew, Unlinkable
from processor.mlflow.experiments import Experiments
from processor.mlflow.filling import Filler
from processor.mlflow.finding import Finder
from processor.mlflow.jobs import Job, as_found, as_linked, in_rounds, is_due
from processor.mlflow.mapping import trial_content
from processor.mlflow.parents import SEEN, run_content, seen
from processor.mlflow.ports import Forbidden, Link, Links, LinkState, Run, Tracking

log = structlog.get_logger(__name__)

MAX_PARENTS = 10_000
REPORTED_TAG, SUPERSEDED_TAG = "cerebros.reported_run_id", "cerebros.superseded_by"


class Mirror:
    """Applies events; from one thread, which talks to Postgres, while the crew talks to MLflow."""

    def __init__(
        self,
        tracking: Tracking,
        links: Links,
        experiments: Experiments,
        filler: Filler,
        crew: Crew,
        *,
        parents: bool,
        create_missing: bool = False,
    ) -> None:
        """`parents`: each Cerebros run is a run too, its trials' parent.

        `create_missing`: a trial gets a run of its own where the one it names can't be its run.
        """
        self._tracking, self._links, self._experiments = tracking, links, experiments
        self._filler, self._crew, self._finder = filler, crew, Finder(tracking, experiments)
        self._with_parents, self._create_missing = parents, create_missing
        self._parents: OrderedDict[str, str] = OrderedDict()

    def apply(self, events: Sequence[Happening]) -> None:
        """In their order, as to each trial.

        Raises `TransientError`; what is done then is settled, and the same call again does the rest.
        """
        if self._with_parents:
            wanted = {one.run_id: one for one in reversed(events) if one.trial_id and one.run_id not in self._parents}
            self._round([seen(one) for one in wanted.values()])
        for events_of_round in in_rounds(events):
            self._round(events_of_round)

    def _round(self, events: Sequence[Happening]) -> None:
        if not events:
            return
        links = self._links.begin({one.trial: key_of(*one.trial) for one in events})
        for link in links.values():
            if not link.trial_id and link.mlflow_run_id is not None:
                self._know_parent(link.run_id, link.mlflow_run_id)
        due = [one for one in events if is_due(one, links[one.trial])]
        metrics.MLFLOW_TRIALS.labels("unchanged").inc(len(events) - len(due))
        progress = self._links.progress([one.trial for one in due if one.trial_id])
        jobs = [Job(one, _content(one, progress.get(one.trial, NOTHING)), links[one.trial]) for one in due]
        found, trouble = self._crew.each(self._find_or_make, [self._freed(job) for job in jobs])
        linked = self._remember(self._claimed(found))
        reach("mlflow.after_link")
        filled, later = self._crew.each(self._fill, linked)
        self._links.settle([job.link for job in filled])
        self._note(filled)
        if trouble is not None or later is not None:
            raise trouble or later or TransientError("")

    def _freed(self, job: Job) -> Job:
        """Where the run can't become what it shall be, the link is made free for another one."""
        link, named = job.link, job.event.reported_run
        if link.mlflow_run_id is None:
            return job
        another = named is not None and named != link.mlflow_run_id and not self._create_missing
        if not another and (link.reported or fits(link.shape, job.content.shape)):
            return job
        if link.superseded:  # left by somebody who was killed
            self._tracking.delete_run(link.superseded)
        key = link.key if another else key_of(*link.trial, job.event.moment.revision)
        former = None if link.reported else link.mlflow_run_id
        free = msgspec.structs.replace(
            link, key=key, mlflow_run_id=None, reported=False, shape=None, held=(), superseded=former
        )
        self._links.replace(link, free)
        return msgspec.structs.replace(job, link=free)

    def _find_or_make(self, job: Job) -> Job:
        """Step 2."""
        link, event = job.link, job.event
        if not event.trial_id and not self._with_parents:
            return job
        named = event.reported_run or (link.mlflow_run_id if link.reported else None)
        if named is not None:
            try:
                run = self._reported(named, link)
                return msgspec.structs.replace(job, run=run, link=msgspec.structs.replace(link, reported=True))
            except (Unlinkable, Forbidden):
                if not self._create_missing:
                    raise
            tags = {**job.content.tags, REPORTED_TAG: named[:250]}
            job = msgspec.structs.replace(job, content=msgspec.structs.replace(job.content, tags=tags))
        if link.mlflow_run_id is not None:
            return msgspec.structs.replace(job, run=self._own(link.mlflow_run_id), found=True)
        run_there = None if link.fresh else self._finder.find(link)
        if run_there is not None:
            metrics.MLFLOW_RUNS.labels("found").inc()
            return msgspec.structs.replace(job, run=run_there, found=True, link=as_found(link, run_there))
        made = self._finder.make(job.content, link, self._parents.get(event.run_id) if event.trial_id else None)
        metrics.MLFLOW_RUNS.labels("made").inc()
        return msgspec.structs.replace(job, run=made)

    def _reported(self, run_id: str, link: Link) -> Run:
        """Where a run of its own would take its place, whether it may be written has to show before it is linked."""
        run = self._finder.reported(run_id, link)
        if self._create_missing and run.tags.get(KEY_TAG) != link.key:
            self._tracking.log(run_id, (), (), [(KEY_TAG, link.key)])
        return run

    def _claimed(self, jobs: Sequence[Job]) -> list[Job]:
        """A run that several trials of the round name is the first one's: the tags that tell it come later."""
        owners: dict[str, Job] = {}
        kept = []
        for job in jobs:
            run_id = job.run.run_id if job.run is not None and job.link.reported else ""
            owner = owners.setdefault(run_id, job)
            if run_id and owner is not job:
                why = f"run {run_id} belongs to trial {owner.event.trial_id!r:.100} of {owner.event.run_id!r:.100}"
                self._crew.put_aside(job, Unlinkable(LinkState.FOREIGN, why))
            else:
                kept.append(job)
        return kept

    def _own(self, run_id: str) -> Run:
        run = self._tracking.run(run_id)
        if run is None:
            raise Unlinkable(LinkState.MISSING, f"run {run_id}, which was made for it, is gone from MLflow")
        if not run.active:
            raise Unlinkable(LinkState.DELETED, f"run {run_id}, which was made for it, was deleted in MLflow")
        return run

    def _remember(self, jobs: Sequence[Job]) -> list[Job]:
        """Step 3."""
        kept = [job for job in jobs if job.link.mlflow_run_id is not None]
        new = [msgspec.structs.replace(job, link=as_linked(job)) for job in jobs if job.link.mlflow_run_id is None]
        ours = self._links.record([job.link for job in new])
        for job in new:
            if job.link.trial in ours:
                kept.append(job)
            elif job.run is not None and not job.found and not job.link.reported:
                log.warning("mlflow_run_doubled", run=job.link.run_id, trial=job.link.trial_id, deleted=job.run.run_id)
                self._tracking.delete_run(job.run.run_id)
                metrics.MLFLOW_RUNS.labels("deleted").inc()
        if len(kept) < len(jobs):
            raise TransientError("another mirror links the same trials just now")
        return kept

    def _fill(self, job: Job) -> Job:
        """Step 4; with the link as it is to be settled."""
        link, run, content = job.link, job.run, job.content
        if run is None:
            experiment = self._experiments.of(link.run_id)
            for key, value in content.tags.items():
                self._tracking.tag_experiment(experiment.id, key, value)
        elif link.reported:
            link = msgspec.structs.replace(link, held=self._filler.add_to(run, content, link))
        elif _is_newer(job):
            if not fits(link.shape, content.shape):
                raise TransientError(f"run {run.run_id} was found with another revision: it is to be superseded")
            self._filler.fill(run, content, again=bool(link.trial_id) and link.moment is not None)
        if link.superseded and run is not None:
            self._tracking.log(link.superseded, (), (), [(SUPERSEDED_TAG, run.run_id)])
            self._tracking.delete_run(link.superseded)
            metrics.MLFLOW_RUNS.labels("superseded").inc()
        if not link.trial_id and run is not None:
            self._know_parent(link.run_id, run.run_id)
        shape = content.shape if _is_newer(job) else link.shape
        settled = msgspec.structs.replace(
            link, state=LinkState.LINKED, moment=job.ends_at, shape=shape, superseded=None
        )
        return msgspec.structs.replace(job, link=settled)

    def _know_parent(self, run_id: str, mlflow_run_id: str) -> None:
        self._parents[run_id] = mlflow_run_id
        if len(self._parents) > MAX_PARENTS:
            self._parents.popitem(last=False)

    def _note(self, jobs: Sequence[Job]) -> None:
        self._crew.forgive(jobs)
        for job in jobs:
            if job.event.kind != SEEN:
                metrics.MLFLOW_TRIALS.labels("written").inc()
                metrics.MLFLOW_BENT.inc(len(job.content.bent))


def _content(event: Happening, progress: Progress) -> Content:
    return trial_content(event, progress) if event.trial_id else run_content(event)


def _is_newer(job: Job) -> bool:
    """Whether the run shall become what the event says; one that was found may hold a later revision."""
    moment = job.link.moment
    return moment is None or (job.event.kind != SEEN and job.event.moment >= moment)
