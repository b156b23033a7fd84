"""Scalars in a box: R's jsonlite writes each as a vector of one; pure."""

from __future__ import annotations

from typing import Any


def unboxed(value: Any) -> Any:
    """`[x]` -> x, anything else as it is."""
    return value[0] if type(value) is list and len(value) == 1 else value
