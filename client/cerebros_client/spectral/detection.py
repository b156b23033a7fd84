"""`has_spectral_norm`: walks whatever it is given, a model or a configuration, until something says so."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from cerebros_client.spectral.configurations import NORMS, SWITCHES, is_old_torch_state, plain, says_so

# Keras and TensorFlow Addons; torch (both of its interfaces) and flax nnx; haiku's
CLASSES = frozenset(("SpectralNormalization", "SpectralNorm", "_SpectralNorm", "SNParamsTree"))
# a model of 100,000 layers is none; a structure that makes itself up as one looks at it has no end
MAX_LOOKED_AT = 100_000
# a JSON text longer than this is data: Keras' largest applications describe themselves in 1 MB
MAX_TEXT = 8 * 1024 * 1024


def has_spectral_norm(model: Any) -> bool:
    """Whether a model, one of its states or a configuration has spectral normalisation anywhere.

    Keras 3 and tf.keras models and layers (nested, in wrappers, in lists and dictionaries of layers, in base models),
    `to_json()`, `get_config()`; torch modules by both of torch's interfaces, and state_dicts; flax nnx modules, and the
    variables of flax linen (a linen module without variables does not show it); TensorFlow Addons' wrapper;
    dictionaries, dataclasses and namespaces of parameters: `{"spectral_norm": True}`, `{"norm": "spectral"}`.

    Never raises for a value: what can't be looked into has none. Looks at `MAX_LOOKED_AT` things at the most.
    """
    seen: set[int] = set()
    kept: list[Any] = []  # what was made while looking must live on: its id would be given to another
    ahead: deque[Any] = deque([model])
    while ahead and len(seen) < MAX_LOOKED_AT:
        thing = ahead.popleft()
        if thing is None or isinstance(thing, bool | int | float | complex | bytes) or id(thing) in seen:
            continue
        seen.add(id(thing))
        kept.append(thing)
        if _is_one(thing):
            return True
        ahead.extend(_inside(thing))
    return False


def said_in(parameters: Mapping[str, Any]) -> bool | None:
    """What a trial's parameters say of it; None where none of their names is about a normalisation."""
    if has_spectral_norm(parameters):
        return True
    return False if any(plain(name) in SWITCHES | NORMS for name in parameters) else None


def _is_one(thing: Any) -> bool:
    if isinstance(thing, type):
        return thing.__name__ in CLASSES
    if isinstance(thing, str):
        return False
    if isinstance(thing, Mapping):
        return bool(_quietly(_mapping_says_so, thing, False))
    return any(kind.__name__ in CLASSES for kind in type(thing).__mro__)


def _mapping_says_so(mapping: Mapping[Any, Any]) -> bool:
    return any(says_so(*entry) for entry in mapping.items()) or is_old_torch_state(mapping)


def _values(mapping: Any) -> list[Any]:
    return list(mapping.values())


def _inside(thing: Any) -> Iterable[Any]:
    """What to look at next; a thing of several natures (a Keras model is a layer and has a config) shows each."""
    if isinstance(thing, str):
        return _parsed(thing)
    if isinstance(thing, Mapping):
        return list(_quietly(_values, thing, ()))
    if isinstance(thing, list | tuple | set | frozenset):
        return list(thing)
    if isinstance(thing, type) or _is_array(thing):
        return []
    for look in (_keras, _torch, _nnx, _plain_object):
        found: list[Any] | None = _quietly(look, thing, None)
        if found is not None:
            return found
    return []


def _keras(thing: Any) -> list[Any] | None:
    """Every layer below; `_flatten_layers` also finds those in lists and dictionaries of a subclassed model."""
    if callable(flatten := getattr(thing, "_flatten_layers", None)):
        return [*flatten(include_self=False, recursive=True), *_wrapped(thing)]
    layers = getattr(thing, "layers", None)
    return [*layers, *_wrapped(thing)] if isinstance(layers, list | tuple) else None


def _wrapped(thing: Any) -> list[Any]:
    """TimeDistributed and Bidirectional hold a layer of their own."""
    return [layer for name in ("layer", "forward_layer", "backward_layer") if (layer := getattr(thing, name, None))]


def _torch(thing: Any) -> list[Any] | None:
    """Parametrisations are modules, so `modules` shows them; the older interface is a hook before forward.

    A scripted module's `parametrizations` has no items: its hooks and names are all there is to see.
    """
    if not callable(modules := getattr(thing, "modules", None)) or not hasattr(thing, "state_dict"):
        return None
    found: list[Any] = []
    for module in modules():
        found.append(type(module))
        found += _quietly(_values, getattr(module, "_forward_pre_hooks", None), ())
        found += [one for of in _quietly(_values, getattr(module, "parametrizations", None), ()) for one in of]
    return found


def _nnx(thing: Any) -> list[Any] | None:
    """Attributes of a flax nnx module; only of flax: any other object's attributes lead anywhere."""
    if not any(kind.__module__.split(".")[0] in ("flax", "equinox") for kind in type(thing).__mro__):
        return None
    return list(vars(thing).values())


def _plain_object(thing: Any) -> list[Any] | None:
    """Parameters in a dataclass, a pydantic model, an argparse namespace, a named tuple; a Keras layer's config."""
    if is_dataclass(thing):
        return [{field.name: getattr(thing, field.name) for field in fields(thing)}]
    for name in ("model_dump", "get_config", "to_dict", "_asdict"):
        if callable(tell := getattr(thing, name, None)):
            return [tell()]
    return [vars(thing)] if type(thing).__name__ in ("Namespace", "SimpleNamespace", "Munch", "DotMap") else None


def _is_array(thing: Any) -> bool:
    """Also a table: its `to_dict` is all of its data."""
    return bool(_quietly(lambda one: hasattr(one, "shape"), thing, True))


def _parsed(text: str) -> list[Any]:
    """What `model.to_json()` gives; any other text says nothing."""
    if text[:1] not in ("{", "[") or len(text) > MAX_TEXT:
        return []
    parsed = _quietly(json.loads, text, None)
    return [] if parsed is None else [parsed]


def _quietly(look: Callable[[Any], Any], thing: Any, otherwise: Any) -> Any:
    """Foreign code: a property that raises, a scripted module, a lazy layer says nothing."""
    try:
        return look(thing)
    except Exception:  # noqa: BLE001
        return otherwise
