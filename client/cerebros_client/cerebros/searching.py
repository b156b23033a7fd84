"""`report_search`: a search of Cerebros' core that reports its run and each of its sub-trials."""

from __future__ import annotations

import logging
import os
import time
from typing import Any, Literal
from uuid import uuid4

from cerebros_client.cerebros.describing import history_of, metrics_of, model_path, parameters_of, trial_id_of
from cerebros_client.cerebros.models import Seen, current, watch_networks
from cerebros_client.cerebros.outcome import Outcome, run_outcome
from cerebros_client.reporter import TrialReporter
from cerebros_client.spectral import has_spectral_norm

log = logging.getLogger(__name__)

SpectralNorm = bool | Literal["alternate"] | None
SEAMS = ("run_random_search", "run_moity_permutations")


def report_search(
    search: Any, reporter: TrialReporter, *, run_id: str | None = None, spectral_norm: SpectralNorm = None
) -> str:
    """From here on the search reports: its start and stop, and each sub-trial as a trial. Returns the run's id.

    The run is a new UUID unless given, since project names are those of a minute; the name goes along. A trial is
    named as its files are (`tr_..._subtrial_...`). Metrics are those of its best epoch, all epochs below `by_epoch`;
    a sub-trial whose metric to rank by is NaN at each epoch, or that raises, has failed.

    `spectral_norm`: True puts it into every network, "alternate" into every second sub-trial, False and None into
    none; what is reported is what the network has. Layers that make the outputs are left alone, so a network of one
    level can't have it, which its report says in a warning.

    What can't be reported is logged, and never ends the search; what the search raises is raised.
    Raises `TypeError` for something that is no such search, `ValueError` for a `spectral_norm` that is none of the
    four and for a search that reports already.
    """
    if missing := [name for name in SEAMS if not callable(getattr(search, name, None))]:
        raise TypeError(f"{type(search).__name__} is no Cerebros search: it has no {' and no '.join(missing)}")
    if not (spectral_norm is None or isinstance(spectral_norm, bool) or spectral_norm == "alternate"):
        raise ValueError(f"spectral_norm is {spectral_norm!r}: it should be None, True, False or 'alternate'")
    if isinstance(search.run_moity_permutations, _SubTrial):
        raise ValueError(f"this search reports already, as run {search.run_moity_permutations.run_id}")
    run = str(run_id or uuid4())
    if not watch_networks(search):
        log.warning("%s: its networks are not seen, so neither are metrics nor spectral normalisation", run)
        spectral_norm = None  # nothing comes in between that could put it there
    search.run_moity_permutations = _SubTrial(search, reporter, run, spectral_norm, search.run_moity_permutations)
    search.run_random_search = _Run(search, reporter, run, search.run_random_search)
    return run


