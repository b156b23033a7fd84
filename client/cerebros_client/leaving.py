"""What is still open when a process ends or forks: it is sent at the end, and left alone in a child.

A delivery is held here until it is closed, so that a reporter that nobody keeps loses nothing either.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys

from cerebros_client.delivery import Delivery
from cerebros_client.errors import UndeliveredError

log = logging.getLogger("cerebros_client")

#: with the seconds that closing may take
_open: dict[Delivery, float] = {}
_registered_in = 0


def close_at_exit(delivery: Delivery, timeout_s: float) -> None:
    """Also in processes of `multiprocessing`, which end without `atexit`."""
    global _registered_in
    _open[delivery] = timeout_s
    if _registered_in == os.getpid():
        return
    _registered_in = os.getpid()
    atexit.register(_close_all)
    processes, utilities = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if processes and utilities and processes.parent_process() is not None:
        utilities.Finalize(None, _close_all, exitpriority=10)


def is_closing(delivery: Delivery) -> None:
    """Somebody closes it now."""
    _open.pop(delivery, None)


def _close_all() -> None:
    while _open:
        delivery, timeout_s = _open.popitem()
        try:
            delivery.close(timeout_s)
        except UndeliveredError as error:
            log.error("at exit: %s", error)
        except Exception:  # somebody has closed its files: the others are closed all the same
            log.exception("at exit: a reporter could not be closed")


def _after_fork_in_child() -> None:
    for delivery in _open:
        delivery.abandon()
    _open.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
