"""A search as people write it: an objective for Optuna, and the client's one line around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import optuna
from cerebros_client import TrialReporter
from cerebros_client.optuna import optimize, suggest_spectral_norm
from cerebros_client.optuna.describing import describe
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from processor.demo.search import propose, pruner_of
from processor.demo.training import TrialError, run_trial


def search_with_optuna(
    reporter: TrialReporter, run_id: str, trials: int, *, seed: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Runs the trials one after another, reported by the wrapper; yields each trial's id and what its row must say."""
    study = optuna.create_study(
        study_name=run_id, direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed), pruner=_pruner()
    )

    def objective(trial: optuna.Trial) -> float:
        proposed = replace(propose(trial, "adam", False, seed), spectral_norm=suggest_spectral_norm(trial))
        result = run_trial(trial.number, proposed, pruner_of(trial))
        if result.error is not None:
            raise result.error
        if result.status == "pruned":
            raise optuna.TrialPruned
        return result.accuracy

    for number in range(trials):
        with threadpool_limits(1):  # matrices this small are slower on several cores than on one
            optimize(study, objective, reporter, n_trials=1, catch=(TrialError,))
        said = describe(study, study.trials[number])
        yield str(number), said


def _pruner() -> optuna.pruners.BasePruner:
    return optuna.pruners.PercentilePruner(75.0, n_startup_trials=2, n_warmup_steps=3)
