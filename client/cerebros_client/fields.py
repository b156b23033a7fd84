"""The other fields of a report: whatever is passed becomes what the processor takes, and what was bent is told."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

from cerebros_client.forms import text_of_error
from cerebros_client.values import Walk, repr_of

_LONG_MAX = 2**63 - 1
_WARNINGS = 1_000
_MILLISECOND = timedelta(milliseconds=1)


def as_map(value: Any, field: str, walk: Walk) -> dict[str, Any]:
    """A map as it is; a lone value is `{"value": ...}`, several in a row are `{"values": [...]}`."""
    if value is None:
        return {}
    found = walk.plain(value, field)
    if isinstance(found, dict):
        return found
    return {"values" if isinstance(found, (list, tuple)) else "value": found}


def count(value: Any, field: str, walk: Walk) -> int | None:
    """A non-negative integer, rounded; NaN is none, as pandas writes it; what is no count is told, and none."""
    if value is None or (type(value) is int and 0 <= value <= _LONG_MAX):
        return value
    if isinstance(value, timedelta):
        value = value / _MILLISECOND
    try:
        number = float(walk.plain(value, field))
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if math.isnan(number):
        walk.tell(field, "NaN, so it is left out")
        return None
    if not 0 <= number < _LONG_MAX:
        walk.tell(field, f"{_brief(value)} is no number of 0 or more, so it is left out")
        return None
    return int(value) if type(value) is int else math.floor(number + 0.5)


def text(value: Any, field: str, walk: Walk) -> str | None:
    """A text; of an exception its message, of a class its name."""
    if value is None or type(value) is str:
        return None if value is None else walk.plain(value, field)
    if isinstance(value, type):
        return value.__name__
    found = str(value) if isinstance(value, BaseException) else walk.plain(value, field)
    return found if type(found) is str else _brief(found)


def trace(value: Any, field: str, walk: Walk) -> str | None:
    """A stack trace: a text, lines of it, a traceback, or an exception that has one."""
    if isinstance(value, BaseException):
        return str(walk.plain("".join(traceback.format_exception(value)), field))
    if isinstance(value, TracebackType):
        return str(walk.plain("".join(traceback.format_tb(value)), field))
    if isinstance(value, (list, tuple)) and all(isinstance(line, str) for line in value):
        return str(walk.plain("".join(value), field))
    return text(value, field, walk)


def warnings(value: Any, field: str, walk: Walk) -> list[str]:
    """A text is one warning, so is an exception; several in a row are each to text."""
    if value is None:
        return []
    if isinstance(value, (str, bytes, bytearray, Mapping, BaseException)):
        items: Any = [value]
    elif isinstance(value, (list, tuple)):
        items = value
    else:
        found = walk.plain(value, field)
        items = found if isinstance(found, list) else [found]
    if len(items) > _WARNINGS:
        walk.tell(field, f"{len(items)} warnings, the first {_WARNINGS} are kept")
    return [_warning(item, walk) for item in items[:_WARNINGS]]


def _warning(value: Any, walk: Walk) -> str:
    value = getattr(value, "message", value) if type(value).__name__ == "WarningMessage" else value
    if isinstance(value, BaseException):
        value = text_of_error(value)
    return text(value, "warnings", walk) or "None"


def _brief(value: Any) -> str:
    try:
        return repr_of(value) if type(value) is int else str(value)[:200]
    except Exception as error:  # noqa: BLE001 - code of whatever object it is
        return f"<{type(value).__name__}, whose text raises {type(error).__name__}>"
