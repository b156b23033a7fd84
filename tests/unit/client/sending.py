"""What a reporter hands to its transport, without a network, and where a test needs one, librdkafka's own broker."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from cerebros_client import TrialReporter
from cerebros_client import delivery as module
from cerebros_client.transport import Report, Settled, Target, Trouble


class Recorder:
    """A transport that keeps what it is offered, and settles each report as `answers` says: by default confirmed."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.confirmed: list[Report] = []
        self.answer: Trouble | None = None
        self.is_down = False
        self.said = ""
        self._held: deque[tuple[Report, Settled]] = deque()

    def offer(self, report: Report, settled: Settled) -> bool:
        self._held.append((report, settled))
        self.serve(0)
        return True

    def serve(self, timeout_s: float) -> None:
        """While it is down all waits, as in a client's queue."""
        while self._held and not self.is_down:
            report, settled = self._held.popleft()
            self.reports.append(report)
            if (answer := self.answer) is None:
                self.confirmed.append(report)
            settled(answer)
        time.sleep(min(timeout_s, 0.01))

    def close(self) -> None: ...

    def abandon(self) -> None: ...

    @property
    def documents(self) -> list[Any]:
        return [json.loads(report.value) for report in self.reports]


def recorded(monkeypatch: pytest.MonkeyPatch, spool: Path | None = None) -> tuple[TrialReporter, Recorder]:
    """A reporter whose transport is a recorder."""
    recorder = Recorder()

    def connected(_: Target) -> Recorder:
        return recorder

    monkeypatch.setattr(module, "connected", connected)
    return TrialReporter("nowhere:9092", spool=spool, close_timeout_s=5.0), recorder
