"""The folder of a spool: what is in it, and what of it nobody looks after any more."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cerebros_client.spool_file import Counts, SpoolFile
from cerebros_client.spool_log import unread_bytes
from cerebros_client.spool_paths import DAMAGED, SUFFIX, copy_aside, put_aside, take_lock
from cerebros_client.spool_room import Reserve, is_full
from cerebros_client.spool_schema import TABLES, SchemaError

log = logging.getLogger("cerebros_client")

#: SQLite's codes for a file that is none of its own, or no longer
_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
#: as `new_file` names them: a folder may hold other people's databases too
_NAME = re.compile(r"[0-9]{13,}-[0-9]+-[0-9a-f]{8}")
#: of one process: an outage of days at a report a second
MAX_MIB = 1024


class Listed(NamedTuple):
    """A file of a spool: `counts` is None where it can't be read; `live`: a process looks after it."""

    path: Path
    live: bool
    target: str
    counts: Counts | None


def new_file(folder: Path, target: str, max_mib: int) -> SpoolFile:
    """Named so that the files sort by age. Raises `OSError` or `sqlite3.Error`."""
    name = f"{time.time_ns() // 1_000_000:013}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    return SpoolFile.create(folder / name, target, max_mib * 1024 * 1024)


def orphans(
    folder: Path,
    target: str | None,
    max_mib: int = MAX_MIB,
    *,
    refused: bool = False,
    in_part: Callable[[Path], None] = lambda _: None,
) -> Iterator[SpoolFile]:
    """The files that dead processes left with something to send, oldest first, each locked by this process.

    `target`: only those for it; None: all. `refused`: also those that hold nothing but refused reports.
    One that is damaged is told and set aside. `in_part` gets those that can't be read, now or as a whole.
    """
    for path in _named(folder, SUFFIX):
        try:
            if (found := _taken(path, max_mib, in_part)) is None:
                continue
            waiting = found.counts().waiting or (refused and found.counts().refused)
            if waiting and (target is None or found.target == target):
                yield found
                continue
            _tell_other_target(found)
        except (sqlite3.Error, OSError) as error:
            in_part(path)
            if not is_damage(error):
                log.warning("spool: %s can't be taken over now: %s", path, error)
            continue
        found.close()


_told: set[Path] = set()


def _named(folder: Path, suffix: str) -> list[Path]:
    """The files that have a spool's name; nothing else of the folder is looked into, locked, renamed or removed."""
    return sorted(path for path in folder.glob(f"*{suffix}") if _NAME.fullmatch(path.stem) and path.is_file())


def _is_foreign(path: Path) -> bool:
    """A database with tables of somebody else's. One without any is a spool's whose process died at its beginning."""
    try:
        tables = _tables(path)
    except sqlite3.Error as error:
        if not is_full(error):
            raise
        Reserve(path).release()  # SQLite writes an index of the log even to read
        tables = _tables(path)
    return bool(tables - TABLES - {"sqlite_sequence"})


def _tables(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return {name for [name] in database.execute("select name from sqlite_master where type = 'table'")}


def _tell_other_target(file: SpoolFile) -> None:
    if (waiting := file.counts().waiting) and file.path not in _told:
        _told.add(file.path)
        log.warning(
            "spool: %d reports in %s are for %s: to send them here, cerebros-client spool send --all",
            waiting,
            file.path,
            file.target,
        )


def _taken(path: Path, max_mib: int, in_part: Callable[[Path], None]) -> SpoolFile | None:
    """The file, unless a process has it."""
    lock = take_lock(path)
    if lock is None:
        return None
    if not path.exists():  # removed between the look at the folder and the lock
        path.with_suffix(".lock").unlink(missing_ok=True)
        os.close(lock)
        return None
    try:
        if _is_foreign(path):
            os.close(lock)
            return None
        if is_cut := _is_cut(path):
            in_part(path)
        found = SpoolFile(path, lock, "", max_mib * 1024 * 1024)
        if is_cut:
            found.checkpoint()  # what nobody reads is gone then, and not found again
        found.counts()
    except (sqlite3.Error, OSError) as error:
        if is_damage(error):
            said = "spool: %s is damaged (%s): set aside as %s, nothing of it is sent"
            log.error(said, path, error, put_aside(path))
        os.close(lock)
        raise
    return found


def _is_cut(path: Path) -> bool:
    """Whether SQLite will leave out reports without a word. Told, and the whole of it is kept under another name."""
    if not (unread := unread_bytes(path.with_suffix(f"{SUFFIX}-wal"))):
        return False
    if not path.with_suffix(DAMAGED).exists():  # else it was found before, by a process that was killed since
        said = "spool: %d bytes of the log of %s are damaged, reports may be in them that are not sent: a copy is %s"
        log.error(said, unread, path, copy_aside(path))
    return True


def is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, SchemaError) or (isinstance(error, sqlite3.Error) and code in _DAMAGE)


def listing(folder: Path) -> Iterator[Listed]:
    """Every file of the folder, those of live processes and damaged ones included; nothing is changed."""
    for path in sorted([*_named(folder, SUFFIX), *_named(folder, DAMAGED)]):
        if path.suffix == DAMAGED:
            yield Listed(path, False, "", None)
            continue
        live = _is_live(path)
        try:
            with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
                [target] = database.execute("select name from target").fetchone()
                [every, refused] = database.execute("select count(*), count(refused) from reports").fetchone()
        except (sqlite3.Error, TypeError):
            yield Listed(path, live, "", None)
        else:
            yield Listed(path, live, target, Counts(every - refused, refused))


def _is_live(path: Path) -> bool:
    lock = take_lock(path) if path.with_suffix(".lock").exists() else -1
    if lock is None:
        return True
    if lock >= 0:
        os.close(lock)
    return False
