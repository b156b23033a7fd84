"""Room of a disk that is kept free, so that on a full one a spool can still forget what is confirmed.

Deleting needs room too: rows that go are written to SQLite's log first, and the log starts anew only once its pages
are in the database, which grows by them. A spool that has filled its own disk could else never empty itself, and each
process would send all of it again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

from cerebros_client.spool_paths import RESERVE

#: SQLite moves the log into the database after so many pages, and cuts a log that one large report made longer
LOG_PAGES = 256
_PAGE = 4096
LOG_BYTES = LOG_PAGES * _PAGE
#: what the log may have to move, and the same once more for the pages of one transaction
_BYTES = 2 * LOG_BYTES
#: what it says of a full disk: also of one that is full for this user, or too full for its index of the log
_FULL = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN))
#: a file system that keeps no room without being written to, where the C library does not do it instead (musl)
_UNKNOWN = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))


class Reserve:
    """A file that holds nothing, beside the spool's file of the same name."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_suffix(RESERVE)
        self._held = False

    def hold(self) -> None:
        """Raises `OSError` where there is no room for it: then there is none for a report either."""
        if self._held:
            return
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            _fill(descriptor)
        except OSError:
            self.release()
            raise
        finally:
            os.close(descriptor)
        self._held = True

    def release(self) -> None:
        self._held = False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _fill(descriptor: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, _BYTES)
    except AttributeError:  # macOS
        _write(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        _write(descriptor)


def _write(descriptor: int) -> None:
    left = _BYTES
    while left:
        left -= os.write(descriptor, bytes(min(left, LOG_BYTES)))


def is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _FULL
