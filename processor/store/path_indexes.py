"""Indexes of chosen metrics and parameters, by which the dashboard orders and filters many trials.

Each costs ingest a little for every trial that has a number there, so the owner of the tables chooses. A path has two:
one of each run's trials, one of all. Their names say which path they are of, by a hash: the path itself may be of any
length and hold anything, and is read back from what the index is made of. They are built concurrently, by `steps`, and
one at a time: what another session is building is not taken for left behind. Beside them stand statistics of the
values, because Postgres plans by none that a partial index has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import asyncpg
import msgspec

from processor.core.errors import SetupError, UsageError
from processor.store.migrations import turn
from processor.store.path_numbers import number_at
from processor.store.queries import Step, load_queries
from processor.store.session import Session
from processor.store.steps import PATIENCE_SECONDS, Tell, execute, run_step

PREFIX = "cerebros_model_trials_path_"
#: paths at once: each is paid for by every trial that has it
MOST = 8
#: what stands before the number, by the ending of the name
_COLUMNS = {"of_run": "model_run_id, ", "of_all": ""}
_VALUE = re.compile(
    r"jsonb_typeof\((?P<either>COALESCE\()?\((?P<place>metrics|parameters) (?:->|#>) "
    r"(?P<escaped>E?)'(?P<literal>(?:[^']|'')*)'::text(?P<many>\[\])?\)"
)


class JsonPath(NamedTuple):
    """`place` is metrics, parameters, or either: the one where it is there, else the other."""

    place: str
    keys: tuple[str, ...]


def index_names(path: JsonPath) -> tuple[str, ...]:
    """The names of a path's indexes: of a run, of all."""
    return tuple(f"{_stem(path)}_{ending}" for ending in _COLUMNS)


def _stem(path: JsonPath) -> str:
    return PREFIX + sha256(msgspec.json.encode([path.place, *path.keys])).hexdigest()[:16]


def add_indexes(store: Session, paths: Sequence[JsonPath], tell: Tell) -> None:
    """Makes the indexes that are not there, or not whole; `tell` hears of each.

    Raises `UsageError` where there would be more than `MOST` paths, `SetupError` for a role that may not.
    """
    store.run(lambda connection: _add(connection, store.where, paths, tell), timeout_s=PATIENCE_SECONDS)


def drop_indexes(store: Session, path: JsonPath, tell: Tell) -> bool:
    """Drops a path's indexes, whole or not; false where there are none. Raises `SetupError` as `add_indexes`."""
    return store.run(lambda connection: _drop(connection, store.where, path, tell), timeout_s=PATIENCE_SECONDS)


def held_indexes(store: Session) -> list[dict[str, Any]]:
    """Of each path that has an index: path, mib, rows, state (whole, half-made, being built), used; by path."""
    return store.run(_held)


async def _add(connection: asyncpg.Connection, where: str, paths: Sequence[JsonPath], tell: Tell) -> None:
    await _check_role(connection, where)
    async with turn(connection):
        there = {row["path"] for row in await _held(connection)}
        if len(there | set(paths)) > MOST:
            raise UsageError(
                f"at most {MOST} paths can have an index, and {len(there)} have one: each makes every trial dearer to "
                "write; drop one that is used least"
            )
        for path in dict.fromkeys(paths):
            statistics, indexes = await _statements(connection, path)
            await execute(connection, statistics)
            for step in indexes:
                await run_step(connection, step, tell)
        # without it the planner knows nothing of the values before the server's own turn comes
        await execute(connection, "analyze cerebros_model_trials")


async def _statements(connection: asyncpg.Connection, path: JsonPath) -> tuple[str, list[Step]]:
    """How statistics and indexes are made; the keys are quoted by the server."""
    many = len(path.keys) > 1
    number = number_at(path.place, "%1$L::text[]" if many else "%1$L::text", many=many, table="")

    async def quoted(text: str) -> str:
        return str(await connection.fetchval(load_queries()["path_quoted"], text, list(path.keys)))

    of_trials = f"on cerebros_model_trials ({{}}{number}, id) where {number} is not null"
    return (
        await quoted(f"create statistics if not exists {_stem(path)}_values on {number} from cerebros_model_trials"),
        [
            Step("index", name, await quoted(f"create index concurrently {name} {of_trials.format(columns)}"))
            for name, columns in zip(index_names(path), _COLUMNS.values(), strict=True)
        ],
    )


async def _check_role(connection: asyncpg.Connection, where: str) -> None:
    role = await connection.fetchrow(load_queries()["trials_owner"])
    if role is None:
        raise SetupError(f"the database {where} has no cerebros_model_trials: run `processor migrate`")
    if not role["may"]:
        raise SetupError(
            f"the database {where} lets only {role['owner']}, the owner of cerebros_model_trials, make and drop its "
            f"indexes, in a schema where it may create: this is {role['me']}"
        )


async def _drop(connection: asyncpg.Connection, where: str, path: JsonPath, tell: Tell) -> bool:
    await _check_role(connection, where)
    async with turn(connection):
        there = False
        for name in index_names(path):
            if await connection.fetchrow(load_queries()["index_held"], name) is not None:
                await execute(connection, f"drop index concurrently if exists {name}")
                tell(f"index {name} is gone")
                there = True
        await execute(connection, f"drop statistics if exists {_stem(path)}_values")
        return there


async def _held(connection: asyncpg.Connection) -> list[dict[str, Any]]:
    found: dict[JsonPath, list[asyncpg.Record]] = {}
    for row in await connection.fetch(load_queries()["path_indexes"], PREFIX):
        path = await _path_of(connection, row["condition"])
        if path is not None and row["name"] in index_names(path):
            found.setdefault(path, []).append(row)
    return [_summary(path, rows) for path, rows in sorted(found.items())]


async def _path_of(connection: asyncpg.Connection, condition: str) -> JsonPath | None:
    """Of the condition that an index is made with, as the server writes it; None: it is none of ours."""
    match = _VALUE.search(condition)
    if match is None:
        return None
    text = match["literal"].replace("''", "'")
    if match["escaped"]:
        text = text.replace("\\\\", "\\")
    keys = await connection.fetchval(load_queries()["array_read"], text) if match["many"] else [text]
    return JsonPath("either" if match["either"] else match["place"], tuple(keys))


def _summary(path: JsonPath, rows: Sequence[asyncpg.Record]) -> dict[str, Any]:
    whole = len(rows) == len(_COLUMNS) and all(row["valid"] for row in rows)
    building = any(row["building"] for row in rows)
    return {
        "path": path,
        "mib": round(sum(row["bytes"] for row in rows) / 2**20, 2),
        "rows": max(row["rows"] for row in rows),
        "state": "whole" if whole else "being built" if building else "half-made",
        "used": sum(row["used"] for row in rows),
    }
