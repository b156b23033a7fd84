"""What is wrong with a value or its bytes, in words a person can act on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """Why a value or its bytes were not accepted.

    `path` names the place (`metrics.layers[3]`), "" where there is none to name. `kind` is `invalid` (the value
    breaks the schema), `unreadable` (the bytes are not what their schema says), `too_deep` (they nest beyond
    all use), `too_large` (they come to far more than they are) or `unknown_schema`.
    """

    path: str
    message: str
    kind: str = "invalid"


class Failure:
    """A problem on its way out: each level that it passes adds its step."""

    __slots__ = ("message", "steps")

    def __init__(self, message: str, *steps: str | int) -> None:
        self.message = message
        self.steps: list[str | int] = list(steps)

    def path(self) -> str:
        path = ""
        for step in reversed(self.steps):
            path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
        return path


def describe(value: Any) -> str:
    """The value as a sentence names it: itself where it is short, else its JSON type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 130 else "an integer of over 128 bits"
    if isinstance(value, float | Decimal):
        return str(value)[:60]
    if isinstance(value, str):
        return f"the string {value[:60]!r}" + ("…" if len(value) > 60 else "")
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a Python {type(value).__name__}"
