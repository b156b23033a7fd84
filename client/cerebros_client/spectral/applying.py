"""`apply_spectral_norm`: a Keras model as it is, with spectral normalisation around its layers that have weights."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from types import ModuleType
from typing import Any

log = logging.getLogger(__name__)

# layers whose one kernel is a linear map; recurrent cells and attention have several, which Keras' wrapper leaves alone
LAYERS = frozenset(
    f"{prefix}{name}{suffix}"
    for prefix, name, suffix in (
        ("", "Dense", ""),
        ("", "EinsumDense", ""),
        *(("", f"Conv{n}D", suffix) for n in (1, 2, 3) for suffix in ("", "Transpose")),
    )
)
ROOTS = ("keras", "tf_keras")  # Keras 3, also as tf.keras; Keras 2.13 and newer


def apply_spectral_norm(
    model: Any, *, layers: Collection[str] = LAYERS, outputs: bool = False, power_iterations: int = 1
) -> Any:
    """A new model: each layer whose class is named in `layers` inside Keras' `SpectralNormalization`.

    Weights are taken over; the compiled state is not, so call `compile` on what is returned. `outputs`: also the
    layers that make the model's outputs, which are left alone by default: bounding the last layer bounds what a
    regression can say at all. `power_iterations` a step are what the estimate of the largest singular value takes.
    Nested functional models are gone into; layers that have it already are left as they are.

    On Keras' JAX backend `fit` normalises what it computes with, but not the weights that it keeps (Keras 3.15):
    validation sees others, and a log line says so. `model(batch, training=True)` after `fit` normalises those too.

    Raises `TypeError` for anything but a functional or Sequential Keras model, `ValueError` where no layer is left
    to normalise.
    """
    keras = _keras_of(model)
    named = frozenset(layers)
    copier = _Copier(keras, named, frozenset() if outputs else _last(model, named), power_iterations)
    normalised = copier.copy(model)
    if not copier.wrapped:
        raise ValueError(f"{model.name}: no layer of {', '.join(sorted(layers))} besides those of its outputs")
    if keras.__name__ == "keras" and keras.backend.backend() == "jax":
        log.warning(
            "%s: on JAX, fit keeps weights that are not normalised; then call model(x, training=True)", model.name
        )
    log.debug("%s: spectral normalisation around %d layers", model.name, copier.wrapped)
    return normalised


class _Copier:
    """One copy of a model and of the models inside it; layers that several paths share stay shared."""

    def __init__(self, keras: ModuleType, layers: frozenset[str], spared: frozenset[int], power_iterations: int):
        self._keras, self._layers, self._spared = keras, layers, spared
        self._power_iterations = power_iterations
        self.wrapped = 0

    def copy(self, model: Any) -> Any:
        """The clone, built where the original is, with its weights."""
        pairs: list[tuple[Any, Any]] = []  # a layer and the new one that takes over its weights

        def clone(layer: Any) -> Any:
            if _is_model(self._keras, layer):
                return self.copy(layer)
            plain = type(layer).from_config(layer.get_config())
            pairs.append((layer, plain))
            return self._wrap(plain) if self._is_meant(layer) else plain

        copied = self._keras.models.clone_model(model, clone_function=clone)
        for layer, plain in pairs:
            if layer.weights and plain.built:
                plain.set_weights(layer.get_weights())
        return copied

    def _is_meant(self, layer: Any) -> bool:
        return type(layer).__name__ in self._layers and id(layer) not in self._spared

    def _wrap(self, layer: Any) -> Any:
        self.wrapped += 1
        return self._keras.layers.SpectralNormalization(
            layer, power_iterations=self._power_iterations, name=f"sn_{layer.name}"
        )


def _is_model(keras: ModuleType, layer: Any) -> bool:
    """Functional or Sequential: what can be copied layer by layer."""
    return isinstance(layer, keras.Model) and (
        isinstance(layer, keras.Sequential) or getattr(layer, "_is_graph_network", False) or _is_functional(layer)
    )


def _is_functional(layer: Any) -> bool:
    return any(kind.__name__ == "Functional" for kind in type(layer).__mro__)


def _last(model: Any, layers: frozenset[str]) -> frozenset[int]:
    """The layers that make the outputs, by identity: back from each output over what has no weights (a softmax)."""
    if not getattr(model, "outputs", None):  # a Sequential that is not built yet
        named = [layer for layer in model.layers if type(layer).__name__ in layers]
        return frozenset(id(layer) for layer in named[-1:])
    spared: set[int] = set()
    ahead, seen = list(model.outputs), set()
    while ahead:
        history = getattr(tensor := ahead.pop(), "_keras_history", None)
        layer = getattr(history, "operation", None) or getattr(history, "layer", None)
        if history is None or layer is None or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if type(layer).__name__ in layers:
            spared.add(id(layer))
        elif hasattr(layer, "layers") and hasattr(layer, "outputs"):
            spared |= _last(layer, layers)
        elif not layer.weights and layer._inbound_nodes:
            node = layer._inbound_nodes[history.node_index]
            ahead += getattr(node, "input_tensors", None) or []
    return frozenset(spared)


def _keras_of(model: Any) -> ModuleType:
    """The Keras that the model is of, which has been imported: there is a model."""
    for kind in type(model).__mro__:
        root = kind.__module__.split(".")[0]
        if root in ROOTS and kind.__name__ == "Model" and (keras := sys.modules.get(root)):
            if _is_model(keras, model):
                return keras
            raise TypeError(
                f"{type(model).__name__} is a subclassed model: only functional and Sequential can be copied"
            )
    raise TypeError(f"{type(model).__module__}.{type(model).__qualname__} is not a Keras model")
