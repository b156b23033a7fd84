"""Which run a report belongs to: the places where its id may stand, in the order that the design fixes; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from processor.core.messages import RawRecord, Reason
from processor.decode.refused import Refused
from processor.decode.rules import identifier


class RunId(NamedTuple):
    """The run's id, the place where it was found, and the value that stood there."""

    id: str
    source: str
    found: Any


def identify(value: Any, path: str) -> str:
    """`rules.identifier`, which names the place where it refuses."""
    try:
        return identifier(value)
    except Refused as refused:
        raise refused.at(path) from None


def find_run_id(record: RawRecord, report: Mapping[str, Any], envelope: Mapping[str, Any]) -> RunId:
    """Raises `Refused` where there is none, or where the first one found is no id."""
    for place, holder in (("report", report), ("envelope", envelope)):
        for name in ("run_id", "model_run_id"):
            value = holder.get(name)
            if value is not None and value != "":
                run_id = identify(value, name if place == "report" else f"envelope.{name}")
                return RunId(run_id, f"{place}.{name}", value)
    for name, header in record.headers:
        if name == "run_id" and header:
            run_id = identify(_text(header, "headers.run_id"), "headers.run_id")
            return RunId(run_id, "header", run_id)
    if record.key:
        run_id = identify(_text(record.key, "key"), "key")
        return RunId(run_id, "key", run_id)
    raise Refused(
        Reason.MISSING_RUN_ID,
        "no run_id in the report, its envelope, the record's headers or its key",
        "run_id",
    )


def _text(value: bytes, path: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused(Reason.INVALID_ID, f"a run id must be UTF-8, not {value[:30]!r}", path) from None
