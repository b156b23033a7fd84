"""`watch`: an objective that leaves in its trial what no callback could find out afterwards."""

from __future__ import annotations

import functools
import logging
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from optuna import Trial, TrialPruned

from cerebros_client.optuna.attributes import ERROR, MLFLOW_RUN_ID, Failure

log = logging.getLogger(__name__)

Objective = Callable[[Trial], float | Sequence[float]]


def watch(objective: Objective) -> Objective:
    """The same objective; its trial's user attributes also say why it failed and which MLflow run it logged into.

    For those who call `study.optimize` themselves; `optimize` does it. What the objective returns or raises is left
    as it is. The MLflow run is one that the objective began itself, and no attribute `mlflow_run_id` that is there is
    changed: a run around the whole study is the study's, not a trial's.
    """

    @functools.wraps(objective)
    def watched(trial: Trial) -> float | Sequence[float]:
        before = _latest_mlflow_run()
        try:
            value = objective(trial)
            if _is_nan(value):
                _note(trial, ERROR, Failure("nan", "the objective returned NaN").as_attribute())
            return value
        except TrialPruned:
            raise
        except BaseException as error:  # KeyboardInterrupt too: Optuna fails the trial and calls nobody
            _note(trial, ERROR, Failure.of(error).as_attribute())
            raise
        finally:
            if (run := _latest_mlflow_run()) and run != before and MLFLOW_RUN_ID not in _attributes(trial):
                _note(trial, MLFLOW_RUN_ID, run)

    return watched


def _note(trial: Trial, name: str, value: Any) -> None:
    """A storage that fails now fails the trial by itself: what the objective raised must not be hidden by that."""
    try:
        trial.set_user_attr(name, value)
    except Exception as error:  # noqa: BLE001
        log.warning("trial %d: %s can't be kept: %s", trial.number, name, error)


def _attributes(trial: Trial) -> dict[str, Any]:
    try:
        return trial.user_attrs
    except Exception:  # noqa: BLE001
        return {}


def _is_nan(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    try:
        return any(math.isnan(float(one)) for one in values)
    except (TypeError, ValueError, OverflowError):  # Optuna says what is wrong with it
        return False


def _latest_mlflow_run() -> str | None:
    """The run that this thread has open or began last, without asking the server, which may be away for minutes.

    MLflow is not imported: where nobody has, nobody has begun a run.
    """
    fluent = sys.modules.get("mlflow.tracking.fluent")
    if fluent is None:
        return None
    try:
        if (active := fluent.active_run()) is not None:
            return str(active.info.run_id)
        last = fluent._last_active_run_id.get()
        return str(last) if last else None
    except Exception as error:  # noqa: BLE001
        log.debug("MLflow does not say which run is active: %s", error)
        return None
