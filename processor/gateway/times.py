"""When reports were made that come late or again: the header by which a caller keeps their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from processor.kafka.records import LATEST_TIMESTAMP_MS
from processor.web.refusals import NotTaken

REPORTED_AT = "cerebros-reported-at"
_DIGITS = re.compile(r"[0-9]{1,15}", re.ASCII)


def read_times(headers: Mapping[str, str]) -> Sequence[int] | None:
    """Milliseconds since the epoch, one for each report of the body; None where the header is not there.

    Linear in the head of the request, whose size is bounded. Raises `NotTaken`.
    """
    said = headers.get(REPORTED_AT)
    if said is None:
        return None
    texts = [one.strip() for one in said.split(",")]
    if not all(_DIGITS.fullmatch(one) and int(one) <= LATEST_TIMESTAMP_MS for one in texts):
        details = "Cerebros-Reported-At holds milliseconds since the epoch, comma-separated, one for each report"
        raise NotTaken(400, "invalid_times", details)
    return [int(one) for one in texts]


def check_number(times: Sequence[int], pieces: int) -> None:
    """Raises `NotTaken` where it is not one for each."""
    if len(times) != pieces:
        details = f"Cerebros-Reported-At holds {len(times)} times, the body {pieces} reports: one for each, or none"
        raise NotTaken(400, "invalid_times", details)
