"""The seam where the core's network is compiled: what it is, and spectral normalisation before it is compiled."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from cerebros_client.spectral import apply_spectral_norm

log = logging.getLogger(__name__)

COMPILE = "compile_neural_network"
MODEL = "materialized_neural_network"


class Seen:
    """What becomes known of one sub-trial's network while it runs."""

    def __init__(self, *, normalise: bool) -> None:
        self.normalise = normalise
        self.model: Any = None
        self.warnings: list[str] = []

    def prepare(self, model: Any) -> Any:
        """The model to compile; one that can't be normalised is trained as it is, and that is told."""
        if not self.normalise:
            return model
        try:
            return apply_spectral_norm(model)
        except (TypeError, ValueError) as error:  # a network of one level has no layer but that of its outputs
            self.warnings.append(f"without spectral normalisation: {error}")
            return model


#: the sub-trial that this thread runs; where there is none, the core behaves as ever
current: ContextVar[Seen | None] = ContextVar("current", default=None)


def watch_networks(search: Any) -> bool:
    """Lets `current` see each network that the search's module compiles; False where there is no such class.

    The class's method is replaced, once a process: the core makes its networks itself, and by no argument of the
    search can one come in between.
    """
    found = False
    for kind in _network_classes(search):
        compiling = getattr(kind, COMPILE)
        if not hasattr(compiling, "__wrapped__"):
            setattr(kind, COMPILE, _watched(compiling))
        found = True
    return found


def _network_classes(search: Any) -> Iterator[type]:
    """Whatever the module of `run_moity_permutations` calls ...NeuralNetworkFuture, in the class and its bases."""
    for base in type(search).__mro__:
        names = getattr(base.__dict__.get("run_moity_permutations"), "__globals__", {})
        for name, kind in list(names.items()):
            if name.endswith("NeuralNetworkFuture") and isinstance(kind, type) and hasattr(kind, COMPILE):
                yield kind


def _watched(compiling: Any) -> Any:
    @functools.wraps(compiling)
    def compile_neural_network(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen = current.get()
        if seen is None:
            return compiling(self, *args, **kwargs)
        setattr(self, MODEL, seen.prepare(getattr(self, MODEL)))
        try:
            return compiling(self, *args, **kwargs)
        finally:
            seen.model = getattr(self, MODEL)

    return compile_neural_network