class _SubTrial:
    """In the place of the search's method of that name; an object, so that a process that is spawned can have it."""

    def __init__(self, search: Any, reporter: TrialReporter, run_id: str, spectral_norm: SpectralNorm, run: Any):
        self._search, self._reporter, self.run_id = search, reporter, run_id
        self._spectral_norm, self._run = spectral_norm, run
        self._process = os.getpid()
        self.ended = 0

    def __call__(self, spec: Any, subtrial_number: Any, *args: Any, **kwargs: Any) -> Any:
        search = self._search
        trial_id = trial_id_of(search.trial_number, subtrial_number)
        parameters = parameters_of(search, spec, search.trial_number, subtrial_number)
        seen = Seen(normalise=self._wants(subtrial_number))
        self._quietly(self._reporter.start_trial, trial_id, spectral_norm=self._meant(seen), parameters=parameters)
        error: BaseException | None = None
        before, began = current.set(seen), time.monotonic()
        try:
            return self._run(spec, subtrial_number, *args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            current.reset(before)
            took = time.monotonic() - began
            self._quietly(self._report, trial_id, parameters=parameters, seen=seen, took=took, error=error)

    def _wants(self, subtrial_number: Any) -> bool:
        """By the numbers of the sub-trial and not by a counter: each may run in a process of its own."""
        if self._spectral_norm != "alternate":
            return bool(self._spectral_norm)
        tries = int(getattr(self._search, "number_of_tries_per_architecture_moity", 1))
        return (int(self._search.trial_number) * tries + int(subtrial_number)) % 2 == 1

    def _meant(self, seen: Seen) -> bool | None:
        """Of a network that is not there (yet): what was asked for; None where nobody asked for anything."""
        return None if self._spectral_norm is None else seen.normalise

    def _report(
        self, run_id: str, trial_id: str, *, parameters: Any, seen: Seen, took: float, error: BaseException | None
    ) -> None:
        search, history = self._search, history_of(seen.model)
        ranked_by = str(getattr(search, "metric_to_rank_by", ""))
        outcome = Outcome.of(error, history, ranked_by)
        self._reporter.report(
            run_id,
            trial_id,
            **outcome.fields(),
            metrics=metrics_of(history, ranked_by, str(getattr(search, "direction", ""))),
            parameters=parameters,
            spectral_norm=self._meant(seen) if seen.model is None else has_spectral_norm(seen.model),
            artifact_uri=None if error else model_path(search, trial_id),
            duration_ms=round(took * 1000),
            warnings=[*seen.warnings, *outcome.warnings],
        )
        self.ended += 1
        if os.getpid() != self._process:  # a child of multiprocessing leaves without waiting for anybody
            self._reporter.flush()

    def _quietly(self, tell: Any, trial_id: str, **fields: Any) -> None:
        try:
            tell(self.run_id, trial_id, **fields)
        except Exception as error:  # noqa: BLE001
            log.error("%s/%s is not reported: %s", self.run_id, trial_id, error)


class _Run:
    """In the place of `run_random_search`: the run starts before it and stops after it."""

    def __init__(self, search: Any, reporter: TrialReporter, run_id: str, run: Any) -> None:
        self._search, self._reporter, self._run_id, self._run = search, reporter, run_id, run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        search = self._search
        self._quietly(self._reporter.start_run, **_described(search))
        ended, began = search.run_moity_permutations.ended, time.monotonic()
        try:
            best = self._run(*args, **kwargs)
        except BaseException as error:
            self._stop(began, ended, run_outcome(error))
            raise
        self._stop(began, ended, {"status": "succeeded", "best_metric": best, "best_trial_id": _best_trial(search)})
        return best

    def _stop(self, began: float, ended: int, outcome: dict[str, Any]) -> None:
        # 0 also where each sub-trial ran in a process of its own: then the number is not known here
        completed = self._search.run_moity_permutations.ended - ended or None
        took = round((time.monotonic() - began) * 1000)
        self._quietly(self._reporter.stop_run, completed_trials=completed, duration_ms=took, **outcome)

    def _quietly(self, tell: Any, **fields: Any) -> None:
        try:
            tell(self._run_id, **fields)
        except Exception as error:  # noqa: BLE001
            log.error("%s: its start or stop is not reported: %s", self._run_id, error)


def _described(search: Any) -> dict[str, Any]:
    tries = int(getattr(search, "number_of_tries_per_architecture_moity", 1))
    return {
        "requested_trials": int(getattr(search, "number_of_architecture_moities_to_try", 0)) * tries or None,
        "project_name": str(getattr(search, "project_name", "")),
        "direction": str(getattr(search, "direction", "")),
        "metric_to_rank_by": str(getattr(search, "metric_to_rank_by", "")),
    }


def _best_trial(search: Any) -> str | None:
    """The trial whose model the search calls its best: the file's name without folder and ending."""
    path = str(getattr(search, "best_model_path", "") or "")
    return path.replace("\\", "/").rpartition("/")[2].removesuffix(".keras") or None
