"""Spectral normalisation is told from what a model says of itself.

torch, flax and TensorFlow Addons are stand-ins: classes with the attributes that their documentation and sources name.
Real Keras models are in tests/frameworks.
"""

from __future__ import annotations

import argparse
import time
import types
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from cerebros_client.spectral import apply_spectral_norm, has_spectral_norm

from tests.support.patience import patient

# configurations


@pytest.mark.parametrize(
    "configuration",
    [
        {"spectral_norm": True},
        {"spectral_norm": 1},
        {"spectral_norm": "true"},
        {"spectral_norm": np.bool_(True)},
        {"use_spectral_norm": "yes"},
        {"useSpectralNorm": True},
        {"use-spectral-normalisation": 1.0},
        {"spectral_normalization": {"power_iterations": 2}},
        {"spectral_norm": {"enabled": True}},
        {"spectral_norm": [False, True]},
        {"norm": "spectral"},
        {"norm": "Spectral_Norm"},
        {"norms": ["batch", "spectral"]},
        {"normalization": {"type": "spectral", "n": 1}},
        {"constraint_method": "spectral"},
        {"class_name": "SpectralNormalization", "config": {}},
        {"class_name": "Addons>SpectralNormalization"},
        {"_target_": "torch.nn.utils.spectral_norm"},
        {"model": {"layers": [{"units": 4}, {"units": 8, "norm": "spectral"}]}},
        ({"a": [({"spectral_norm": True},)]},),
        '{"layers": [{"class_name": "SpectralNormalization"}]}',
        {"architecture": '{"spectral_norm": true}'},
    ],
)
def test_a_configuration_that_has_it(configuration: Any) -> None:
    assert has_spectral_norm(configuration)


@pytest.mark.parametrize(
    "configuration",
    [
        None,
        {},
        True,
        "spectral_norm",
        "{",
        {"spectral_norm": False},
        {"spectral_norm": None},
        {"spectral_norm": 0},
        {"spectral_norm": "False"},
        {"spectral_norm": "off"},
        {"spectral_norm": float("nan")},
        {"spectral_norm": {"enabled": False}},
        {"spectral_norm": [False]},
        {"spectral_norm": []},
        {"no_spectral_norm": True},
        {"spectral_norm_weight": 0.5},
        {"norm": "batch"},
        {"norm": None},
        {"type": "spectral"},  # there is a spectral clustering
        {"type": "SpectralClustering"},
        {"name": "spectral"},
        {"kernel_constraint": "unit_norm"},
        {1: True, None: "spectral"},
        object(),
        np.zeros(3),
    ],
)
def test_a_configuration_that_has_it_not(configuration: Any) -> None:
    assert not has_spectral_norm(configuration)


@dataclass
class Settings:
    units: int = 4
    regularisation: dict[str, Any] = field(default_factory=lambda: {"spectral_norm": True})


class Pydantic:
    def model_dump(self) -> dict[str, Any]:
        return {"inner": {"spectral_norm": True}}


@pytest.mark.parametrize(
    "parameters",
    [Settings(), Pydantic(), argparse.Namespace(spectral_norm=True), types.SimpleNamespace(use_spectral_norm=1)],
    ids=lambda value: type(value).__name__,
)
def test_parameters_in_an_object(parameters: Any) -> None:
    assert has_spectral_norm(parameters)


# torch


class Module:
    """torch.nn.Module as far as it is looked at: modules, state_dict, hooks before forward, parametrisations."""

    def __init__(self, **children: Module) -> None:
        self.children = children
        self._forward_pre_hooks: dict[int, Any] = OrderedDict()

    def modules(self) -> Iterator[Module]:
        yield self
        for child in self.children.values():
            yield from child.modules()

    def state_dict(self) -> dict[str, Any]:
        return {}


class Linear(Module):
    pass


class _SpectralNorm(Module):
    """torch.nn.utils.parametrizations._SpectralNorm"""


class _WeightNorm(Module):
    pass


class SpectralNorm:
    """torch.nn.utils.spectral_norm.SpectralNorm, a hook with the name of its weight"""

    name = "weight"


class WeightNorm:
    name = "weight"


class ModuleDict(Module):
    """torch.nn.ModuleDict: values, each a ParametrizationList"""

    def values(self) -> list[Any]:
        return [list(self.children.values())]


def parametrised(kind: type[Module]) -> Module:
    linear = Linear(parametrizations=ModuleDict(item=kind()))
    linear.parametrizations = linear.children["parametrizations"]  # type: ignore[attr-defined]
    return linear


