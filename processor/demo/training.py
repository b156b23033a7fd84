"""One trial: a perceptron trained on scikit-learn's digits under one configuration, and its measurements."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from processor.demo.network import Activation, Array, Dense, Network, Optimiser

MAX_PARAMS = 50_000  # a budget that the larger proposals really exceed
EPOCHS = 15
CLASSES = 10
_TRAINING_SHARE = 0.75

#: called after each epoch with its number and the validation accuracy; True ends the training
Prune = Callable[[int, float], bool]


class TrialError(Exception):
    """This configuration can't be trained; the text is the trial's warning."""


class Digits(NamedTuple):
    """scikit-learn's 1,797 digits: images (n, 64), labels (n,)."""

    training: Array
    training_labels: NDArray[np.int64]
    validation: Array
    validation_labels: NDArray[np.int64]


@dataclass(frozen=True)
class Configuration:
    """What a search decides for one trial; `bottleneck` is the width of the last hidden layer, 0 for none."""

    optimiser: Literal["sgd", "adam"] = "adam"
    learning_rate: float = 0.003
    batch_size: int = 64
    layers: int = 2
    width: int = 64
    bottleneck: int = 0
    activation: Activation = "relu"
    dropout: float = 0.0
    spectral_norm: bool = False
    seed: int = 0

    @property
    def widths(self) -> list[int]:
        """Of every layer, from the 64 pixels to the 10 classes."""
        hidden = [self.width] * self.layers + ([self.bottleneck] if self.bottleneck else [])
        return [64, *hidden, CLASSES]

    def as_parameters(self) -> dict[str, Any]:
        """Nested, as Cerebros reports them."""
        return {
            "optimiser": {"name": self.optimiser, "learning_rate": self.learning_rate},
            "batch_size": self.batch_size,
            "architecture": {
                "layers": [{"width": width, "activation": self.activation} for width in self.widths[1:-1]],
                "bottleneck": self.bottleneck or None,
                "dropout": self.dropout,
            },
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Result:
    """One finished trial; `status` is succeeded, failed or pruned."""

    number: int
    configuration: Configuration
    status: str
    metrics: dict[str, Any]
    duration_ms: int
    warnings: list[str] = field(default_factory=list)
    error: TrialError | None = None

    @property
    def accuracy(self) -> float:
        """Share of the validation images that the last epoch got right; 0 where there was none."""
        return float(self.metrics.get("accuracy", 0.0))

    @property
    def diverged(self) -> bool:
        return not math.isfinite(self.metrics.get("loss", 0.0))


@cache
def load_data() -> Digits:
    """Centred, of unit variance over all pixels, shuffled the same way each time."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = digits.data[order]
    images = ((images - images.mean(axis=0)) / images.std()).astype(np.float32)
    labels, split = digits.target[order].astype(np.int64), int(len(order) * _TRAINING_SHARE)
    return Digits(images[:split], labels[:split], images[split:], labels[split:])


def run_trial(number: int, configuration: Configuration, prune: Prune = lambda _epoch, _accuracy: False) -> Result:
    """Trains once; what is wrong with the configuration makes a failed trial, not an exception."""
    begin = time.perf_counter()
    metrics: dict[str, Any] = {}
    status, warnings, failure = "succeeded", [], None
    try:
        with np.errstate(all="ignore"):  # overflows are the trial's result here
            if train(configuration, metrics, prune):
                status, warnings = "pruned", [f"pruned after epoch {len(metrics['history'])}"]
    except TrialError as error:
        status, warnings, failure = "failed", [str(error)], error
    duration_ms = round((time.perf_counter() - begin) * 1000)
    return Result(number, configuration, status, metrics, duration_ms, warnings, failure)


def train(configuration: Configuration, metrics: dict[str, Any], prune: Prune) -> bool:
    """Trains, filling in `metrics` as it goes: a failed trial shows how far it came. True where it was pruned.

    Raises `TrialError` for a shape or a size that is out of the question, and when the loss diverges.
    """
    network, data = build(configuration), load_data()
    try:
        return _train(network, configuration, data, metrics, prune)
    finally:
        metrics["layers"] = [describe(layer) for layer in network.layers]
        metrics["confusion"] = confusion(network.logits(data.validation).argmax(axis=1), data.validation_labels)


def _train(network: Network, configuration: Configuration, data: Digits, metrics: dict[str, Any], prune: Prune) -> bool:
    optimiser = Optimiser(configuration.optimiser, network.parameters, configuration.learning_rate)
    random = np.random.default_rng(configuration.seed)
    history = metrics["history"] = []
    for epoch in range(1, EPOCHS + 1):
        loss = _run_epoch(network, optimiser, data, configuration.batch_size, random)
        predicted = network.logits(data.validation).argmax(axis=1)
        accuracy = float(np.mean(predicted == data.validation_labels))
        history.append({"epoch": epoch, "loss": loss, "accuracy": accuracy})
        metrics.update(accuracy=accuracy, loss=loss)
        if not math.isfinite(loss):
            raise TrialError(f"loss is {'NaN' if math.isnan(loss) else 'infinite'} at epoch {epoch}")
        if prune(epoch, accuracy):
            return True
    return False


def build(configuration: Configuration) -> Network:
    """The network; raises `TrialError` where it makes no sense or is larger than `MAX_PARAMS`."""
    if configuration.bottleneck > configuration.width:
        wide, narrow = configuration.bottleneck, configuration.width
        raise TrialError(f"a bottleneck of {wide} is no bottleneck after layers of {narrow}")
    network = Network(
        configuration.widths,
        activation=configuration.activation,
        dropout=configuration.dropout,
        spectral_norm=configuration.spectral_norm,
        random=np.random.default_rng(configuration.seed),
    )
    size = sum(array.size for array in network.parameters)
    if size > MAX_PARAMS:
        raise TrialError(f"the network has {size} parameters, max_params allows {MAX_PARAMS}")
    return network


def _run_epoch(
    network: Network, optimiser: Optimiser, data: Digits, batch_size: int, random: np.random.Generator
) -> float:
    """All training images once, in a new order; the mean loss, or the first that is no number."""
    order = random.permutation(len(data.training_labels))
    losses = []
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        loss, gradients = network.loss_and_gradients(data.training[chosen], data.training_labels[chosen])
        if not math.isfinite(loss):
            return loss
        optimiser.step(gradients)
        losses.append(loss)
    network.settle()
    return float(np.mean(losses))


def describe(layer: Dense) -> dict[str, Any]:
    """Shape and largest singular values of a layer, as it is stored and as it computes."""
    return {
        "shape": list(layer.weight.shape),
        "spectral_norm": {
            "raw": largest_singular_value(layer.weight),
            "effective": largest_singular_value(layer.effective_weight),
            "estimate": layer.sigma if layer.spectral_norm else None,
        },
        "bias": {"mean": float(layer.bias.mean()), "largest": float(np.abs(layer.bias).max())},
    }


def largest_singular_value(weight: Array) -> float:
    """Exact; NaN for a matrix that is not finite, which no decomposition takes."""
    return float(np.linalg.norm(weight, 2)) if np.isfinite(weight).all() else math.nan


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Recall of each digit, and what it was taken for instead."""
    summary = {}
    for digit in range(CLASSES):
        taken_for = predicted[labels == digit]
        others, counts = np.unique(taken_for[taken_for != digit], return_counts=True)
        summary[str(digit)] = {
            "recall": float(np.mean(taken_for == digit)),
            "taken_for": {str(other): int(count) for other, count in zip(others, counts, strict=True)},
        }
    return summary
