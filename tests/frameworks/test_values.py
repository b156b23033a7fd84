"""Real arrays of JAX and variables of Keras become numbers; stand-ins of torch and TensorFlow are in the unit tests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cerebros_client.values import Bounds, Walk


def walked(value: Any) -> tuple[Any, list[str]]:
    walk = Walk(Bounds())
    found = walk.plain(value, "metrics.x")
    return json.loads(json.dumps(found)), walk.told()


def test_arrays_of_jax_are_numbers_or_lists() -> None:
    import jax.numpy as jnp

    assert walked(jnp.float32(0.5)) == (0.5, [])
    assert walked(jnp.arange(3)) == ([0, 1, 2], [])
    assert walked(jnp.eye(2, dtype=jnp.bfloat16)) == ([[1.0, 0.0], [0.0, 1.0]], [])
    assert walked(jnp.bfloat16(1.5)) == (1.5, [])
    assert walked({"loss": jnp.array(0.25), "ok": jnp.array(True)}) == ({"loss": 0.25, "ok": True}, [])


def test_scalars_of_ml_dtypes_are_numbers() -> None:
    import ml_dtypes
    import numpy as np

    assert walked(ml_dtypes.bfloat16(1.5)) == (1.5, [])
    assert walked(np.array([1.5], dtype=ml_dtypes.float8_e4m3fn)) == ([1.5], [])
    assert walked(np.array([3], dtype=ml_dtypes.int4)) == ([3], [])


def test_a_large_array_is_cut_and_told() -> None:
    import jax.numpy as jnp

    found, told = walked(jnp.zeros((1000, 1000)))
    assert len(found) == 50_000
    assert told == ["metrics.x: 1000000 values, the first 50000 are kept"]


def test_a_traced_array_has_no_numbers_yet_and_that_is_told() -> None:
    import jax

    seen: list[tuple[Any, list[str]]] = []

    @jax.jit  # type: ignore[untyped-decorator]
    def step(loss: Any) -> Any:
        seen.append(walked(loss))
        return loss * 2

    step(1.0)
    [(found, told)] = seen
    assert isinstance(found, str)
    assert told[0].startswith("metrics.x: ")


def test_variables_tensors_and_layers_of_keras() -> None:
    import keras

    assert walked(keras.Variable([1.0, 2.0])) == ([1.0, 2.0], [])
    assert walked(keras.Variable(0.5)) == (0.5, [])
    assert walked(keras.ops.sum(keras.ops.ones((2, 2)))) == (4.0, [])
    for symbolic in (keras.Input((3,)), keras.layers.Dense(3)):
        found, told = walked(symbolic)
        assert isinstance(found, str)
        assert len(told) == 1


def test_a_history_of_keras_is_a_map_of_its_metrics() -> None:
    import keras
    import numpy as np

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    history = model.fit(np.zeros((8, 2)), np.zeros((8, 1)), epochs=2, verbose=0)
    found, told = walked(history.history)
    assert set(found) == {"loss", "mae"}
    assert [len(values) for values in found.values()] == [2, 2]
    assert told == []


@pytest.mark.parametrize("name", ["optimizers.Adam", "losses.MeanSquaredError"])
def test_what_is_configured_by_an_object_is_told_as_such(name: str) -> None:
    import keras

    part, _, kind = name.partition(".")
    found, told = walked({"x": getattr(getattr(keras, part), kind)()})
    assert isinstance(found["x"], str)
    assert "kept as its repr" in told[0]