def hooked(hook: Any) -> Module:
    linear = Linear()
    linear._forward_pre_hooks[0] = hook
    return linear


@pytest.mark.parametrize(("linear", "has"), [(parametrised(_SpectralNorm), True), (parametrised(_WeightNorm), False)])
def test_torch_parametrisations(linear: Module, has: bool) -> None:
    assert has_spectral_norm(Module(first=Linear(), deep=Module(second=linear))) is has


@pytest.mark.parametrize(("hook", "has"), [(SpectralNorm(), True), (WeightNorm(), False), (print, False)])
def test_torch_hooks(hook: Any, has: bool) -> None:
    assert has_spectral_norm(Module(deep=Module(second=hooked(hook)))) is has


def test_a_scripted_module_whose_parts_refuse_to_be_looked_at_is_looked_at_elsewhere() -> None:
    class Scripted(Linear):
        @property
        def parametrizations(self) -> Any:
            class RecursiveScriptModule:
                def __getattr__(self, name: str) -> Any:
                    raise RuntimeError(name)

            return RecursiveScriptModule()

    assert not has_spectral_norm(Module(a=Scripted()))
    assert has_spectral_norm(Module(a=Scripted(), b=parametrised(_SpectralNorm)))


@pytest.mark.parametrize(
    ("state", "has"),
    [
        (["layer.weight_orig", "layer.weight_u", "layer.weight_v"], True),
        (["net.0.parametrizations.weight.original", "net.0.parametrizations.weight.0._u"], True),
        (["layer.weight_g", "layer.weight_v"], False),  # weight_norm
        (["layer.weight_orig", "layer.weight_mask"], False),  # pruning
        (["layer.parametrizations.weight.original0", "layer.parametrizations.weight.original1"], False),
        (["gru.weight_u", "gru.weight"], False),
    ],
)
def test_a_torch_state(state: list[str], has: bool) -> None:
    assert has_spectral_norm({name: np.zeros((2, 2)) for name in state}) is has
    assert has_spectral_norm({"epoch": 3, "model": {name: np.zeros(2) for name in state}}) is has


# flax, TensorFlow Addons


def test_variables_of_a_linen_module() -> None:
    assert has_spectral_norm({"params": {}, "batch_stats": {"SpectralNorm_0": {"Dense_0/kernel/u": np.zeros(2)}}})
    assert not has_spectral_norm({"params": {}, "batch_stats": {"BatchNorm_0": {"mean": np.zeros(2)}}})


def test_an_nnx_module_by_the_class_of_an_attribute() -> None:
    module = type("Net", (), {"__module__": "mine"})
    base = type("Module", (), {"__module__": "flax.nnx.module"})
    normalised, plain = type("Net", (base,), {})(), type("Net", (base,), {})()
    normalised.inner = [type("SpectralNorm", (base,), {})()]
    plain.inner = [type("BatchNorm", (base,), {})()]
    assert has_spectral_norm(normalised)
    assert not has_spectral_norm(plain)
    assert not has_spectral_norm(module())


def test_a_wrapper_of_tensorflow_addons_by_its_name() -> None:
    wrapper = type("SpectralNormalization", (), {"__module__": "tensorflow_addons.layers.spectral_normalization"})()
    model = types.SimpleNamespace(layers=[types.SimpleNamespace(layers=[wrapper])])
    assert has_spectral_norm(model)
    assert not has_spectral_norm(types.SimpleNamespace(layers=[types.SimpleNamespace(layers=[])]))


# hostile


def test_a_circle_and_a_structure_without_an_end_are_left() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = [circle]

    class Endless:
        def to_dict(self) -> dict[str, Any]:
            return {"next": Endless()}

    began = time.monotonic()
    assert not has_spectral_norm(circle)
    assert not has_spectral_norm(Endless())
    assert time.monotonic() - began < patient(20)


def test_deep_nesting_is_no_recursion() -> None:
    deep: Any = {"spectral_norm": True}
    for _ in range(50_000):
        deep = [deep]
    assert has_spectral_norm(deep)


def test_what_raises_when_looked_at_has_none() -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    assert not has_spectral_norm(Hostile())
    assert not has_spectral_norm({"a": Hostile()})


@pytest.mark.parametrize("model", [None, 7, object(), {"class_name": "Sequential"}])
def test_only_a_keras_model_can_be_given_it(model: Any) -> None:
    with pytest.raises(TypeError, match="is not a Keras model"):
        apply_spectral_norm(model)
