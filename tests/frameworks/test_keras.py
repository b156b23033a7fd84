"""Spectral normalisation in real Keras models: seen wherever it is, and put in without losing a weight."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cerebros_client.spectral import apply_spectral_norm, has_spectral_norm


def sequential() -> Any:
    import keras

    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, "gelu"), keras.layers.Dense(2, name="last")])


def functional() -> Any:
    """Two branches, a shared layer, a nested model, and a softmax behind the last weights."""
    import keras

    given = keras.Input((8,))
    shared = keras.layers.Dense(8, name="shared")
    nested = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="nested")], name="inner")
    both = keras.layers.Concatenate()([nested(shared(given)), shared(shared(given))])
    return keras.Model(given, keras.layers.Softmax()(keras.layers.Dense(3, name="last")(both)))


def convolutional() -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(3, 3, name="convolution"),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(2, 3, name="transposed"),
            layers.Flatten(),
            layers.Dense(1, name="last"),
        ]
    )


def names(model: Any) -> set[str]:
    return {
        layer.layer.name
        for layer in model._flatten_layers(include_self=False, recursive=True)
        if type(layer).__name__ == "SpectralNormalization"
    }


@pytest.mark.parametrize(
    ("make", "normalised"),
    [(sequential, 1), (functional, {"shared", "nested"}), (convolutional, {"convolution", "transposed"})],
)
def test_all_but_the_last_layers_are_normalised_and_compute_the_same(
    make: Callable[[], Any], normalised: int | set[str]
) -> None:
    model = make()
    given = np.random.default_rng(0).normal(size=(5, *model.input_shape[1:])).astype("float32")
    new = apply_spectral_norm(model)
    assert (len(names(new)) if isinstance(normalised, int) else names(new)) == normalised
    np.testing.assert_array_equal(np.asarray(new(given)), np.asarray(model(given)))  # weights are taken over
    assert not has_spectral_norm(model)  # the original is left alone
    assert has_spectral_norm(new)


def test_the_last_layer_is_normalised_on_demand() -> None:
    assert len(names(apply_spectral_norm(sequential(), outputs=True))) == 2


def test_a_call_in_training_bounds_the_largest_singular_value() -> None:
    model = sequential()
    layer = model.layers[0]
    layer.set_weights([layer.get_weights()[0] * 50, layer.get_weights()[1]])
    new = apply_spectral_norm(model, power_iterations=3)
    given = np.ones((4, 8), "float32")
    for _ in range(20):
        new(given, training=True)
    assert largest_singular_value(layer) > 10
    assert largest_singular_value(new.layers[0].layer) == pytest.approx(1, abs=0.01)


def test_on_jax_what_fit_leaves_unnormalised_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Keras 3.15: fit on JAX drops what a layer assigns to its own weights; when this fails, the line can go."""
    import keras

    with caplog.at_level(logging.WARNING):
        new = apply_spectral_norm(sequential())
    assert "on JAX, fit keeps weights that are not normalised" in caplog.text
    new.compile(loss="mse", optimizer=keras.optimizers.SGD(0.0))
    given = np.ones((4, 8), "float32")
    new.fit(given, given[:, :2], epochs=20, verbose=0)
    assert largest_singular_value(new.layers[0].layer) != pytest.approx(1, abs=0.01)


def largest_singular_value(layer: Any) -> float:
    return float(np.linalg.norm(np.asarray(layer.kernel), 2))


def test_a_sequential_that_is_not_built_is_normalised_too() -> None:
    import keras

    new = apply_spectral_norm(keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2, name="last")]))
    assert new(np.ones((1, 4), "float32")).shape == (1, 2)
    assert len(names(new)) == 1


def test_a_normalised_model_is_not_normalised_twice() -> None:
    with pytest.raises(ValueError, match="no layer of"):
        apply_spectral_norm(apply_spectral_norm(sequential()))


def test_what_is_no_model_that_can_be_copied_is_refused() -> None:
    import keras

    class Own(keras.Model):  # type: ignore[misc]
        pass

    with pytest.raises(TypeError, match="Own is a subclassed model"):
        apply_spectral_norm(Own())
    with pytest.raises(TypeError, match="is not a Keras model"):
        apply_spectral_norm(keras.layers.Dense(1))


def wrapped(units: int = 2) -> Any:
    import keras

    return keras.layers.SpectralNormalization(keras.layers.Dense(units))


def in_a_subclass() -> Any:
    import keras

    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.blocks = {"deep": [keras.layers.Dense(1), wrapped()]}

    return Own()


def in_a_wrapper() -> Any:
    import keras

    return keras.Sequential([keras.Input((3, 8)), keras.layers.TimeDistributed(wrapped())])


def in_a_base_model() -> Any:
    import keras

    base = keras.Sequential([keras.Input((8,)), wrapped(4)])
    given = keras.Input((8,))
    return keras.Model(given, keras.layers.Dense(1)(base(given)))


@pytest.mark.parametrize("make", [wrapped, in_a_subclass, in_a_wrapper, in_a_base_model])
def test_it_is_seen_wherever_it_is(make: Callable[[], Any]) -> None:
    assert has_spectral_norm(make())


@pytest.mark.parametrize("make", [in_a_wrapper, in_a_base_model])
def test_it_is_seen_in_what_a_model_says_of_itself(make: Callable[[], Any]) -> None:
    model = make()
    assert has_spectral_norm(model.to_json())
    assert has_spectral_norm(model.get_config())


def test_other_normalisations_are_none() -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.UnitNormalization(),
            layers.BatchNormalization(),
            layers.LayerNormalization(),
            layers.Dense(4, kernel_constraint="unit_norm", name="spectral"),
        ]
    )
    assert not has_spectral_norm(model)
    assert not has_spectral_norm(model.to_json())
    assert not has_spectral_norm(model.get_config())
