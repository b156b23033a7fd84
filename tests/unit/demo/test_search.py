"""The demo's search is real: the mathematics is checked against numpy, and what fails, fails for its own reason."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.demo.network import Network, Optimiser, cross_entropy, power_iteration
from processor.demo.search import retry, search
from processor.demo.training import CLASSES, EPOCHS, MAX_PARAMS, Configuration, load_data, run_trial

GOOD = Configuration(optimiser="adam", learning_rate=0.005, layers=2, width=48)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_power_iteration_finds_the_largest_singular_value(outputs: int, inputs: int, seed: int) -> None:
    """Its estimate is numpy.linalg.svd's largest singular value, whatever the shape."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal((outputs, inputs)).astype(np.float32)
    sigma, left, right = power_iteration(weight, random.standard_normal(outputs).astype(np.float32), steps=200)
    expected = float(np.linalg.svd(weight, compute_uv=False)[0])
    assert sigma == pytest.approx(expected, rel=0.01)
    assert float(np.linalg.norm(left)) == pytest.approx(1, abs=1e-3)
    assert float(np.linalg.norm(right)) == pytest.approx(1, abs=1e-3)


def test_normalised_matrices_have_a_spectral_norm_of_one() -> None:
    """After training it is 1 for each hidden layer as it computes; what the optimiser moves is far from it."""
    result = run_trial(0, Configuration(learning_rate=0.005, width=48, spectral_norm=True))
    *hidden, last = [layer["spectral_norm"] for layer in result.metrics["layers"]]
    assert [layer["effective"] for layer in hidden] == pytest.approx([1.0] * len(hidden), rel=0.02)
    assert all(abs(layer["raw"] - 1) > 0.1 for layer in hidden)
    assert last["effective"] == last["raw"]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_gradients_are_the_slope_of_the_loss(activation: str, spectral_norm: bool) -> None:
    """Backpropagation, through the normalisation too, agrees with finite differences."""
    random = np.random.default_rng(3)
    network = Network([6, 5, 4, 3], activation=activation, spectral_norm=spectral_norm, random=random)  # type: ignore[arg-type]
    inputs = random.standard_normal((8, 6)).astype(np.float32)
    labels = random.integers(0, 3, 8)
    _, gradients = network.loss_and_gradients(inputs, labels)
    for parameter, gradient in zip(network.parameters, gradients, strict=True):
        place = tuple(int(random.integers(0, size)) for size in parameter.shape)
        kept, losses = parameter[place], []
        for shift in (1e-2, -1e-2):
            parameter[place] = kept + shift
            for layer in network.layers:
                layer.normalise(100)
            losses.append(cross_entropy(network.logits(inputs), labels)[0])
        parameter[place] = kept
        assert (losses[0] - losses[1]) / 2e-2 == pytest.approx(float(gradient[place]), abs=5e-3)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_optimisers_find_the_minimum_of_a_bowl(kind: str) -> None:
    """Both walk downhill to where the gradient is zero."""
    position = np.array([3.0, -2.0], dtype=np.float32)
    optimiser = Optimiser(kind, [position], 0.05)  # type: ignore[arg-type]
    for _ in range(400):
        optimiser.step([2 * position])
    assert np.abs(position).max() < 0.05


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_a_good_configuration_learns_the_digits(spectral_norm: bool) -> None:
    """More than 0.9 of the unseen images are right, and the loss falls."""
    result = run_trial(0, Configuration(learning_rate=0.005, width=48, spectral_norm=spectral_norm))
    losses = [epoch["loss"] for epoch in result.metrics["history"]]
    assert result.status == "succeeded"
    assert result.accuracy > 0.9
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0] / 2
    assert set(result.metrics["confusion"]) == {str(digit) for digit in range(CLASSES)}


def test_a_huge_learning_rate_diverges_to_a_failed_trial() -> None:
    """The loss becomes NaN; the trial says when, and keeps what was measured."""
    result = run_trial(4, Configuration(optimiser="sgd", learning_rate=30.0, layers=3))
    epoch = len(result.metrics["history"])
    assert (result.status, result.warnings) == ("failed", [f"loss is NaN at epoch {epoch}"])
    assert math.isnan(result.metrics["history"][-1]["loss"])
    assert result.diverged
    again = retry(result)
    assert (again.number, again.status) == (4, "succeeded")


@pytest.mark.parametrize(
    ("configuration", "warning"),
    [
        (Configuration(width=8, bottleneck=16), "a bottleneck of 16 is no bottleneck after layers of 8"),
        (Configuration(width=256), f"the network has 85002 parameters, max_params allows {MAX_PARAMS}"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_a_failed_trial(configuration: Configuration, warning: str) -> None:
    """It is refused before it is trained, and the warning says why."""
    result = run_trial(0, configuration)
    assert (result.status, result.warnings, result.metrics) == ("failed", [warning], {})


def test_a_pruned_trial_stops_at_once() -> None:
    """Where the pruner says so after an epoch, there is no further one."""
    result = run_trial(0, GOOD, prune=lambda epoch, _accuracy: epoch == 2)
    assert (result.status, len(result.metrics["history"])) == ("pruned", 2)


def test_the_same_seed_gives_the_same_search() -> None:
    """All but the time it takes is the same, and the trials differ from each other."""
    first, second = ([_facts(result) for result in search("sgd", 4, seed=3)] for _ in range(2))
    assert repr(first) == repr(second)  # as text: NaN differs from itself
    assert len({repr(facts) for facts in first}) == 4


def test_half_of_the_trials_have_spectral_normalisation() -> None:
    """The two kinds can be compared, and an older Cerebros has only one of them."""
    assert [one.configuration.spectral_norm for one in search("adam", 4, seed=1)] == [False, True, False, True]
    old = search("adam", 3, spectral_norm=False, seed=1)
    assert not any(one.configuration.spectral_norm for one in old)


def test_the_data_is_split_without_overlap() -> None:
    """Every image is there once, for training or for validation."""
    data = load_data()
    images = np.concatenate([data.training, data.validation])
    assert images.shape == (1797, 64)
    assert np.abs(images.mean(axis=0)).max() < 1e-5
    assert len(data.validation_labels) == len(data.validation) == 450


def _facts(result: object) -> dict[str, object]:
    return {name: value for name, value in vars(result).items() if name != "duration_ms"}
