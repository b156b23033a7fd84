"""How a process is told to stop.

A handler of Python's runs in the main thread between two instructions of whatever that does just then. If it holds the
lock of a log, of an Event or of a buffered file, a handler that wants the same lock waits for ever, and while the main
thread is in a library's call no handler runs at all. So our handlers do nothing: the interpreter's own, in C, writes
the signal's number into a pipe (`signal.set_wakeup_fd`), and a thread that does nothing else reads it there. That may
take locks, and the second signal ends the process whatever the main thread does. The main thread says `stopping`
when it sees that it shall stop: the reading thread must never wait for a log that nobody reads.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STDIN = 0


class Stop:
    """Whether to stop, and why; any thread may set it and wait for it."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """The first reason stays."""
        self.reason = self.reason or reason
        self._asked.set()

    def is_set(self) -> bool:
        return self._asked.is_set()

    def wait(self, timeout_s: float) -> bool:
        """True as soon as it is set, False after `timeout_s`."""
        return self._asked.wait(timeout_s)

    def tell(self) -> None:
        """The log line, where it is set."""
        if self.is_set():
            log.info("stopping", cause=self.reason)


def _nothing(*_: object) -> None:
    """There must be a handler in Python for the one in C to be installed."""


@contextmanager
def stop_on_signals(
    at_once: Callable[[], None] = lambda: None,
    *,
    handler: Callable[..., None] = _nothing,
    with_stdin: bool = False,
) -> Iterator[Stop]:
    """The first SIGTERM or SIGINT sets what this yields, a second one (after `at_once`) ends the process at once.

    `with_stdin`: so does the end of standard input, a pipe that our parent holds open and never writes to: however it
    died. `handler` runs in the main thread at each signal. To be called in the main thread; what was before is
    restored.
    """
    stop = Stop()
    read, write = os.pipe()
    os.set_blocking(write, False)
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    before = {one: signal.signal(one, handler) for one in SIGNALS}
    watched = [read, STDIN] if with_stdin else [read]
    threading.Thread(target=_watch, args=(watched, stop, at_once), name="signals", daemon=True).start()
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        signal.set_wakeup_fd(wakeup)
        os.close(write)  # the thread's last order


def _watch(watched: list[int], stop: Stop, at_once: Callable[[], None]) -> None:
    orders, signals = watched[0], 0
    while True:
        ready = select.select(watched, [], [])[0]
        if STDIN in ready and not os.read(STDIN, 512):
            watched.remove(STDIN)
            stop.set("the parent process is gone")
        if orders not in ready:
            continue
        numbers = os.read(orders, 512)
        if not numbers:
            return os.close(orders)
        for number in numbers:
            if number not in SIGNALS:  # any other signal that has a handler
                continue
            signals += 1
            if signals > 1:
                at_once()
                os._exit(1)
            stop.set(signal.Signals(number).name)
