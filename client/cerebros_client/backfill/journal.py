"""What earlier imports have sent and had confirmed: the next one goes on from there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from cerebros_client.backfill.items import SourceError

_SCHEMA = "create table if not exists sent (digest blob primary key) without rowid"


def default_path() -> Path:
    """Where programs keep what they may lose without harm (XDG base directories)."""
    folder = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(folder) / "cerebros-client" / "imports.db"


class Journal:
    """Digests of confirmed items, 16 bytes each, on disk: memory does not grow with the import.

    Losing the file costs a second sending, which changes nothing.
    """

    def __init__(self, path: Path) -> None:
        """Raises `SourceError` where the file can't be made or is none."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30)
            with self._connection:
                self._connection.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise SourceError(f"{path} can't keep what was sent: {error}; name another file with --state") from None
        self._path = path

    def has(self, digest: bytes) -> bool:
        return self._connection.execute("select 1 from sent where digest = ?", (digest,)).fetchone() is not None

    def add(self, digests: Iterable[bytes]) -> None:
        """Raises `SourceError` where the disk is full."""
        try:
            with self._connection:
                self._connection.executemany("insert or ignore into sent values (?)", [(one,) for one in digests])
        except sqlite3.Error as error:
            raise SourceError(f"{self._path} can't keep what was sent: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
