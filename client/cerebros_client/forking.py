"""What a fork may catch in the middle: a name that a thread of the parent's connection is resolving.

glibc's getaddrinfo asks the kernel for the machine's addresses while it holds a lock of its own (`__check_pf`), and
fork does not wait for that lock. A child made at that moment keeps it taken: whatever resolves a name there, even
127.0.0.1, waits for ever and says nothing. So a fork waits a moment for a connection that is just being made, and a
child looks whether it was hit before it relies on names.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from typing import Protocol

from cerebros_client.transport import Report, Settled, Trouble

#: a broker that answers has confirmed something within that; one that does not is waited for once
_SETTLE_S = 2.0
#: what takes microseconds where no other thread can hold the lock
_PROBE_S = 3.0
REASON = (
    "this process was forked while its parent was resolving a name, and can resolve none: "
    "fork again, start processes by spawn, or report after the parent's first confirmation"
)


class Connecting(Protocol):
    """A connection that has threads of its own."""

    def settle(self, timeout_s: float) -> None:
        """Returns once it is made, or after the time."""
        ...


#: those that are not known to be connected, nor waited for already
_connecting: weakref.WeakSet[Connecting] = weakref.WeakSet()
_probed_in: int | None = None
_is_child = _stuck = False


def is_connecting(connection: Connecting) -> None:
    """A fork waits for it, once."""
    _connecting.add(connection)


def is_connected(connection: Connecting) -> None:
    """A fork need not wait for it."""
    _connecting.discard(connection)


def is_stuck() -> bool:
    """Whether this process is a child that can resolve nothing; found out once."""
    global _probed_in, _stuck
    if _is_child and _probed_in != os.getpid():
        _probed_in = os.getpid()
        probe = threading.Thread(target=_resolve, name="cerebros-probe", daemon=True)
        probe.start()
        probe.join(_PROBE_S)
        _stuck = probe.is_alive()
    return _stuck


def _resolve() -> None:
    """As librdkafka does it: no name server is asked, only the lock is taken."""
    socket.getaddrinfo("127.0.0.1", 1, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Unconnected:
    """The transport of a child that can resolve nothing: each report is told so at once, and a spool keeps it."""

    said = REASON

    def offer(self, report: Report, settled: Settled) -> bool:
        settled(Trouble(REASON, False))
        return True

    def serve(self, timeout_s: float) -> None:
        time.sleep(timeout_s)

    def close(self) -> None: ...

    def abandon(self) -> None: ...


def _before_fork() -> None:
    deadline = time.monotonic() + _SETTLE_S
    for connection in list(_connecting):
        connection.settle(max(0.0, deadline - time.monotonic()))
        _connecting.discard(connection)


def _after_fork_in_child() -> None:
    global _is_child
    _is_child = True
    _connecting.clear()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
