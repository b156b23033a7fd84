"""What must be right at once: ids and status words. Wrong ones raise where they are passed, naming the field."""

from __future__ import annotations

import operator
import re
import time
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

#: what the processor reads as each end of a trial; a test holds the two lists together
_WORDS = {
    "succeeded": "succeeded success complete completed ok finished terminated",
    "failed": "failed fail failure error exception crashed timeout timed_out invalid",
    "skipped": "skipped pruned early_stopped",
    "cancelled": "cancelled canceled killed stopped aborted",
}
STATUSES = {word: status for status, words in _WORDS.items() for word in words.split()}
#: NUL and half a surrogate pair: PostgreSQL and UTF-8 have no place for them
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
#: an id is a key in an index of PostgreSQL, whose rows take 2,700 bytes
_LONGEST_ID = 500
#: as far as a topic lets a record's time run ahead of its broker's clock (`message.timestamp.after.max.ms`)
_AHEAD_MS = 3_600_000


def identifier(value: Any, field: str) -> str:
    """A text, an integer or a UUID. Raises `TypeError` for anything else, `ValueError` for a text that is no id."""
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, UUID):
        text = str(value)
    elif isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{field} is a text, an integer or a UUID, not {type(value).__name__}")
    else:
        number = operator.index(value)
        if number.bit_length() > 4 * _LONGEST_ID:  # writing it would take a time that grows with its square
            raise ValueError(
                f"{field} has more than {_LONGEST_ID} characters: an integer of {number.bit_length()} bits"
            )
        text = str(number)
    if not text:
        raise ValueError(f"{field} must not be empty")
    if len(text) > _LONGEST_ID:
        raise ValueError(f"{field} has {len(text)} characters, more than {_LONGEST_ID}: {text[:40]!r}...")
    if _UNSTORABLE.search(text):
        raise ValueError(f"{field} must not hold NUL or half a surrogate pair: {text[:60]!r}")
    return text


def optional_id(value: Any, field: str) -> str | None:
    """As `identifier`; None and an empty text are none."""
    return None if value is None or value == "" else identifier(value, field)


def mlflow_id(value: Any) -> str | None:
    """MLflow writes its ids without dashes; a number is none of them. Raises as `identifier`."""
    if value is None or isinstance(value, (str, UUID)):
        return optional_id(value.hex if isinstance(value, UUID) else value, "mlflow_run_id")
    raise TypeError(f"mlflow_run_id is a text, not {type(value).__name__}")


def moment(value: Any, field: str) -> int | None:
    """Milliseconds since 1970 of a datetime (local, where it has no zone) or of such a number; None is none.

    Raises `TypeError` for anything else, `ValueError` for a time before 1970, which Kafka takes for none, and for one
    that is still to come: Kafka refuses it, and with it whatever is sent at the same time.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        value = round(value.timestamp() * 1000)
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{field} is a datetime or milliseconds since 1970, not {type(value).__name__}")
    if (found := operator.index(value)) < 0:
        raise ValueError(f"{field} lies before 1970")
    if found > time.time() * 1000 + _AHEAD_MS:
        raise ValueError(f"{field} lies in the future")
    return found


def ended_as(value: Any) -> str:
    """succeeded, failed, skipped or cancelled: a word for it in any case, or an enum's member named by one.

    Raises `TypeError` or `ValueError`, also for a trial that has not ended.
    """
    word = value.name if isinstance(value, Enum) else value
    if not isinstance(word, str):
        raise TypeError(f"status is a word such as succeeded or failed, not {type(value).__name__}")
    known = STATUSES.get(word) or STATUSES.get(_plainly(word))
    if known is None:
        ends = ", ".join(_WORDS)
        raise ValueError(
            f"status {word[:60]!r} is no end of a trial: it may be one of {ends}, or a word for one of them"
        )
    return known


def _plainly(word: str) -> str:
    """`TrialState.FAIL`, "timed out" and "Early-Stopped" as the words they are."""
    return re.sub("[ -]+", "_", word.strip().rpartition(".")[2].lower())


def message(error: BaseException) -> str:
    """What an exception says, or else its type: one whose own `__str__` raises says nothing."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001
        return type(error).__name__
