"""A reporter that nobody closed: what it still holds is sent when the process ends, and what can't be is told."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from typing import Protocol

from cerebros_client.errors import UndeliveredError

log = logging.getLogger("cerebros_client")


class Closable(Protocol):
    def close(self) -> None: ...


_open: weakref.WeakSet[Closable] = weakref.WeakSet()
_registered_in = 0


def close_at_exit(reporter: Closable) -> None:
    """Also in processes of `multiprocessing`, which end without `atexit`."""
    global _registered_in
    _open.add(reporter)
    if _registered_in == os.getpid():
        return
    _registered_in = os.getpid()
    atexit.register(_close_all)
    processes, utilities = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if processes and utilities and processes.parent_process() is not None:
        utilities.Finalize(None, _close_all, exitpriority=10)


def _close_all() -> None:
    for reporter in list(_open):
        try:
            reporter.close()
        except UndeliveredError as error:
            log.error("at exit: %s", error)
