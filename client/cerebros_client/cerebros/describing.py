"""What a search and its sub-trials are, as reports: parameters, specification, metrics by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# attributes that decide how a network is built and trained; data, paths and counters are not among them
PARAMETERS = (
    "activation",
    "final_activation",
    "learning_rate",
    "loss",
    "epochs",
    "batch_size",
    "validation_split",
    "seed",
    "minimum_levels",
    "maximum_levels",
    "minimum_units_per_level",
    "maximum_units_per_level",
    "minimum_neurons_per_unit",
    "maximum_neurons_per_unit",
    "minimum_skip_connection_depth",
    "maximum_skip_connection_depth",
    "predecessor_level_connection_affinity_factor_first",
    "predecessor_level_connection_affinity_factor_first_rounding_rule",
    "predecessor_level_connection_affinity_factor_main",
    "predecessor_level_connection_affinity_factor_main_rounding_rule",
    "predecessor_level_connection_affinity_factor_decay_main",
    "max_consecutive_lateral_connections",
    "gate_after_n_lateral_connections",
    "gate_activation_function",
    "p_lateral_connection",
    "p_lateral_connection_decay",
    "num_lateral_connection_tries_per_unit",
)
MAX_DEPTH = 20  # a specification has 3 levels


def trial_id_of(trial_number: Any, subtrial_number: Any) -> str:
    """As the core names the files of a sub-trial: tr_0000000000000003_subtrial_0000000000000001."""
    return f"tr_{int(trial_number):016d}_subtrial_{int(subtrial_number):016d}"


def model_path(search: Any, trial_id: str) -> str | None:
    """Where the core has saved the network; None where there is none. The core writes it in lower case."""
    path = Path(f"{search.project_name}/models/{trial_id}.keras".lower())
    return str(path.absolute()) if path.exists() else None


def parameters_of(search: Any, spec: Any, trial_number: Any, subtrial_number: Any) -> dict[str, Any]:
    """Of one sub-trial; classes and functions by their names."""
    found = {name: named(getattr(search, name)) for name in PARAMETERS if hasattr(search, name)}
    return found | {"spec": named(spec), "trial_number": int(trial_number), "subtrial_number": int(subtrial_number)}


def named(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The value with the names of classes and functions in their place; what else it holds stays what it is."""
    if isinstance(value, type) or (callable(value) and hasattr(value, "__name__")):
        return value.__name__
    if depth and isinstance(value, Mapping):
        return {str(key): named(inner, depth - 1) for key, inner in value.items()}
    if depth and isinstance(value, list | tuple):
        return [named(inner, depth - 1) for inner in value]
    return value


def history_of(model: Any) -> dict[str, list[float]]:
    """Keras' history: one list a metric, one number an epoch, also of a training that ended half-way."""
    history = getattr(getattr(model, "history", None), "history", None)
    if not isinstance(history, Mapping):
        return {}
    return {str(name): [_float(value) for value in values] for name, values in history.items()}


def metrics_of(history: Mapping[str, Sequence[float]], ranked_by: str, direction: str) -> dict[str, Any]:
    """Each metric at the epoch that is best by `ranked_by`, as the core ranks; all epochs below `by_epoch`.

    Without a number in `ranked_by` it is the last epoch. `best_epoch` counts from 1.
    """
    epochs = max((len(values) for values in history.values()), default=0)
    if not epochs:
        return {}
    best = best_epoch(history.get(ranked_by, ()), direction)
    at = epochs - 1 if best is None else best
    metrics: dict[str, Any] = {name: values[min(at, len(values) - 1)] for name, values in history.items() if values}
    metrics |= {"epochs": epochs, "by_epoch": {name: list(values) for name, values in history.items()}}
    return metrics if best is None else metrics | {"best_epoch": best + 1}


def best_epoch(values: Sequence[float], direction: str) -> int | None:
    """Index of the best value, the first of equals; None where no value is a number."""
    numbers = [(value, index) for index, value in enumerate(values) if not math.isnan(value)]
    if not numbers:
        return None
    if direction in ("maximize", "max"):
        return max(numbers, key=lambda pair: (pair[0], -pair[1]))[1]
    return min(numbers)[1]


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
