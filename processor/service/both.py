"""`processor run`: ingest and relay, each as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from processor.core.settings import Settings
from processor.service.signals import stop_on_signals


def run_both(settings: Settings) -> int:
    """ingest and relay as two child processes; when one ends the other is stopped. The worse exit code of the two."""
    environment = dict(os.environ)
    if settings.metrics_port:
        environment["PROCESSOR_METRICS_PORT"] = str(settings.metrics_port + 1)
    command = [sys.executable, "-m", "processor"]
    children = [
        subprocess.Popen([*command, "ingest"], start_new_session=True),
        subprocess.Popen([*command, "relay"], start_new_session=True, env=environment),
    ]

    def kill() -> None:
        for child in children:
            child.kill()

    def forward() -> None:
        for child in children:
            if child.poll() is None:
                child.terminate()

    stop_on_signals(forward, kill)
    while all(child.poll() is None for child in children):
        time.sleep(0.1)
    forward()
    codes = {child.wait() for child in children}
    return 0 if codes == {0} else 2 if 2 in codes else 1
