"""Trials at which the tracking server failed, tried again from the tables: their events are committed long since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from processor.mlflow.content import Happening
from processor.mlflow.rows import event_of

#: how many are tried in one go, between two batches
PORTION = 50


class Failing(Protocol):
    def failing(self, older_s: float, limit: int) -> list[dict[str, Any]]: ...


class Again:
    """Applies the newest revision of each trial that has failed `after_s` ago; one that fails again waits anew."""

    def __init__(
        self,
        rows: Failing,
        apply: Callable[[Sequence[Happening]], None],
        wanted: Callable[[Happening], bool],
        after_s: float,
    ) -> None:
        self._rows, self._apply, self._wanted, self._after_s = rows, apply, wanted, after_s

    def look(self) -> int:
        """How many were tried. Raises `TransientError`."""
        events = [event_of(row) for row in self._rows.failing(self._after_s, PORTION)]
        wanted = [event for event in events if self._wanted(event)]
        if wanted:
            self._apply(wanted)
        return len(wanted)
