"""A reporter that keeps its reports in a file, one JSON a line: several processes and threads may share it."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from cerebros_client import TrialReporter, Undelivered, UndeliveredError


class SinkReporter:
    """`TrialReporter.report` and its neighbours, as far as whoever reports through another library calls them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self.away = False  # flush does not succeed
        self.fails = 0  # so many reports raise, as where a queue is full for good

    def report(self, run_id: str, trial_id: str | int, **fields: Any) -> None:
        with self._lock:
            if self.fails:
                self.fails -= 1
                raise RuntimeError("no room")
        self._append({"run_id": run_id, "trial_id": str(trial_id), **fields})

    def start_trial(self, run_id: str, trial_id: str, **fields: Any) -> None:
        self._append({"event": "ml.trial.start", "run_id": run_id, "trial_id": trial_id, **fields})

    def send(self, run_id: str, trial_id: str, value: bytes, *, timestamp_ms: int | None = None) -> None:
        self._append({**json.loads(value), "sent_as": [run_id, trial_id], "at": timestamp_ms})

    def flush(self, timeout_s: float = 60.0) -> None:
        if self.away:
            raise UndeliveredError([Undelivered("run", "trial", "no confirmation yet", b"{}")])
        self._append({"event": "flush"})

    def start_run(self, run_id: str, **fields: Any) -> None:
        self._append({"event": "ml.run.start", "run_id": run_id, **fields})

    def stop_run(self, run_id: str, **fields: Any) -> None:
        self._append({"event": "ml.run.stop", "run_id": run_id, **fields})

    def _append(self, document: dict[str, Any]) -> None:
        line = json.dumps(document, default=lambda value: value.isoformat() if isinstance(value, datetime) else None)
        with self._lock, self.path.open("a") as file:  # O_APPEND: one write is one line, whoever else writes
            file.write(line + "\n")

    @property
    def said(self) -> list[dict[str, Any]]:
        """Everything, in the order it came."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [one for one in self.said if one.get("event") == name]

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [one for one in self.said if "event" not in one]

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """By trial; the latest report of a trial is its row."""
        return {report["trial_id"]: report for report in self.reports}


def as_reporter(sink: SinkReporter) -> TrialReporter:
    return cast(TrialReporter, sink)
