"""Servers that tests stop, kill and freeze: one small protocol for local processes and for containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import psutil

from processor.local.server import Server
from tests.support.processes import wait_until

STOP_SECONDS = 30  # until what does not stop in good order is killed
ANSWER_SECONDS = 90.0  # a start includes the recovery after a kill


class Stoppable(Protocol):
    """A server; after `stop`, `kill` or `freeze` it comes back with its port and its data."""

    def start(self) -> None:
        """Have it run and answer, whatever was done to it before."""

    def stop(self) -> None:
        """Stop it in good order."""

    def kill(self) -> None:
        """SIGKILL."""

    def freeze(self) -> None:
        """Let it hang: connections stay open, and nothing answers."""

    def thaw(self) -> None:
        """End a `freeze`, and wait until it answers."""


class LocalServer:
    """A server of the local stack."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def start(self) -> None:
        if self._server.running:
            self.thaw()
        else:
            self._server.start()

    def stop(self) -> None:
        self._server.stop(STOP_SECONDS)

    def kill(self) -> None:
        self._server.kill()

    def freeze(self) -> None:
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        for process in self._processes():
            process.resume()
        wait_until(self._server._answers, f"{self._server.title} answers", ANSWER_SECONDS)

    def _processes(self) -> list[psutil.Process]:
        """Its own and those that it started: each of PostgreSQL's connections has one."""
        own = psutil.Process(self._server.pid)
        return [own, *own.children(recursive=True)]


class ContainerServer:
    """A server in a container, which is never removed in between: its files and its bound port stay.

    `container` is Docker's, as its Python client has it; `answers` asks the server itself a real request.
    """

    def __init__(self, container: Any, answers: Callable[[], bool], what: str) -> None:
        self._container, self._answers, self._what = container, answers, what

    def start(self) -> None:
        if self._status() == "paused":
            self._container.unpause()
        else:
            self._container.start()  # does nothing where it runs
        self._wait()

    def stop(self) -> None:
        self._container.stop(timeout=STOP_SECONDS)

    def kill(self) -> None:
        if self._status() in ("running", "paused"):  # Docker refuses to kill what has ended
            self._container.kill()
            self._container.wait()

    def freeze(self) -> None:
        self._container.pause()

    def thaw(self) -> None:
        if self._status() == "paused":
            self._container.unpause()
        self._wait()

    def _status(self) -> str:
        self._container.reload()
        return str(self._container.status)

    def _wait(self) -> None:
        try:
            wait_until(self._answers, f"{self._what} answers", ANSWER_SECONDS)
        except AssertionError as error:
            error.add_note(self._container.logs(tail=20).decode(errors="replace"))
            raise
