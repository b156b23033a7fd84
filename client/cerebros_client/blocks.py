"""A trial, or a run, as a block: what is measured, reported and told of exceptions without a line for each."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Self

from cerebros_client import words
from cerebros_client.errors import beside, on_the_way

if TYPE_CHECKING:
    from cerebros_client.reporter import TrialReporter

_FIELDS = {"artifact_uri", "candidate_id", "duration_ms", "mlflow_run_id", "pulse_id", "rank", "warnings"}
_CANCELLED, _PRUNED = "cancelled", "skipped"


class TrialBlock:
    """One trial: it starts when the block is entered, and is reported when it is left.

        with reporter.trial("run-7", 3, parameters=parameters) as trial:
            for epoch in range(epochs):
                trial.progress(epoch, val_loss=loss)
            trial.metrics(accuracy=0.97)

    An exception ends it as failed, with message, type and stack trace, one that is called `TrialPruned` (Optuna's) as
    skipped, and what is no `Exception` (Ctrl-C, a cancelled task, sys.exit) as cancelled; all are raised again.
    `async with` does the same without a wait in the event loop; there, `await trial.progress_async(...)`.
    """

    def __init__(
        self,
        reporter: TrialReporter,
        run_id: str,
        trial_id: str,
        *,
        parameters: Any = None,
        spectral_norm: Any = None,
        objective: str | None = None,
        **fields: Any,
    ) -> None:
        """`objective` names a metric: if that is NaN or missing at the end, the trial has failed (`nan_objective`).

        Without it NaN is a metric like any other, and the trial ends as told. `fields`: others of `report`.
        """
        self._reporter, self.run_id, self.trial_id = reporter, run_id, trial_id
        self._parameters, self._spectral_norm, self._objective = parameters, spectral_norm, objective
        self._fields = _checked(fields)
        self._metrics: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._began = 0.0

    def metrics(self, values: Any = None, **named: Any) -> None:
        """Adds to what is reported at the end; a name that is told again replaces what it was."""
        try:
            self._metrics.update({} if values is None else values)
        except Exception:  # noqa: BLE001 - no map: a number, a tensor, or an object that raises
            self._metrics["value"] = values
        self._metrics.update(named)

    def set(self, **fields: Any) -> None:
        """Other fields of the report: `artifact_uri`, `mlflow_run_id`, `warnings`, `rank`, `candidate_id`, ..."""
        self._fields.update(_checked(fields))

    def progress(self, step: Any = None, **metrics: Any) -> None:
        """Tells what has been reached at a step, at once; it is no part of the report at the end.

        Where that can't even be queued, a log line says so, and the training goes on.
        """
        with on_the_way(f"the progress of {self.run_id}/{self.trial_id}"):
            self._reporter.progress(self.run_id, self.trial_id, step, **metrics)

    async def progress_async(self, step: Any = None, **metrics: Any) -> None:
        await self._reporter.call_async(self.progress, step, **metrics)

    def fail(self, message: Any, *, error_type: Any = None) -> None:
        """It has failed, though no exception says so."""
        self._told = {"status": "failed", "error_message": message, "error_type": error_type}

    def prune(self) -> None:
        """It was given up because others are better."""
        self._told = {"status": _PRUNED}

    def __enter__(self) -> Self:
        with on_the_way(f"the start of {self.run_id}/{self.trial_id}"):
            self._reporter.start_trial(
                self.run_id, self.trial_id, spectral_norm=self._spectral_norm, parameters=self._parameters
            )
        self._began = time.monotonic()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._report(raised[1])

    async def __aenter__(self) -> Self:
        return await self._reporter.call_async(self.__enter__)  # type: ignore[no-any-return]

    async def __aexit__(self, *raised: Any) -> None:
        await self._reporter.call_async(self._report, raised[1], time.monotonic())

    def _report(self, error: BaseException | None, ended: float | None = None) -> None:
        duration_ms = round(((ended or time.monotonic()) - self._began) * 1000)
        fields = {"duration_ms": duration_ms, **self._fields, **self._ending(error)}
        with beside(error, f"the report of {self.run_id}/{self.trial_id}"):
            self._reporter.report(
                self.run_id,
                self.trial_id,
                metrics=self._metrics,
                parameters=self._parameters,
                spectral_norm=self._spectral_norm,
                **fields,
            )

    def _ending(self, error: BaseException | None) -> dict[str, Any]:
        if error is None:
            return self._told or self._by_objective()
        if not isinstance(error, Exception):
            return {"status": _CANCELLED, "error_type": type(error), "error_message": error}
        if any(kind.__name__ == "TrialPruned" for kind in type(error).__mro__):
            return {"status": _PRUNED}
        return failure(error)

    def _by_objective(self) -> dict[str, Any]:
        if self._objective is None:
            return {}
        try:
            wrong = math.isnan(float(self._metrics[self._objective]))
        except Exception:  # noqa: BLE001 - missing, no number, or an object that raises
            wrong = True
        if not wrong:
            return {}
        said = f"the objective {self._objective} is {self._metrics.get(self._objective, 'missing')!r}"[:200]
        return {"status": "failed", "error_type": "nan_objective", "error_message": said}


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """What would raise at the end of the training raises now."""
    if unknown := fields.keys() - _FIELDS:
        raise TypeError(f"a trial has no {', '.join(sorted(unknown))}; it may have {', '.join(sorted(_FIELDS))}")
    words.mlflow_id(fields.get("mlflow_run_id"))
    for name in ("candidate_id", "pulse_id"):
        words.optional_id(fields.get(name), name)
    return fields


def failure(error: BaseException) -> dict[str, Any]:
    """The fields of `report` that say why a trial failed."""
    return {
        "status": "failed",
        "error_message": words.message(error),
        "error_type": type(error),
        "stacktrace": error,
    }


class RunBlock:
    """A run: `ml.run.start` when the block is entered, `ml.run.stop` when it is left, an exception as failed.

    with reporter.run("run-7", requested_trials=50) as run:
        ...
        run.result(completed_trials=50, best_metric=0.97, best_trial_id="trial-31")
    """

    def __init__(self, reporter: TrialReporter, run_id: str, described: dict[str, Any]) -> None:
        self._reporter, self.run_id, self._described = reporter, run_id, described
        self._result: dict[str, Any] = {}
        self._began = 0.0

    def result(self, **fields: Any) -> None:
        """What `ml.run.stop` is to say: `completed_trials`, `best_metric`, `best_trial_id`, `status`, ..."""
        self._result.update(fields)

    def __enter__(self) -> Self:
        with on_the_way(f"the start of {self.run_id}"):
            self._reporter.start_run(self.run_id, **self._described)
        self._began = time.monotonic()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stop(raised[1])

    async def __aenter__(self) -> Self:
        return await self._reporter.call_async(self.__enter__)  # type: ignore[no-any-return]

    async def __aexit__(self, *raised: Any) -> None:
        await self._reporter.call_async(self._stop, raised[1])

    def _stop(self, error: BaseException | None) -> None:
        ending: dict[str, Any] = {}
        if error is not None:
            status = "failed" if isinstance(error, Exception) else _CANCELLED
            ending = {"status": status, "error_message": words.message(error)}
        duration_ms = round((time.monotonic() - self._began) * 1000)
        with beside(error, f"the stop of {self.run_id}"):
            self._reporter.stop_run(self.run_id, **{"duration_ms": duration_ms, **self._result, **ending})
