"""The processor's own commands, run as a person would run them: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from processor.core.errors import FatalError

STOP_SECONDS = 20.0  # the processor's own limit for draining is 10 s
COMMAND_SECONDS = 60.0
_LINES = 15  # of a log, when its process failed


class DemoError(FatalError):
    """A part of the demo broke; the text says which, with the last lines it wrote."""


class Worker:
    """`processor COMMAND` in the background, from entering `with` until it is left; its output goes to `log`."""

    def __init__(self, command: str, environment: Mapping[str, str], folder: Path) -> None:
        self.command, self.log = command, folder / f"{command}.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                _command(self.command, "--stop-with-stdin"),  # however the demo dies, its worker stops
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its workers in order
            )

    def check(self) -> None:
        """Raises `DemoError` when the process has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise DemoError(f"processor {self.command} ended with exit code {code}; its last lines:\n{self._tail()}")

    def stop(self) -> None:
        """SIGTERM; raises `DemoError` unless the process then ends with exit code 0."""
        self.check()
        code = self._terminate()
        if code != 0:
            raise DemoError(
                f"processor {self.command} ended with exit code {code} on SIGTERM; its last lines:\n{self._tail()}"
            )

    def _terminate(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _tail(self) -> str:
        return last_lines(self.log.read_text(errors="replace"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._terminate()


def run(environment: Mapping[str, str], *arguments: str, may_fail: bool = False) -> str:
    """Runs `processor ARGUMENTS` to its end and returns what it printed; raises `DemoError` unless it exits 0.

    `may_fail`: also where it exits 1 and printed what it found.
    """
    done = subprocess.run(
        _command(*arguments),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0 and not (may_fail and done.returncode == 1 and done.stdout):
        raise DemoError(
            f"processor {' '.join(arguments)} ended with exit code {done.returncode}; its last lines:\n"
            + last_lines(done.stdout + done.stderr)
        )
    return done.stdout


def last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-_LINES:])


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "processor", *arguments]
