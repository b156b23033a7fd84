"""Several threads that talk to MLflow at once, and what becomes of a trial whose request fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeGuard

import structlog

from processor.core import metrics
from processor.core.errors import ProcessorError, SetupError, TransientError
from processor.mlflow.doubts import Doubts, control
from processor.mlflow.experiments import IDENTITY_EXPERIMENT
from processor.mlflow.jobs import Job
from processor.mlflow.ports import Doubtful, Forbidden, Links, LinkState, Refused, Tracking

log = structlog.get_logger(__name__)


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
        self._doubts = Doubts(lambda: control(tracking))

    def close(self) -> None:
        """Waits for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def each(self, step: Callable[[Job], Job | None], jobs: Sequence[Job]) -> tuple[list[Job], ProcessorError | None]:
        """Those that are done, and what the others wait for; who is refused is told and waits for nothing."""
        done: list[Job] = []
        doubtful: list[tuple[Job, Doubtful]] = []
        trouble: ProcessorError | None = None
        for job, result in zip(jobs, self._pool.map(lambda job: self._guarded(step, job), jobs), strict=True):
            if isinstance(result, Job):
                done.append(result)
            elif isinstance(result, Doubtful):
                doubtful.append((job, result))
            elif isinstance(result, (Refused, Unlinkable)) or (_is_of_its_run(result, job) and self._lets_in()):
                self.put_aside(job, result)
            elif result is not None:
                trouble = result
        return done, self._judged(doubtful, trouble)

    def _lets_in(self) -> bool:
        try:
            self._tracking.experiment(IDENTITY_EXPERIMENT)
        except (SetupError, TransientError):
            return False
        return True

    def _judged(
        self, doubtful: Sequence[tuple[Job, Doubtful]], trouble: ProcessorError | None
    ) -> ProcessorError | None:
        """What the doubtful wait for, once those are put aside that the server fails at by their own fault."""
        if trouble is not None:  # others meet an outage
            self._doubts.forget_all()
            return trouble
        causes = self._doubts.causes({job.link.trial: (job.link, error) for job, error in doubtful})
        for job, error in doubtful:
            if job.link.trial in causes:
                self.put_aside(job, error)
            else:
                trouble = error
        return trouble

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
            self._doubts.forget(job.link.trial)

    def put_aside(self, job: Job, error: ProcessorError) -> None:
        """Tells of a trial that has no run, or none that can be written, and remembers why."""
        link, detail = job.link, str(error)
        state = LinkState.FAILING if isinstance(error, Doubtful) else LinkState.REFUSED
        if isinstance(error, Unlinkable):
            state = error.state
        elif isinstance(error, Forbidden):
            state = LinkState.FORBIDDEN
        self._links.refuse(link, state, detail, job.event.moment)
        self._doubts.forget(link.trial)
        metrics.MLFLOW_TRIALS.labels(state.value).inc()
        log.warning("mlflow_not_linked", run=link.run_id, trial=link.trial_id, state=state.value, cause=detail)


def _is_of_its_run(result: object, job: Job) -> TypeGuard[Forbidden]:
    """Whether it is the run that the trial names which we may not read or write."""
    return isinstance(result, Forbidden) and job.event.reported_run is not None
