"""Which run a trial has: the one it names, one that was made and not remembered, or a new one."""

from __future__ import annotations

import re

from processor.core.checkpoints import reach
from processor.core.errors import TransientError
from processor.mlflow.content import KEY_TAG, PARENT_TAG, RUN_TAG, TRIAL_TAG, Content
from processor.mlflow.crew import Unlinkable
from processor.mlflow.experiments import Experiments
from processor.mlflow.ports import Link, LinkState, Refused, Run, Tracking

#: a run id as MLflow makes them: uuid4, hexadecimal
_RUN_ID = re.compile(r"[0-9a-f]{32}")


class Finder:
    """Finds and makes runs on a tracking server; for several threads."""

    def __init__(self, tracking: Tracking, experiments: Experiments) -> None:
        self._tracking, self._experiments = tracking, experiments

    def reported(self, run_id: str, link: Link) -> Run:
        """The run that a report names; raises `Unlinkable` where it can't be the trial's."""
        if not _RUN_ID.fullmatch(run_id):
            raise Unlinkable(LinkState.MALFORMED, f"{run_id!r:.100} is no MLflow run id")
        run = self._tracking.run(run_id)
        if run is None:
            raise Unlinkable(LinkState.MISSING, f"MLflow has no run {run_id}")
        if not run.active:
            raise Unlinkable(LinkState.DELETED, f"run {run_id} is deleted")
        owner = run.tags.get(RUN_TAG), run.tags.get(TRIAL_TAG)
        if owner[1] is not None and run.tags.get(KEY_TAG) != link.key:
            raise Unlinkable(LinkState.FOREIGN, f"run {run_id} belongs to trial {owner[1]!r:.100} of {owner[0]!r:.100}")
        return run

    def find(self, link: Link) -> Run | None:
        """The run that was made for the link and not remembered, the oldest of them."""
        experiment = self._experiments.of(link.run_id)
        found, _ = self._tracking.search([experiment.id], f"tags.`{KEY_TAG}` = '{link.key}'", most=10)
        return found[0] if found else None

    def make(self, content: Content, link: Link, parent: str | None) -> Run:
        """A new run, with the key by which it is found again: the server writes both in one transaction."""
        experiment = self._experiments.of(link.run_id)
        tags = {KEY_TAG: link.key, RUN_TAG: content.tags[RUN_TAG]}
        if TRIAL_TAG in content.tags:
            tags[TRIAL_TAG] = content.tags[TRIAL_TAG]
        if parent is not None:
            tags[PARENT_TAG] = parent
        reach("mlflow.before_create")
        try:
            run = self._tracking.create_run(experiment.id, content.name, content.start_ms, tags)
        except Refused as error:
            if error.status != 404:
                raise
            self._experiments.forget()
            raise TransientError(f"the experiment of {link.run_id!r:.100} is gone: {error}") from None
        reach("mlflow.after_create")
        return run
