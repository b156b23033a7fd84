"""`optimize`, `callback`, `reconcile`: three pieces, since no callback of Optuna's sees every trial.

A callback is not called for what raises outside `catch`, for Ctrl-C, for ask and tell, nor for what another worker
left when it was killed. `watch` keeps the reason inside the trial, the callback reports at once, `reconcile` the rest.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from cerebros_client import words
from cerebros_client.optuna.attributes import ORIGIN
from cerebros_client.optuna.describing import FINISHED, describe, name_of
from cerebros_client.optuna.watching import Objective, watch
from cerebros_client.reporter import TrialReporter

log = logging.getLogger(__name__)

Callback = Callable[[Study, FrozenTrial], None]

# what each reporter has sent from this process: a loop of optimize(n_trials=1) reports each trial once, not n times,
# also where each is a task of a pool with a copy of its own
_sent: WeakKeyDictionary[Any, set[Hashable]] = WeakKeyDictionary()


class Reconciled(NamedTuple):
    """What `reconcile` found: trials reported, and trials that no worker may be running any more."""

    reported: int
    running: int


def callback(reporter: TrialReporter, *, run_id: str | None = None) -> Callback:
    """For `study.optimize(..., callbacks=[...])`: reports the trial that has just finished.

    Raises nothing, since an exception in a callback ends the study: what can't be reported is logged, and is left to
    `reconcile`. Why a trial failed and its MLflow run are known only where the objective went through `watch`.
    """

    def report(study: Study, trial: FrozenTrial) -> None:
        try:
            _report(study, trial, reporter, run_id)
        except Exception as error:  # noqa: BLE001
            log.error("%s/%d is not reported, reconcile the study: %s", run_id or name_of(study), trial.number, error)

    return report


def optimize(
    study: Study,
    objective: Objective,
    reporter: TrialReporter,
    *,
    run_id: str | None = None,
    callbacks: Iterable[Callback] | None = None,
    **options: Any,
) -> None:
    """`study.optimize(objective, **options)` that reports every trial; on the way out also those nobody reported.

    `run_id` is the study's name unless given. Raises what `study.optimize` raises, and `UndeliveredError` where the
    last reports can't even be queued. A trial that no report can be made of is logged, and stops no other.
    """
    report = callback(reporter, run_id=run_id)
    try:
        # ours first: a callback that raises ends the study
        study.optimize(watch(objective), callbacks=[report, *(callbacks or ())], **options)
    except BaseException:
        try:
            _report_rest(study, reporter, run_id)
        except Exception as error:  # noqa: BLE001
            log.error("%s: not all trials are reported, reconcile the study: %s", run_id or name_of(study), error)
        raise
    _report_rest(study, reporter, run_id)


def reconcile(study: Study, reporter: TrialReporter, *, run_id: str | None = None) -> Reconciled:
    """Reports every finished trial of the study, whoever ran it; repeating it changes no row and makes no event.

    Trials that `warm_start` added are left out: they are rows already, under the run they came from.

    Where the storage has a heartbeat, trials of workers that died are failed first, as Optuna does when the next
    trial starts. Without one, nobody can tell such a trial from a running one: `running` counts them.
    A trial that no report can be made of is logged and not counted. Raises what the storage raises, `ValueError` for
    a name that is no run's id, and `UndeliveredError` as `report`.
    """
    _fail_stale(study)
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state in FINISHED and ORIGIN not in trial.user_attrs]
    reported = _report_all(study, finished, reporter, run_id)
    return Reconciled(reported, sum(trial.state == TrialState.RUNNING for trial in trials))


def _report_rest(study: Study, reporter: TrialReporter, run_id: str | None) -> None:
    _fail_stale(study)
    sent = _sent.get(_lasting(reporter), set())
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    left = [one for one in trials if ORIGIN not in one.user_attrs and _mark(study, one, run_id) not in sent]
    _report_all(study, left, reporter, run_id)


def _report_all(study: Study, trials: Iterable[FrozenTrial], reporter: TrialReporter, run_id: str | None) -> int:
    """How many are reported. One that can't be, for a time that is to come or a value of its own, stops no other."""
    words.identifier(run_id or name_of(study), "run_id")  # nor would any other be
    reported = 0
    for trial in trials:
        try:
            _report(study, trial, reporter, run_id)
        except (ValueError, TypeError) as error:
            log.error("%s/%d can't be reported: %s", run_id or name_of(study), trial.number, error)
        else:
            reported += 1
    return reported


def _fail_stale(study: Study) -> None:
    """Only where there is a heartbeat: the function calls itself experimental each time, aloud."""
    interval = getattr(study._storage, "get_heartbeat_interval", None)
    if interval is None or interval() is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)


def _report(study: Study, trial: FrozenTrial, reporter: TrialReporter, run_id: str | None) -> None:
    reporter.report(run_id or name_of(study), **describe(study, trial))
    _sent.setdefault(_lasting(reporter), set()).add(_mark(study, trial, run_id))


def _lasting(reporter: TrialReporter) -> object:
    return getattr(reporter, "lasting", reporter)


def _mark(study: Study, trial: FrozenTrial, run_id: str | None) -> Hashable:
    """A study that was deleted and made again numbers from 0 again: the time tells its trials apart."""
    return run_id or name_of(study), trial.number, trial.datetime_complete
