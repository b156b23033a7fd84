"""Kafka calls that may hang for ever, in threads that are given up then, and counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from processor.core.errors import FatalError, TransientError

T = TypeVar("T")

#: a whole transaction; librdkafka 2.16 ignores the timeout of send_offsets_to_transaction and may wait for ever when
#: the coordinator goes away at that moment (confluentinc/librdkafka issues 5456 and 5511)
HANG_SECONDS = 20.0
#: each holds a thread, a producer with its own threads, and a batch: a new process costs less than a sixth one
MAX_HANGING = 5

_lock = threading.Lock()
_hanging: set[int] = set()


def run_bounded(work: Callable[[], T], let_go: Callable[[], None], where: str) -> T:
    """What `work` returns or raises, run in a thread of its own.

    Raises `TransientError` where it hangs; that thread calls `let_go` when, later, the call returns: what was in use
    must not be freed before, nor by anybody else, who would wait for the call. `FatalError` where too many hang.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            errors.append(error)
        with _lock:
            given_up = id(results) in _hanging
            _hanging.discard(id(results))
        if given_up:
            errors.clear()  # its traceback holds what is to be freed
            let_go()

    thread = threading.Thread(target=run, name="outlet", daemon=True)
    thread.start()
    thread.join(HANG_SECONDS)
    with _lock:
        hangs = not results and not errors
        if hangs:
            _hanging.add(id(results))
        number = len(_hanging)
    if hangs and number > MAX_HANGING:
        raise FatalError(f"Kafka at {where}: {number} transactions hang and do not end, only a new process helps")
    if hangs:
        raise TransientError(f"Kafka at {where}: a transaction hangs for {HANG_SECONDS:.0f} s")
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
