"""When reports were made that come late or again: the header by which a caller keeps their order."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from processor.kafka.records import LATEST_TIMESTAMP_MS
from processor.web.refusals import NotTaken

REPORTED_AT = "cerebros-reported-at"
#: clocks that are kept differ by less
TOLD_MS = 60_000
_DIGITS = re.compile(r"[0-9]{1,15}", re.ASCII)


def read_times(headers: Mapping[str, str]) -> Sequence[int] | None:
    """Milliseconds since the epoch, one for each report of the body; None where the header is not there.

    Linear in the head of the request, whose size is bounded. Raises `NotTaken`.
    """
    said = headers.get(REPORTED_AT)
    if said is None:
        return None
    times = [int(one) if _DIGITS.fullmatch(one) else -1 for one in map(str.strip, said.split(","))]
    if not all(0 <= one <= LATEST_TIMESTAMP_MS for one in times):
        details = "Cerebros-Reported-At holds milliseconds since the epoch, comma-separated, one for each report"
        raise NotTaken(400, "invalid_times", details)
    return times


def not_ahead(reported_ms: int) -> tuple[int, bool]:
    """The time, no later than now by this machine's clock, and whether what was said lies far ahead of that.

    Kafka refuses a record from the future, with all of its batch (`message.timestamp.after.max.ms`, an hour).
    """
    now = time.time_ns() // 1_000_000
    return min(reported_ms, now), reported_ms > now + TOLD_MS


def check_number(times: Sequence[int], pieces: int) -> None:
    """Raises `NotTaken` where it is not one for each."""
    if len(times) != pieces:
        details = f"Cerebros-Reported-At holds {len(times)} times, the body {pieces} reports: one for each, or none"
        raise NotTaken(400, "invalid_times", details)
