"""What stands around the reports of one record; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from processor.core.numbers import to_json

#: an envelope's own fields are stored with each of its reports: together they may be this many times the largest report
COPIES = 16
_IDS = ("run_id", "model_run_id")


class Envelope(NamedTuple):
    """`fields` as they came, `kept` as they can be stored.

    `digest` is the whole record's, "" where it is one report.
    """

    fields: Mapping[str, Any]
    kept: Mapping[str, Any]
    digest: str

    def rest(self, run_id: str) -> dict[str, Any] | None:
        """What is stored with a report of that run: all but the id, which the row has."""
        kept = self.kept
        if not kept:
            return None
        return {name: kept[name] for name in kept if name not in _IDS or kept[name] != run_id} or None


NO_ENVELOPE = Envelope({}, {}, "")


def stored_bytes(kept: Mapping[str, Any]) -> int:
    """The size of an envelope's own fields as they are stored with each report."""
    return len(to_json(kept)) if kept else 0
