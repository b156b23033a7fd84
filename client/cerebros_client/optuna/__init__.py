"""Optuna studies, reported: every finished trial is a row, whichever way it finished.

    import optuna
    from cerebros_client import connect
    from cerebros_client.optuna import optimize, suggest_spectral_norm

    def objective(trial):
        spectral_norm = suggest_spectral_norm(trial)
        ...

    with connect() as reporter:
        optimize(optuna.create_study(study_name="digits"), objective, reporter, n_trials=50)

The run is the study's name, the trial its number. A report carries the time the trial ended as its own, so that
reporting it again, from here or from another worker, changes nothing.
"""

try:
    import optuna as _optuna  # noqa: F401
except ImportError as error:
    raise ImportError("cerebros_client.optuna needs Optuna: pip install 'cerebros-client[optuna]'") from error

from cerebros_client.optuna.attributes import suggest_spectral_norm
from cerebros_client.optuna.reporting import Reconciled, callback, optimize, reconcile
from cerebros_client.optuna.starting import Warmed, read_rows, warm_start
from cerebros_client.optuna.watching import watch

__all__ = [
    "Reconciled",
    "Warmed",
    "callback",
    "optimize",
    "read_rows",
    "reconcile",
    "suggest_spectral_norm",
    "warm_start",
    "watch",
]
