"""`processor run`: ingest, relay and, where they are configured, gateway and dashboard, each as its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from processor.core.settings import PREFIX, Settings
from processor.core.stopping import stop_on_signals

LOOK_SECONDS = 0.1


def run_together(settings: Settings) -> int:
    """All as child processes; when one ends the others are stopped. The worst exit code of them."""
    children: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        for child in children:
            child.kill()

    with stop_on_signals(kill) as stop:
        for place, command in enumerate(commands_of(settings)):
            if not stop.is_set():
                children.append(_start(command, _environment(settings, place)))
        while all(child.poll() is None for child in children) and not stop.wait(LOOK_SECONDS):
            pass
        stop.tell()
        for child in children:
            child.terminate()
        codes = {child.wait() for child in children} - {0}
    if stop.is_set():
        codes.discard(-signal.SIGTERM)  # told before it had begun
    return 0 if not codes else 2 if 2 in codes else 1


def commands_of(settings: Settings) -> list[str]:
    """A gateway and a dashboard are doors: each is opened where somebody has said at which address."""
    doors = [name for name in ("gateway", "dashboard") if f"{name}_listen" in settings.model_fields_set]
    return ["ingest", "relay", *doors]


def _environment(settings: Settings, place: int) -> Mapping[str, str]:
    """Each has the metrics port behind that of the one before."""
    if not settings.metrics_port:
        return os.environ
    return {**os.environ, f"{PREFIX}METRICS_PORT": str(settings.metrics_port + place)}


def _start(command: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A child that stops when we are gone, however we died: then the pipe to its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "processor", command, "--stop-with-stdin"],
        stdin=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
