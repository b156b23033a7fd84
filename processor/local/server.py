"""A server process that ends with the Python process that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from processor.core.errors import SetupError
from processor.local import guard
from processor.local.files import last_lines, neutral_environment

START_SECONDS = 90.0  # for slow machines and the recovery after a kill; a server that ended is noticed at once


class Server(ABC):
    """One server under its guard; `stop` or `kill`, then `start`, keep its port and its data.

    `folder` is the server's own, absolute, made if absent. `lock` is a descriptor that the guard keeps open for as
    long as it lives. A `temporary` folder is removed by the guard, should this process die.
    """

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path, port: int, *, lock: int, temporary: bool) -> None:
        self.folder, self.port = folder, port
        self.log = folder / f"{folder.name}.log"
        self.pid = 0  # the server's own process, not its guard's
        self._lock, self._temporary = lock, temporary
        self._guard: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _commands(self) -> list[list[str]]:
        """What prepares the data, if anything is to do, and last the server itself."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server answers a real request."""

    def _user(self) -> tuple[int, int] | None:
        """The uid and gid to run as, when not this process's."""
        return None

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        process = self._guard
        return process is not None and process.poll() is None

    def start(self) -> None:
        """Start and wait until the server answers; SetupError with the end of its log when it does not."""
        if self.running:
            return
        self._reap(None)
        self._launch()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                raise SetupError(f"{self.title} did not start, its log ends with:\n{last_lines(self.log)}")
            time.sleep(0.03)

    def stop(self, timeout: float = 30.0) -> None:
        """Stop in good order, and kill what is still there after `timeout` seconds."""
        self._order(b"s")
        try:
            self._reap(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL the server itself and wait until it is gone."""
        self._order(b"k")
        self._reap(None)

    def _launch(self) -> None:
        """Start the guard and read the server's process id from it, which comes when the data is prepared."""
        self.folder.mkdir(exist_ok=True)
        spec = json.dumps(self._spec())
        with self.log.open("ab") as log:
            self._guard = process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, spec],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent, which then stops the servers
                pass_fds=[self._lock],
            )
        assert process.stdout is not None
        with process.stdout as answer:
            self.pid = int(answer.readline() or 0)

    def _spec(self) -> guard.Spec:
        user = self._user()
        return {
            "commands": self._commands(),
            "environment": neutral_environment(),
            "folder": str(self.folder),
            "stop_signal": self.stop_signal,
            "user": list(user) if user else None,
            "temporary": self._temporary,
        }

    def _order(self, order: bytes) -> None:
        process = self._guard
        if process is not None and process.stdin is not None:
            with suppress(BrokenPipeError, ValueError):  # it has ended, or another thread has just seen to that
                os.write(process.stdin.fileno(), order)

    def _reap(self, timeout: float | None) -> None:
        process = self._guard
        if process is not None and process.stdin is not None:
            process.wait(timeout)
            process.stdin.close()
            self._guard = None
