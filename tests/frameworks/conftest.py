"""Real Keras on JAX; where it is not installed each test is skipped by itself, so that the count tells how many."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
MISSING = [name for name in ("keras", "jax") if find_spec(name) is None]


@pytest.fixture(autouse=True)
def _needs_frameworks() -> None:
    if MISSING:
        pytest.skip(f"{' and '.join(MISSING)} missing: make test-frameworks")
