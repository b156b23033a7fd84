"""Several threads that talk to MLflow at once, and what becomes of a trial whose request fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from processor.core import metrics
from processor.core.errors import ProcessorError, TransientError
from processor.mlflow.experiments import IDENTITY_EXPERIMENT
from processor.mlflow.jobs import Job
from processor.mlflow.ports import Doubtful, Links, LinkState, Refused, Tracking, Trial

log = structlog.get_logger(__name__)

#: a request that is answered by 500 so often, while the server answers others, is one that breaks it
DOUBTS = 6


class Unlinkable(ProcessorError):  # noqa: N818 - of one trial: it is told, and the others go on
    """A trial has a run that can't be written, or can't be its run: why, as a state and in a sentence."""

    def __init__(self, state: LinkState, detail: str) -> None:
        super().__init__(detail)
        self.state = state


class Crew:
    """Runs a step for many jobs at once; `going` says whether to go on at all."""

    def __init__(self, tracking: Tracking, links: Links, connections: int, going: Callable[[], bool]) -> None:
        self._tracking, self._links, self._going = tracking, links, going
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="mlflow")
        self._doubts: Counter[Trial] = Counter()

    def close(self) -> None:
        """Waits for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def each(self, step: Callable[[Job], Job | None], jobs: Sequence[Job]) -> tuple[list[Job], ProcessorError | None]:
        """Those that are done, and what the others wait for; who is refused is told and waits for nothing."""
        done: list[Job] = []
        trouble: ProcessorError | None = None
        for job, result in zip(jobs, self._pool.map(lambda job: self._guarded(step, job), jobs), strict=True):
            if isinstance(result, Job):
                done.append(result)
            elif isinstance(result, Doubtful) and not self._is_broken_by(job):
                trouble = trouble or result
            elif isinstance(result, (Refused, Doubtful, Unlinkable)):
                self.put_aside(job, result)
            elif result is not None:
                trouble = result
        return done, trouble

    def _guarded(self, step: Callable[[Job], Job | None], job: Job) -> Job | ProcessorError | None:
        if not self._going():
            return TransientError("stopped before all of it was written")
        try:
            return step(job)
        except ProcessorError as error:
            return error

    def forgive(self, jobs: Sequence[Job]) -> None:
        """These are done: what failed before was the server."""
        for job in jobs:
            self._doubts.pop(job.link.trial, None)

    def _is_broken_by(self, job: Job) -> bool:
        """Whether this trial's request is the cause of a 500: it fails again and again, while others are answered."""
        self._doubts[job.link.trial] += 1
        if self._doubts[job.link.trial] < DOUBTS:
            return False
        try:
            self._tracking.experiment(IDENTITY_EXPERIMENT)
        except TransientError:  # the server is down as a whole
            return False
        return True

    def put_aside(self, job: Job, error: ProcessorError) -> None:
        """Tells of a trial that has no run, or none that can be written, and remembers why."""
        link, detail = job.link, str(error)
        state = error.state if isinstance(error, Unlinkable) else LinkState.REFUSED
        self._links.refuse(link, state, detail)
        self._doubts.pop(link.trial, None)
        metrics.MLFLOW_TRIALS.labels(state.value).inc()
        log.warning("mlflow_not_linked", run=link.run_id, trial=link.trial_id, state=state.value, cause=detail)
