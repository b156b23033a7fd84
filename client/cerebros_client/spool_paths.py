"""The files of a spool's file: the database, its log and index, the reserve, and the lock, which is the system's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

SUFFIX, DAMAGED, RESERVE = ".db", ".damaged", ".reserve"


def remove(path: Path) -> None:
    for end in (RESERVE, f"{SUFFIX}-wal", f"{SUFFIX}-shm", SUFFIX, ".lock"):
        path.with_suffix(end).unlink(missing_ok=True)


def put_aside(path: Path) -> Path:
    """Under its new name, its log beside it as SQLite looks for it; where a copy has that name, it holds all of it."""
    aside = path.with_suffix(DAMAGED)
    if aside.exists():
        remove(path)
        return aside
    for old, new in ((f"{SUFFIX}-wal", f"{DAMAGED}-wal"), (SUFFIX, DAMAGED)):
        with contextlib.suppress(OSError):
            path.with_suffix(old).rename(path.with_suffix(new))
    with contextlib.suppress(OSError):
        path.with_suffix(RESERVE).unlink()
    return aside


def copy_aside(path: Path) -> Path:
    """A copy of file and log; it has its name once it is whole. Raises `OSError`."""
    aside, parts = path.with_suffix(DAMAGED), path.with_suffix(f"{DAMAGED}-part")
    for old, new in ((f"{SUFFIX}-wal", f"{DAMAGED}-wal"), (SUFFIX, DAMAGED)):
        try:
            shutil.copy(path.with_suffix(old), parts)
            parts.rename(path.with_suffix(new))
        except OSError:
            parts.unlink(missing_ok=True)
            raise
    return aside


def take_lock(path: Path) -> int | None:
    """The descriptor that holds the file's lock; None where another process has it, or has just removed the file."""
    place = path.with_suffix(".lock")
    lock = os.open(place, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if place.exists() and os.fstat(lock).st_ino == os.stat(place).st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


def sync_folder(folder: Path) -> None:
    """Its new name is on disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
