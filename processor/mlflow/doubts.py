"""Whose fault an HTTP 5xx is: the server's, or that of the one trial whose request it fails at.

A server in trouble fails at whatever comes, also in long series, or at all writes while it still reads (a full disk).
So a failure speaks against its trial only where a control goes through right behind it: a small run of the mirror's
own, taken through every kind of request that trials are. Where the control fails, all that was held against trials is
forgotten, and the mirror waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from processor.core.errors import TransientError
from processor.mlflow.content import KEY_TAG, Metric
from processor.mlflow.experiments import IDENTITY_EXPERIMENT
from processor.mlflow.ports import Doubtful, Link, LinkState, Refused, Run, Tracking, Trial

#: the same request of a trial fails so often, in attempts ever further apart, none answered in between, each with a
#: control that went through: where a share p of all requests fails at random, (p * (1 - p)^8)^5, at most 3e-7
DOUBTS = 5
MAX_SUSPECTS = 10_000
_CONTROL = "control"


class _Series(NamedTuple):
    request: str
    number: int


class Doubts:
    """What speaks against each trial; `control` says whether the server does for others what it failed at."""

    def __init__(self, control: Callable[[], bool]) -> None:
        self._control = control
        self._held: dict[Trial, _Series] = {}

    def causes(self, failed: Mapping[Trial, tuple[Link, Doubtful]]) -> set[Trial]:
        """Those of them that are the cause of their failures themselves.

        One that was the cause before, and is tried again, needs no series.
        """
        if not failed:
            return set()
        if len(self._held) > MAX_SUSPECTS or not self._control():
            self._held.clear()
            return set()
        return {trial for trial, (link, error) in failed.items() if self._is_cause(link, error.request)}

    def _is_cause(self, link: Link, request: str) -> bool:
        before = self._held.get(link.trial)
        number = before.number + 1 if before is not None and before.request == request else 1
        self._held[link.trial] = _Series(request, number)
        return number >= DOUBTS or link.state is LinkState.FAILING

    def forget(self, trial: Trial) -> None:
        self._held.pop(trial, None)

    def forget_all(self) -> None:
        """The server is in trouble as a whole."""
        self._held.clear()


def control(tracking: Tracking) -> bool:
    """Whether a small run can be made, filled, read, found and deleted; it is left behind deleted.

    A refusal is an answer too: of a server that works.
    """
    with contextlib.suppress(Refused):
        try:
            _walk(tracking)
        except TransientError:
            return False
    return True


def _walk(tracking: Tracking) -> None:
    experiment = tracking.experiment(IDENTITY_EXPERIMENT)
    if experiment is None or not experiment.active:
        return
    run = tracking.create_run(experiment.id, _CONTROL, 1, {KEY_TAG: _CONTROL})
    try:
        _use(tracking, run)
    finally:
        tracking.delete_run(run.run_id)


def _use(tracking: Tracking, run: Run) -> None:
    tracking.put_file(run, "cerebros/control.json", b"{}")
    tracking.log(run.run_id, [Metric(_CONTROL, 1.0, 1, 1)], [(_CONTROL, "1")], [(_CONTROL, "1")])
    tracking.update_run(run.run_id, "FINISHED", 1)
    tracking.run(run.run_id)
    tracking.search([run.experiment_id], f"tags.`{KEY_TAG}` = '{_CONTROL}'", most=1)
