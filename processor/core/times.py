"""Moments, durations, and how long to wait before trying again."""

from __future__ import annotations

import random
import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from processor.core.errors import UsageError
from processor.core.numbers import LONG_MAX, read_count

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: pydantic's reading of durations takes P1Y and P1M too, as 365 and 30 days, which nobody means
_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.ASCII,
)


def parse_datetime(text: str) -> int:
    """ISO 8601 -> milliseconds; without a zone it is UTC. Raises `UsageError`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no date and time such as 2026-05-01T12:00:00Z") from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return max(0, since // timedelta(milliseconds=1))  # Kafka gives negative timestamps meanings of their own


def parse_duration(text: str) -> timedelta:
    """ISO 8601 duration (P1D, PT2H30M, P1DT12H). Raises `UsageError`."""
    match = _DURATION.fullmatch(text.upper())
    parts = {unit: read_count(value) for unit, value in match.groupdict().items() if value} if match else {}
    if not parts:
        raise UsageError(f"{text!r} is no ISO 8601 duration such as PT2H30M or P1D")
    try:
        return timedelta(**{unit: LONG_MAX if value is None else value for unit, value in parts.items()})
    except OverflowError:
        raise UsageError(f"{text!r} is too long ago") from None


def before_now(text: str) -> int:
    """ISO 8601 duration -> the moment so long ago, in milliseconds since the epoch. Raises `UsageError`."""
    return max(0, int((time.time() - parse_duration(text).total_seconds()) * 1000))  # as in `parse_datetime`


def timestamp_text(timestamp_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, as CloudEvents wants it."""
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    return f"{_second_text(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    """The part that many reports of a batch share."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


class Backoff:
    """How long to wait before each further attempt: from `first_s` seconds, twice as long each time, to `most_s`.

    Half of each wait is random, so that those who failed together do not all come back together.
    """

    def __init__(self, first_s: float = 0.1, most_s: float = 5.0) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now; the next wait is longer."""
        wait, self._next_s = self._next_s, min(self._next_s * 2, self._most_s)
        return wait * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: the next failure is a first one again."""
        self._next_s = self._first_s


class Seldom:
    """Counts what may happen to every record, and says when it is time for a log line: one in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = float("-inf")
        self._untold = 0

    def due(self, number: int = 1) -> int:
        """How often it has happened since the last line where one is due now, else 0."""
        self._untold += number
        if time.monotonic() < self._next:
            return 0
        self._next = time.monotonic() + self._seconds
        told, self._untold = self._untold, 0
        return told
