"""Named points of the durable path, where the fault tests stop a real process and kill it.

In production `reach` costs one comparison. With ``PROCESSOR_TEST_HALT_AT=name[#n]`` the process announces on stdout
that it got there (for the n-th time) and waits to be killed, or for SIGUSR1: no test has to sleep and hope.
"""

from __future__ import annotations

import signal
import sys
import time

from processor.core.errors import UsageError

POINTS = (
    "ingest.after_poll",
    "ingest.before_write",
    "ingest.after_write",
    "ingest.after_commit",
    "relay.after_former",
    "relay.after_identity",
    "relay.after_restore",
    "relay.after_claim",
    "relay.after_produce",
    "relay.after_kafka_commit",
    "relay.after_mark",
    "mlflow.before_create",
    "mlflow.after_create",
    "mlflow.after_link",
    "mlflow.between_batches",
    "mlflow.before_commit",
)

_target: str | None = None
_remaining = 1
_resumed = False
LOOK_SECONDS = 0.02


def arm(spec: str | None) -> None:
    """Makes this process halt at ``name`` or ``name#n``; raises `UsageError` for a name that is no point."""
    global _target, _remaining
    if spec is None:
        return
    name, _, nth = spec.partition("#")
    if name not in POINTS or not (nth or "1").isdigit():
        raise UsageError(f"PROCESSOR_TEST_HALT_AT={spec}: want name or name#n of {', '.join(POINTS)}")
    _target, _remaining = name, int(nth or 1)
    signal.signal(signal.SIGUSR1, _resume)


def _resume(*_: object) -> None:
    """A plain value: the lock of an Event may be held by the very thread that this handler interrupts."""
    global _resumed
    _resumed = True


def reach(name: str) -> None:
    global _remaining, _resumed
    if name != _target:
        return
    _remaining -= 1
    if _remaining == 0:
        _resumed = False
        sys.stdout.write(f"HALTED {name}\n")
        sys.stdout.flush()
        while not _resumed:
            time.sleep(LOOK_SECONDS)
