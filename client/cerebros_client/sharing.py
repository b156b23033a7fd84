"""Copies of one reporter in one process share a connection: pools of processes pickle it anew for each task.

Each copy with a connection of its own would mean a thread, a producer and a spool file for each task, until the
process ends.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable

from cerebros_client.clock import Clock
from cerebros_client.delivery import Delivery


class Shared:
    """What copies of the same settings have in common; it stays when the last is forgotten, for the next task's."""

    def __init__(self, delivery: Delivery, clock: Clock) -> None:
        self.delivery, self.clock = delivery, clock
        self.users: weakref.WeakSet[object] = weakref.WeakSet()


_lock = threading.RLock()
_shared: dict[Hashable, Shared] = {}


def join(settings: Hashable, user: object, opened: Callable[[], Delivery], clock: Clock) -> Shared:
    with _lock:
        if settings not in _shared:
            _shared[settings] = Shared(opened(), clock)
        _shared[settings].users.add(user)
        return _shared[settings]


def leave(settings: Hashable, user: object) -> bool:
    """Whether nobody else uses it: then it is the caller's to close, and the next copy opens another."""
    with _lock:
        if (shared := _shared.get(settings)) is None:
            return True
        shared.users.discard(user)
        if shared.users:
            return False
        del _shared[settings]
        return True


def _after_fork_in_child() -> None:
    """All of it is the parent's."""
    _shared.clear()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
