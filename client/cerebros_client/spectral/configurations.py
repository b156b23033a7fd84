"""Spectral normalisation in dictionaries: search parameters, layer configurations, states of a model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

# compared without case, `-`, `_` and blanks: spectral_norm, use-spectral-norm, useSpectralNorm
SWITCHES = frozenset(
    verb + noun
    for verb in ("", "use", "apply", "with", "enable")
    for noun in ("spectralnorm", "spectralnormalization", "spectralnormalisation", "spectralnormed")
)
# keys whose value names a normalisation, where the word `spectral` alone says it: {"norm": "spectral"}
NORMS = frozenset(("norm", "norms", "normalization", "normalisation", "weightnorm", "constraint", "constraintmethod"))
# keys whose value names a kind of anything: there is a spectral clustering too, so the whole name is needed
KINDS = frozenset(("type", "kind", "class", "classname", "target"))
_NAMES = re.compile(r"spectral(norm(ali[sz]ation|ed)?)(dense|linear|conv\d?d?)?$")
# what says that a switch with details is off or on: {"spectral_norm": {"enabled": false}}
_ENABLING = ("enabled", "enable", "active", "use")
_OFF = frozenset(("", "0", "false", "f", "no", "n", "off", "none", "null", "nan"))

# torch's state: parametrizations.weight.0._u (new), weight_orig beside weight_u (old); flax's: SpectralNorm_0
_TORCH_NEW = re.compile(r"(^|\.)parametrizations\.\w+\.\d+\._u$")
_FLAX = re.compile(r"^(SpectralNorm|SNParamsTree|SNLayer)(_\d+)?$")


def plain(word: str) -> str:
    """The word as it is compared: case and separators apart."""
    return re.sub(r"[\s_\-]+", "", word).lower()


def says_so(key: Any, value: Any) -> bool:
    """Whether this one entry switches spectral normalisation on; what lies inside `value` is not looked at."""
    if not isinstance(key, str):
        return False
    if _FLAX.match(key) or _TORCH_NEW.search(key):
        return True
    name = plain(key)
    if name in SWITCHES:
        return is_on(value)
    return any(names_it(word, alone=name in NORMS) for word in _words(name, value))


def _words(name: str, value: Any) -> list[Any]:
    """What the entry calls a kind: "spectral", ["batch", "spectral"], {"type": "spectral"} below a normalisation."""
    if name not in NORMS | KINDS:
        return []
    if name in NORMS and isinstance(value, Mapping):
        return [word for key, word in value.items() if isinstance(key, str) and plain(key) in KINDS | {"name"}]
    return list(value) if isinstance(value, list | tuple) else [value]


def names_it(word: Any, *, alone: bool) -> bool:
    """`spectral_norm`, `SpectralNormalization`, `keras.layers.SpectralNormalization`; `spectral` where `alone`."""
    if not isinstance(word, str):
        return False
    last = plain(re.split(r"[.>:/]", word.strip())[-1])
    return bool(_NAMES.match(last)) or (alone and last == "spectral")


def is_on(value: Any) -> bool:
    """A switch's value: true, 1, "on", details ({"power_iterations": 1}), a list with anything that is on."""
    if isinstance(value, str):
        return plain(value) not in _OFF
    if isinstance(value, Mapping):
        said = [is_on(value[key]) for key in _ENABLING if key in value]
        return all(said) if said else True
    if isinstance(value, list | tuple | set | frozenset):
        return any(is_on(one) for one in value)
    if isinstance(value, float) and math.isnan(value):
        return False
    try:
        return bool(value)
    except (TypeError, ValueError, RuntimeError):  # pandas' NA, arrays of several: neither on nor off
        return False


def is_old_torch_state(mapping: Mapping[Any, Any]) -> bool:
    """`weight_orig` beside its `weight_u`: what torch.nn.utils.spectral_norm leaves in a state_dict.

    weight_norm leaves weight_g and weight_v, pruning weight_orig beside weight_mask.
    """
    return any(
        isinstance(key, str) and key.endswith("_orig") and key.removesuffix("_orig") + "_u" in mapping
        for key in mapping
    )
