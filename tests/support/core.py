"""A stand-in for Cerebros' core with the same seams: names, arguments, files and order of calls; nothing is learnt.

The core is on no package index. What it is held to was read and run there, main 6dfb427: a search makes a
specification, calls `run_moity_permutations(spec=, subtrial_number=, lock=)`, which makes a network future, compiles
it, fits it, saves the model in lower case and appends one line an epoch to oracle.csv; the best is looked up there.
"""

from __future__ import annotations

import csv
import math
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class InputUnit:
    pass


class DenseUnit:
    pass


class FinalDenseUnit:
    pass


class History:
    def __init__(self, history: dict[str, list[float]]) -> None:
        self.history = history


class Model:
    """A Keras model as far as it is looked at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.layers: list[Any] = [InputUnit()]
        self.history: History | None = None
        self.compiled = False

    def fit(self, epochs: int, at_epoch: Callable[[int], float]) -> History:
        assert self.compiled
        self.history = History({"loss": [], "val_loss": []})
        for epoch in range(epochs):
            value = at_epoch(epoch)
            self.history.history["loss"].append(value + 0.5)
            self.history.history["val_loss"].append(value)
        return self.history

    def save(self, path: str) -> None:
        Path(path).write_text(self.name)


class NeuralNetworkFuture:
    make_model: Callable[[str], Any] = Model  # a real Keras model, where a test has one

    def __init__(self, neural_network_spec: dict[str, Any], name: str) -> None:
        self.neural_network_spec, self.name = neural_network_spec, name

    def materialize(self) -> None:
        self.materialized_neural_network = type(self).make_model(self.name)

    def compile_neural_network(self) -> None:
        self.materialized_neural_network.compiled = True


class SimpleCerebrosRandomSearch:
    def __init__(
        self,
        project_name: str,
        at_epoch: Callable[[int, int, int], float] = lambda trial, subtrial, epoch: (
            1.0 / (1 + trial + subtrial + epoch)
        ),
        *,
        number_of_architecture_moities_to_try: int = 2,
        number_of_tries_per_architecture_moity: int = 1,
        epochs: int = 3,
        direction: str = "minimize",
        metric_to_rank_by: str = "val_loss",
        in_children: bool = False,
    ) -> None:
        self.project_name, self.at_epoch, self.epochs = project_name, at_epoch, epochs
        self.number_of_architecture_moities_to_try = number_of_architecture_moities_to_try
        self.number_of_tries_per_architecture_moity = number_of_tries_per_architecture_moity
        self.direction, self.metric_to_rank_by = direction, metric_to_rank_by
        self.in_children = in_children  # as the fork of the core has it
        self.activation, self.learning_rate, self.seed = "gelu", 0.095, 8675309
        self.p_lateral_connection_decay = decay
        self.trial_number, self.best_model_path = 0, ""
        for folder in ("models", "model_architectures"):
            Path(project_name, folder).mkdir(parents=True, exist_ok=True)

    def get_neural_network_spec(self) -> dict[str, Any]:
        return {"0": [{"1": InputUnit}], "1": [{"94": DenseUnit}], "2": [{"1": FinalDenseUnit}]}

    def run_moity_permutations(self, spec: dict[str, Any], subtrial_number: int, lock: Any) -> int:
        name = f"tr_{str(self.trial_number).zfill(16)}_subtrial_{str(subtrial_number).zfill(16)}"
        future = NeuralNetworkFuture(spec, name)
        future.materialize()
        future.compile_neural_network()
        model = future.materialized_neural_network
        history = model.fit(self.epochs, lambda epoch: self.at_epoch(self.trial_number, subtrial_number, epoch))
        Path(self.project_name, "model_architectures", f"{name}.txt").write_text(str(spec))
        path = f"{self.project_name}/models/{name}.keras".lower()
        model.save(path)
        rows = zip(*history.history.values(), strict=True)
        self._append(history.history, [[*row, self.trial_number, subtrial_number, path] for row in rows])
        return 0

    def _append(self, history: dict[str, list[float]], rows: Sequence[Sequence[Any]]) -> None:
        oracle = Path(self.project_name, "oracle.csv")
        new = not oracle.exists()
        with oracle.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow([*history, "trial_number", "subtrial_number", "model_name"])
            writer.writerows([["" if value != value else value for value in row] for row in rows])

    def run_random_search(self) -> float:
        lock = multiprocessing.Lock()
        for _ in range(self.number_of_architecture_moities_to_try):
            spec = self.get_neural_network_spec()
            for subtrial_number in range(self.number_of_tries_per_architecture_moity):
                asked: dict[str, Any] = {"spec": spec, "subtrial_number": subtrial_number, "lock": lock}
                if self.in_children:
                    child = multiprocessing.get_context("fork").Process(
                        target=self.run_moity_permutations, kwargs=asked
                    )
                    child.start()
                    child.join()
                else:
                    self.run_moity_permutations(**asked)
            self.trial_number += 1
        return self._best()

    def _best(self) -> float:
        with Path(self.project_name, "oracle.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row[self.metric_to_rank_by]]
        values = [float(row[self.metric_to_rank_by]) for row in rows]
        best = (max if self.direction == "maximize" else min)(values, default=math.nan)
        best_models = [row["model_name"] for row in rows if float(row[self.metric_to_rank_by]) == best]
        self.best_model_path = best_models[0]  # an IndexError where all is NaN, as in the core
        return best


def decay(x: float) -> float:
    return 0.9 * x
