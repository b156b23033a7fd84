"""What a long-running process does before its work begins."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable

import structlog

from processor.core.errors import TransientError
from processor.core.stopping import Stop
from processor.service.health import Health

log = structlog.get_logger(__name__)

#: no poll for this long means that the process is stuck, whatever it looks like from outside
STUCK_SECONDS = 60.0
START_RETRY_SECONDS = 1.0
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


def wait_for_start(check: Callable[[], None], health: Health, stop: Stop) -> None:
    """Runs the start checks; a server that is down is waited for, anything else is said and ends the process."""
    told = ""
    while not stop.is_set():
        health.sign_of_life()
        try:
            check()
            return
        except TransientError as error:
            if str(error) != told:  # one line a cause, not one a second
                told = str(error)
                log.warning("waiting_for_servers", cause=told)
            stop.wait(START_RETRY_SECONDS)
    stop.tell()
