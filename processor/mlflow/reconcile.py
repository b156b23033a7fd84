"""Runs that a request made although nobody got its answer: found by their key after a while, and deleted."""

from __future__ import annotations

import structlog

from processor.core import metrics
from processor.mlflow.content import KEY_TAG
from processor.mlflow.experiments import Experiments
from processor.mlflow.memory import Memory
from processor.mlflow.ports import Link, Refused, Tracking

log = structlog.get_logger(__name__)

#: how many links are looked at in one go, between two batches
PORTION = 50


class Reconciler:
    """Looks again at links that were in doubt for `after_s`: a server that stalls carries out late what was asked."""

    def __init__(self, tracking: Tracking, memory: Memory, experiments: Experiments, after_s: float) -> None:
        self._tracking, self._memory, self._experiments, self._after_s = tracking, memory, experiments, after_s

    def look(self) -> int:
        """How many runs were deleted. Raises `TransientError`."""
        links = self._memory.doubtful(self._after_s, PORTION)
        deleted = sum(self._settle(link) for link in links)
        if links:
            self._memory.trust(links)
        metrics.MLFLOW_DOUBTFUL.set(self._memory.doubtful_count())
        return deleted

    def _settle(self, link: Link) -> int:
        """Deletes all runs of the link's key but the one that it names."""
        if link.reported:
            return 0
        try:
            experiment = link.experiment_id or self._experiments.of(link.run_id).id
            found, _ = self._tracking.search([experiment], f"tags.`{KEY_TAG}` = '{link.key}'", most=100)
        except Refused:  # the experiment is gone, and with it whatever was in it
            return 0
        others = [run for run in found if run.run_id != link.mlflow_run_id]
        for run in others:
            log.warning("mlflow_run_doubled", run=link.run_id, trial=link.trial_id, deleted=run.run_id)
            self._tracking.delete_run(run.run_id)
            metrics.MLFLOW_RUNS.labels("deleted").inc()
        return len(others)
