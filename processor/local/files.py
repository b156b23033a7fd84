"""Folders, locks, ports and installed packages that the local servers are made from."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processor.core.errors import SetupError

# Below the ports that Linux (32768+) and macOS (49152+) give to outgoing connections: a client that keeps
# reconnecting to a stopped server would sooner or later be given that very port and answer itself.
PORTS = range(20_000, 32_000)
JAVA_VARIABLES = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JDK_AOT_VM_OPTIONS", "_JAVA_OPTIONS"}


def cache_folder() -> Path:
    """The folder, made if absent, that keeps what was downloaded; `XDG_CACHE_HOME` moves it."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cerebros-processor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"cannot make the folder {folder} ({error.strerror}): set XDG_CACHE_HOME") from error
    return folder


def package_folder(name: str) -> Path:
    """Where the installed package `name` is, without importing it; SetupError when it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SetupError(f"the local stack needs {name}: pip install 'cerebros-processor[local]'")
    return Path(spec.origin).parent


def neutral_environment() -> dict[str, str]:
    """This process's environment without the variables that change what a JVM or PostgreSQL does."""
    return {k: v for k, v in os.environ.items() if k not in JAVA_VARIABLES and not k.startswith("PG")}


@contextmanager
def locked(path: Path, wait: float, busy: str) -> Iterator[int]:
    """Hold an exclusive lock on the file `path` and yield its descriptor; SetupError(`busy`) after `wait` seconds.

    The lock lasts until the last process that was given the descriptor has closed it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}") from error
    try:
        deadline = time.monotonic() + wait
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise SetupError(busy)
            time.sleep(0.1)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nothing listens on."""
    found: list[int] = []
    for port in random.sample(PORTS, 500):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise SetupError(f"no free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log file without Java's stack frames, for the text of an error."""
    if not log.exists():
        return "(no log)"
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if not line.startswith("\tat ")][-count:])
