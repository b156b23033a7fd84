"""`report_search` on a search whose networks are real Keras models: every second one is normalised, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cerebros_client.cerebros import report_search

from tests.support.core import NeuralNetworkFuture, SimpleCerebrosRandomSearch
from tests.support.sink import SinkReporter, as_reporter


class KerasFuture(NeuralNetworkFuture):
    def materialize(self) -> None:
        import keras

        given = keras.Input((4,))
        layers = [keras.layers.Dense(8, "gelu"), *([keras.layers.Dense(6)] if "tr_0" in self.name else [])]
        output = given
        for layer in layers:
            output = layer(output)
        self.materialized_neural_network = keras.Model(given, keras.layers.Dense(1)(output))

    def compile_neural_network(self) -> None:
        self.materialized_neural_network.compile(loss="mse", optimizer="adam", metrics=["mae"], jit_compile=True)


class KerasSearch(SimpleCerebrosRandomSearch):
    def run_moity_permutations(self, spec: dict[str, Any], subtrial_number: int, lock: Any) -> int:
        name = f"tr_{str(self.trial_number).zfill(16)}_subtrial_{str(subtrial_number).zfill(16)}"
        future = KerasNeuralNetworkFuture(spec, name)
        future.materialize()
        future.compile_neural_network()
        model = future.materialized_neural_network
        given = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
        history = model.fit(given, given[:, :1], epochs=self.epochs, validation_split=0.25, verbose=0)
        model.save(f"{self.project_name}/models/{name}.keras".lower())
        rows = zip(*history.history.values(), strict=True)
        self._append(history.history, [[*row, self.trial_number, subtrial_number, name] for row in rows])
        return 0


KerasNeuralNetworkFuture = KerasFuture  # by its ending the hook knows such a class in this module


def test_every_second_network_is_normalised_trained_saved_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sink = SinkReporter(tmp_path / "reports.jsonl")
    search = KerasSearch("project", number_of_architecture_moities_to_try=4)
    report_search(search, as_reporter(sink), spectral_norm="alternate")
    best = search.run_random_search()
    rows = list(sink.rows.values())
    assert [row["spectral_norm"] for row in rows] == [False, True, False, True]
    assert min(row["metrics"]["val_loss"] for row in rows) == pytest.approx(best)
    assert {tuple(row["metrics"]["by_epoch"]) for row in rows} == {("loss", "mae", "val_loss", "val_mae")}
    assert [len(row["metrics"]["by_epoch"]["val_mae"]) for row in rows] == [3] * 4
    assert all(Path(row["artifact_uri"]).exists() for row in rows)
    assert [row["warnings"] for row in rows] == [[]] * 4
