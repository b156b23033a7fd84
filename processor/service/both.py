"""`processor run`: ingest and relay, each as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from processor.core.settings import Settings
from processor.core.stopping import stop_on_signals

LOOK_SECONDS = 0.1


def run_both(settings: Settings) -> int:
    """ingest and relay as two child processes; when one ends the other is stopped. The worse exit code of the two."""
    relay_environment = dict(os.environ)
    if settings.metrics_port:
        relay_environment["PROCESSOR_METRICS_PORT"] = str(settings.metrics_port + 1)
    children: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        for child in children:
            child.kill()

    with stop_on_signals(kill) as stop:
        for command, environment in (("ingest", dict(os.environ)), ("relay", relay_environment)):
            if not stop.is_set():
                children.append(_start(command, environment))
        while all(child.poll() is None for child in children) and not stop.wait(LOOK_SECONDS):
            pass
        stop.tell()
        for child in children:
            child.terminate()
        codes = {child.wait() for child in children} - {0}
    if stop.is_set():
        codes.discard(-signal.SIGTERM)  # told before it had begun
    return 0 if not codes else 2 if 2 in codes else 1


def _start(command: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A child that stops when we are gone, however we died: then the pipe to its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "processor", command, "--stop-with-stdin"],
        stdin=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
