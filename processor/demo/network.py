"""A small multi-layer perceptron in numpy, with spectral normalisation of its weights by power iteration.

Miyato et al., "Spectral Normalization for Generative Adversarial Networks" (2018), algorithm 1 and equation
12: a layer computes with W / sigma(W). Sigma, the largest singular value, is estimated by one power iteration a
step, starting from the vector that the step before ended with, because W has hardly changed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Activation = Literal["relu", "tanh"]
_EXACT = 50  # power iterations where one is not enough: on a fresh matrix, and before the network is used


def power_iteration(weight: Array, left: Array, steps: int = 1) -> tuple[float, Array, Array]:
    """Estimates the largest singular value of `weight` (out, in), its left (out,) and its right (in,) vector.

    `left` is where to start: the vector that the last call returned, or any that is not zero.
    """
    for _ in range(steps):
        right = weight.T @ left
        right /= np.linalg.norm(right) + 1e-12
        left = weight @ right
        left /= np.linalg.norm(left) + 1e-12
    return float(left @ weight @ right), left, right


class Dense:
    """One affine layer; keeps what its last forward pass saw, for the backward pass."""

    def __init__(self, inputs: int, outputs: int, *, spectral_norm: bool, random: np.random.Generator) -> None:
        scale = np.sqrt(2.0 / inputs)
        self.weight: Array = (random.standard_normal((outputs, inputs)) * scale).astype(np.float32)
        self.bias: Array = np.zeros(outputs, dtype=np.float32)
        self.spectral_norm = spectral_norm
        self.sigma = 1.0
        self._left: Array = random.standard_normal(outputs).astype(np.float32)
        self._right: Array = np.zeros(inputs, dtype=np.float32)
        self._inputs: Array = self._right[None]
        self.normalise(_EXACT)

    def normalise(self, steps: int = 1) -> None:
        """Brings the estimate of the largest singular value up to date; without spectral_norm it stays 1."""
        if self.spectral_norm:
            self.sigma, self._left, self._right = power_iteration(self.weight, self._left, steps)

    @property
    def effective_weight(self) -> Array:
        return self.weight / np.float32(self.sigma) if self.spectral_norm else self.weight

    def forward(self, inputs: Array) -> Array:
        """(batch, inputs) -> (batch, outputs)."""
        self._inputs = inputs
        return inputs @ self.effective_weight.T + self.bias

    def backward(self, gradient: Array) -> tuple[Array, Array, Array]:
        """Gradient of the outputs -> gradients of the inputs, the weight and the bias."""
        by_weight = gradient.T @ self._inputs
        if self.spectral_norm:  # sigma depends on the weight too: equation 12
            along = np.sum(by_weight * self.effective_weight)
            by_weight = (by_weight - along * np.outer(self._left, self._right)) / np.float32(self.sigma)
        return gradient @ self.effective_weight, by_weight, gradient.sum(axis=0)


class Network:
    """Dense layers with an activation between them; the last one's outputs are logits.

    With `spectral_norm` all but the last are normalised: bounded logits could not become certain of anything.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: Activation = "relu",
        dropout: float = 0.0,
        spectral_norm: bool = False,
        random: np.random.Generator,
    ) -> None:
        sizes = list(pairwise(widths))
        self.layers = [
            Dense(*size, spectral_norm=spectral_norm and size is not sizes[-1], random=random) for size in sizes
        ]
        self._activation, self._dropout, self._random = activation, dropout, random

    @property
    def parameters(self) -> list[Array]:
        return [array for layer in self.layers for array in (layer.weight, layer.bias)]

    def settle(self) -> None:
        """After training: one iteration a step runs a little behind the weights, now they stand still."""
        for layer in self.layers:
            layer.normalise(_EXACT)

    def logits(self, inputs: Array) -> Array:
        """(n, features) -> (n, classes), without dropout."""
        for layer in self.layers[:-1]:
            inputs = self._activate(layer.forward(inputs))
        return self.layers[-1].forward(inputs)

    def loss_and_gradients(self, inputs: Array, labels: NDArray[np.int64]) -> tuple[float, list[Array]]:
        """Mean cross entropy of a mini-batch, in nats, and its gradients in the order of `parameters`."""
        slopes: list[Array] = []
        for layer in self.layers[:-1]:
            layer.normalise()
            inputs = self._activate(layer.forward(inputs))
            mask = self._dropout_mask(inputs.shape)
            slopes.append(self._slope(inputs) * mask)
            inputs = inputs * mask
        self.layers[-1].normalise()
        loss, gradient = cross_entropy(self.layers[-1].forward(inputs), labels)
        gradients: list[Array] = []
        for number in reversed(range(len(self.layers))):
            if number < len(slopes):
                gradient = gradient * slopes[number]
            gradient, by_weight, by_bias = self.layers[number].backward(gradient)
            gradients[:0] = by_weight, by_bias
        return loss, gradients

    def _activate(self, values: Array) -> Array:
        return np.maximum(values, 0) if self._activation == "relu" else np.tanh(values)

    def _slope(self, activated: Array) -> Array:
        if self._activation == "relu":
            return (activated > 0).astype(np.float32)
        return np.float32(1) - activated * activated

    def _dropout_mask(self, shape: tuple[int, ...]) -> Array:
        if not self._dropout:
            return np.ones(shape, dtype=np.float32)
        kept = self._random.random(shape, dtype=np.float32) >= self._dropout
        return (kept / np.float32(1 - self._dropout)).astype(np.float32)


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[float, Array]:
    """Mean cross entropy in nats, and its gradient by the logits (n, classes)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(np.mean(np.log(total[:, 0]) - shifted[rows, labels]))
    gradient = exponentials / total
    gradient[rows, labels] -= 1
    return loss, (gradient / np.float32(len(labels))).astype(np.float32)


class Optimiser:
    """Stochastic gradient descent with momentum, or Adam (Kingma and Ba, 2015); it changes the arrays."""

    def __init__(
        self,
        kind: Literal["sgd", "adam"],
        parameters: Sequence[Array],
        learning_rate: float,
        momentum: float = 0.9,
    ) -> None:
        self._kind, self._parameters = kind, parameters
        self._learning_rate, self._momentum = learning_rate, momentum
        self._first = [np.zeros_like(array) for array in parameters]
        self._second = [np.zeros_like(array) for array in parameters]
        self._steps = 0

    def step(self, gradients: Sequence[Array]) -> None:
        self._steps += 1
        update = self._sgd if self._kind == "sgd" else self._adam
        for place, gradient in enumerate(gradients):
            self._parameters[place][...] -= update(place, gradient)

    def _sgd(self, place: int, gradient: Array) -> Array:
        velocity = self._first[place]
        velocity *= np.float32(self._momentum)
        velocity += gradient
        return velocity * np.float32(self._learning_rate)

    def _adam(self, place: int, gradient: Array, decay: float = 0.999) -> Array:
        first, second = self._first[place], self._second[place]
        first += np.float32(1 - self._momentum) * (gradient - first)
        second += np.float32(1 - decay) * (gradient * gradient - second)
        mean = first / np.float32(1 - self._momentum**self._steps)
        variance = second / np.float32(1 - decay**self._steps)
        update: Array = np.float32(self._learning_rate) * mean / (np.sqrt(variance) + np.float32(1e-8))
        return update
