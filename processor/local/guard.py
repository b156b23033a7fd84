"""The process between a local server and the Python process that asked for it: when that dies, so does the server.

Run as a script, so that it starts in a moment and needs nothing but the standard library::

    python -I -S guard.py SPEC        SPEC is the JSON of a `Spec`

Standard input is a pipe held by the parent: `s` stops the server, `k` kills it, and its end means that the parent
is gone, by `kill -9` too. Standard output gets the server's process id. Standard error is the server's log.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypedDict

GRACE_SECONDS = 10.0  # an orphaned server gets this long to stop by itself
PARENT_CHECK_SECONDS = 0.5
PR_SET_PDEATHSIG = 1  # prctl(2)


class Spec(TypedDict):
    """What to run: the server is the last command, those before it prepare its data."""

    commands: list[list[str]]
    environment: dict[str, str]
    folder: str  # working directory
    stop_signal: int
    user: list[int] | None  # uid and gid to drop to
    temporary: bool  # remove the folder when the parent died


def run(spec: Spec) -> int:
    """Run the commands one after another until one fails or the parent is gone; the last one's exit code."""
    parent, wakeup = os.getppid(), _wake_on_child_exit()
    for number, command in enumerate(spec["commands"], start=1):
        child = _spawn(command, spec)
        if number == len(spec["commands"]):
            os.write(1, f"{child.pid}\n".encode())
        if _watch(child, spec["stop_signal"], parent, wakeup):
            if spec["temporary"]:
                _remove_orphaned(spec["folder"])
            return 0
        if child.returncode:
            return child.returncode
    return 0


def _watch(child: subprocess.Popen[bytes], stop_signal: int, parent: int, wakeup: int) -> bool:
    """Wait for the child's end and pass on orders; True when it ended because the parent is gone."""
    while child.poll() is None:
        ready = select.select([0, wakeup], [], [], PARENT_CHECK_SECONDS)[0]
        if wakeup in ready:
            os.read(wakeup, 512)
        order = os.read(0, 1) if 0 in ready else None
        # a forked child of the parent may hold the pipe open after the parent's death: ask the kernel too
        if order == b"" or os.getppid() != parent:
            _end(child, stop_signal)
            return True
        if order is not None:
            _signal(child, signal.SIGKILL if order == b"k" else stop_signal)
    return False


def _end(child: subprocess.Popen[bytes], stop_signal: int) -> None:
    _signal(child, stop_signal)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(child, signal.SIGKILL)
        child.wait()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """Signal the child and what it has started in its process group, as initdb does."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _spawn(command: list[str], spec: Spec) -> subprocess.Popen[bytes]:
    uid, gid = spec["user"] or (None, None)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        stderr=2,
        cwd=spec["folder"],
        env=spec["environment"],
        user=uid,
        group=gid,
        extra_groups=[] if spec["user"] else None,
        process_group=0,
        preexec_fn=_die_with_guard(),
    )


def _die_with_guard() -> Callable[[], None] | None:
    """On Linux the kernel kills the server when this guard is killed; elsewhere there is no such promise."""
    if sys.platform != "linux":
        return None
    guard, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def ask() -> None:  # runs in the child, after it has changed to its user, which would undo it
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)

    return ask


def _wake_on_child_exit() -> int:
    """A descriptor that becomes readable when a child ends, so that nothing has to be polled for.

    Signals sent to every process of a session or container are left to the parent, whose end is order enough.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the server would inherit
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def remove_tree(folder: str | os.PathLike[str]) -> None:
    """Remove a folder in which a killed server's children may write for a moment longer."""
    deadline = time.monotonic() + GRACE_SECONDS
    while os.path.exists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.02)


def _remove_orphaned(folder: str) -> None:
    """Remove the server's folder, and the stack's own when the other server's is gone already."""
    remove_tree(folder)
    stack = os.path.dirname(folder)
    with suppress(OSError):  # the other server's guard may be doing the same
        if set(os.listdir(stack)) <= {"lock"}:
            shutil.rmtree(stack)


if __name__ == "__main__":
    sys.exit(run(json.loads(sys.argv[1])))
