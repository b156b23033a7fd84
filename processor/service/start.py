"""What a long-running process does before its work begins."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
from collections.abc import Callable

import structlog

from processor.core import metrics
from processor.core.errors import ProcessorError, TransientError
from processor.core.stopping import Stop
from processor.service.health import Health

log = structlog.get_logger(__name__)

#: no poll for this long means that the process is stuck, whatever it looks like from outside
STUCK_SECONDS = 60.0
START_RETRY_SECONDS = 1.0
#: between two looks whether the process is to stop, while a check goes on
LOOK_SECONDS = 0.1
#: mallopt(3): M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, with as many bytes as may stay with the process
KEPT_MEMORY = {-1: 32 * 1024 * 1024, -3: 16 * 1024 * 1024}


def keep_freed_memory() -> None:
    """Memory of one batch stays for the next: glibc gave it back each time, and a tenth of the CPU went into that.

    Elsewhere (musl, macOS) there is no such setting, and nothing is done.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        for option, size in KEPT_MEMORY.items():
            libc.mallopt(option, size)


def spare_collections() -> None:
    """What a process has once it has started stays for good: each full collection looked at it all, for 50 ms."""
    gc.collect()
    gc.freeze()


def wait_for_start(check: Callable[[], None], health: Health, stop: Stop) -> None:
    """Runs the start checks; a server that is down is waited for, anything else is said and ends the process.

    That it is waited for is an outage as any other: nothing is read or published meanwhile. `check` runs in a thread of
    its own, and is left there where the process is to stop: what it opens must be its own.
    """
    told = ""
    while not stop.is_set():
        health.sign_of_life()
        try:
            if _run_beside(check, stop):
                metrics.OUTAGE.labels("start").set(0)
                return
        except TransientError as error:
            _note_waiting(str(error), told)
            told = str(error)
            stop.wait(START_RETRY_SECONDS)
    stop.tell()


def _run_beside(check: Callable[[], None], stop: Stop) -> bool:
    """False where the process is to stop: a server that takes a connection and never answers does not hold it up."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            check()
        except BaseException as error:  # noqa: BLE001 - raised again, by who waits
            errors.append(error)

    thread = threading.Thread(target=work, name="start-check", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.is_set():
        thread.join(LOOK_SECONDS)
    if errors:
        raise errors[0]
    return not thread.is_alive()


def _note_waiting(cause: str, told: str) -> None:
    metrics.LAST_ERROR.set_to_current_time()
    metrics.OUTAGE.labels("start").set(1)
    if not told:
        metrics.OUTAGES.labels("start").inc()
    if cause != told:  # one line a cause, not one a second
        log.warning("waiting_for_servers", cause=cause)


class StartWatch:
    """Runs the start checks in a thread of its own, while requests are answered already.

    `found` once they have passed; where they can't, `failure` says why, and the process is stopped.
    """

    def __init__(self, name: str, check: Callable[[], None], health: Health, stop: Stop) -> None:
        self._name, self._check, self._health, self._stop = name, check, health, stop
        self.found = False
        self.failure: ProcessorError | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        try:
            wait_for_start(self._check, self._health, self._stop)
        except ProcessorError as error:
            self.failure = error
            self._stop.set("it can't be started")
            return
        self.found = not self._stop.is_set()
