"""`processor` commands as real processes, as a person would start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue

from tests.support.patience import patient

COMMAND = [sys.executable, "-m", "processor"]


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Polls until it holds; fails the test with `what` when it never does."""
    deadline = time.monotonic() + patient(timeout_s)
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patient(timeout_s):.0f} s: {what}")
        time.sleep(0.05)


def run_command(
    environment: Mapping[str, str], *args: str, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=patient(timeout_s),
        check=False,
    )


class Process:
    """One running command, of `processor` by default; its stderr goes to a file, its stdout is read line by line."""

    def __init__(self, environment: Mapping[str, str], log: Path, *args: str, command: Sequence[str] = COMMAND) -> None:
        self.log = log
        with log.open("ab") as stderr:
            self._child = subprocess.Popen(
                [*command, *args], env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line.strip())

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def wait_halted(self, checkpoint: str, timeout_s: float = 30.0) -> None:
        """Waits until the process says that it stands at the checkpoint."""
        deadline = time.monotonic() + patient(timeout_s)
        while True:
            try:
                if self._lines.get(timeout=0.2) == f"HALTED {checkpoint}":
                    return
            except Empty:
                assert self.running, f"ended with {self._child.returncode}: {self.said()}"
                assert time.monotonic() < deadline, f"never reached {checkpoint}: {self.said()}"

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait(patient(10))

    def resume(self) -> None:
        """Lets a process that halted at a checkpoint go on."""
        self._child.send_signal(signal.SIGUSR1)

    def terminate(self) -> None:
        self._child.send_signal(signal.SIGTERM)

    def stop(self, timeout_s: float = 20.0) -> int:
        """SIGTERM, and the exit code."""
        if self.running:
            self.terminate()
        return self._child.wait(patient(timeout_s))

    def wait(self, timeout_s: float = 20.0) -> int:
        return self._child.wait(patient(timeout_s))

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def wait_said(self, word: str, timeout_s: float = 30.0) -> None:
        wait_until(lambda: word in self.log.read_text(errors="replace"), f"log says {word!r}", timeout_s)

    def end(self) -> None:
        if self.running:
            self.kill()
