"""The tables of a spool's file, and what SQLite is told of it."""

from __future__ import annotations

import sqlite3

from cerebros_client.spool_room import LOG_BYTES, LOG_PAGES

TABLES = frozenset(("target", "reports"))
_SET_UP = f"""
pragma journal_mode = wal;
pragma busy_timeout = 5000;
pragma temp_store = memory;
pragma secure_delete = off;
pragma wal_autocheckpoint = {LOG_PAGES};
pragma journal_size_limit = {LOG_BYTES};
create table if not exists target (name text not null);
create table if not exists reports (
    seq integer primary key autoincrement, run_id text not null, trial_id text not null, timestamp_ms integer not null,
    single integer not null, value blob not null, refused text
);
"""
_OF_A_REPORT = frozenset(("seq", "run_id", "trial_id", "timestamp_ms", "single", "value"))
_PAGE = 4096


class SchemaError(sqlite3.DatabaseError):
    """A file of the name and with the tables of a spool that lacks what a report consists of."""


def set_up(database: sqlite3.Connection, target: str, max_bytes: int) -> str:
    """The target of the file; that one, where it has none yet. Raises `SchemaError`."""
    database.executescript(_SET_UP)
    database.execute(f"pragma max_page_count = {max(64, max_bytes // _PAGE)}")
    columns = {row[1] for row in database.execute("pragma table_info(reports)")}
    if missing := _OF_A_REPORT - columns:
        raise SchemaError(f"its table has no {', '.join(sorted(missing))}")
    if "refused" not in columns:
        database.execute("alter table reports add column refused text")
    row = database.execute("select name from target").fetchone()
    if row is None:
        database.execute("insert into target values (?)", (target,))
    return str(row[0]) if row else target
