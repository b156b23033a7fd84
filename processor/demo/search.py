"""A real hyper-parameter search: Optuna proposes and prunes, every trial is trained; same seed, same search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Protocol, cast

import optuna
from optuna.trial import TrialState
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from processor.demo.network import Activation
from processor.demo.training import Configuration, Prune, Result, run_trial

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Watch(Protocol):
    """Who is told meanwhile."""

    def begins(self, number: int, configuration: Configuration) -> None: ...
    def measured(self, number: int, epoch: int, accuracy: float) -> None: ...


def search(
    optimiser: Literal["sgd", "adam"],
    trials: int,
    *,
    spectral_norm: bool = True,
    seed: int = 0,
    watch: Watch | None = None,
) -> Iterator[Result]:
    """Runs the trials one after another; with `spectral_norm` every second one has it, to be compared."""
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(4, trials // 2)),
        pruner=optuna.pruners.PercentilePruner(75.0, n_startup_trials=4, n_warmup_steps=3),
    )
    with threadpool_limits(1):  # matrices this small are slower on several cores than on one
        for number in range(trials):
            trial = study.ask()
            configuration = propose(trial, optimiser, spectral_norm, seed)
            if watch is not None:
                watch.begins(number, configuration)
            result = run_trial(number, configuration, _pruner_of(trial, watch))
            if result.status == "succeeded":
                study.tell(trial, result.accuracy)
            else:
                study.tell(trial, state=TrialState.PRUNED if result.status == "pruned" else TrialState.FAIL)
            yield result


def propose(trial: optuna.Trial, optimiser: Literal["sgd", "adam"], spectral_norm: bool, seed: int) -> Configuration:
    """The search space; its learning rates reach well into what diverges."""
    highest = 30.0 if optimiser == "sgd" else 1.0
    return Configuration(
        optimiser=optimiser,
        learning_rate=trial.suggest_float("learning_rate", 1e-3, highest, log=True),
        batch_size=trial.suggest_categorical("batch_size", [32, 64, 128]),
        layers=trial.suggest_int("layers", 1, 3),
        width=trial.suggest_int("width", 8, 184, step=8),
        bottleneck=trial.suggest_int("bottleneck", 0, 32, step=16),
        activation=cast(Activation, trial.suggest_categorical("activation", ["relu", "tanh"])),
        dropout=trial.suggest_float("dropout", 0.0, 0.4, step=0.1),
        spectral_norm=spectral_norm and trial.number % 2 == 1,
        seed=seed * 1000 + trial.number,
    )


def retry(result: Result) -> Result:
    """The same trial once more, with a learning rate that does not diverge."""
    rate = min(result.configuration.learning_rate / 100, 0.01)
    return run_trial(result.number, replace(result.configuration, learning_rate=rate))


def _pruner_of(trial: optuna.Trial, watch: Watch | None) -> Prune:
    def prune(epoch: int, accuracy: float) -> bool:
        if watch is not None:
            watch.measured(trial.number, epoch, accuracy)
        trial.report(accuracy, epoch)
        return bool(trial.should_prune())

    return prune
