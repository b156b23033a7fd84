"""What the tables hold of runs' life and of progress, for who compares; every query in a read-only transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg

from processor.core.life import Life
from processor.store.progress import Key, Last, metric_content, start_content
from processor.store.queries import load_queries
from processor.store.run_rows import life_of, order_of
from processor.store.session import Session

T = TypeVar("T")


class LifeTables:
    """Reads and can't write. A key begins with the id of the run that Cerebros sent. Raises what `Session` raises."""

    def __init__(self, store: Session) -> None:
        self._store = store

    def runs(self, run_ids: Sequence[str]) -> dict[str, Life]:
        """What is held of those of the runs that there are."""
        rows = self._fetch("runs_by_id", list(run_ids))
        held: dict[str, dict[str, Any]] = {}
        for one in self._fetch("look_at_run_reports", [row["id"] for row in rows]):
            held.setdefault(one["id"], {})[one["kind"]] = one
        return {row["run_id"]: life_of(held.get(row["id"], {})) for row in rows}

    def starts(self, keys: Sequence[Key]) -> dict[Key, Last]:
        """Of trials (run, trial)."""
        return self._look("look_at_starts", keys, lambda row: Last(order_of(row), start_content(row)))

    def metrics(self, keys: Sequence[Key]) -> dict[Key, Last]:
        """Of metrics at steps (run, trial, metric, step)."""
        return self._look("look_at_metrics", keys, lambda row: Last(order_of(row), metric_content(row)))

    def seen(self, keys: Sequence[Key]) -> dict[Key, int]:
        """When trials (run, trial) were last heard of, in milliseconds."""
        return self._look("look_at_seen", keys, lambda row: int(row["timestamp_ms"]))

    def _look(self, name: str, keys: Sequence[Key], made: Callable[[Mapping[str, Any]], T]) -> dict[Key, T]:
        if not keys:
            return {}
        ids = {row["run_id"]: row["id"] for row in self._fetch("runs_by_id", list({key[0] for key in keys}))}
        there = [key for key in keys if key[0] in ids]
        if not there:
            return {}
        rows = self._fetch(name, *zip(*((ids[key[0]], *key[1:]) for key in there), strict=True))
        return {there[row["place"]]: made(row) for row in rows}

    def _fetch(self, name: str, *args: Any) -> list[Any]:
        async def work(connection: asyncpg.Connection) -> list[Any]:
            async with connection.transaction(readonly=True):
                return list(await connection.fetch(load_queries()[name], *args))

        return self._store.run(work)
