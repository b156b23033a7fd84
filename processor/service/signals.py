"""How a process is told to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger(__name__)


def stop_on_signals(stop: Callable[[], None], at_once: Callable[[], None] = lambda: None) -> None:
    """The first SIGTERM or SIGINT drains, a second one (after `at_once`) ends the process at once."""

    def end(*_: object) -> None:
        at_once()
        os._exit(1)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, end)
        stop()

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, on_signal)
