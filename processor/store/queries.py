"""Named queries from the .sql files: SQL stays SQL, and each query has a name and a purpose."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_HEAD = re.compile(r"^-- name: (\w+)\n((?:--.*\n)*)", re.MULTILINE)


@cache
def load_queries() -> dict[str, str]:
    """All queries of processor/sql/*.sql by name; raises `ValueError` where a name is there twice."""
    queries: dict[str, str] = {}
    for file in sorted(resources.files("processor.sql").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        parts = _HEAD.split(file.read_text(encoding="utf-8"))[1:]
        for name, purpose, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if name in queries or not purpose:
                raise ValueError(f"{file.name}: query {name} is there twice, or has no purpose line")
            queries[name] = text.strip()
    return queries


def migrations() -> list[tuple[str, str]]:
    """(name, SQL) of every migration, oldest first."""
    folder = resources.files("processor.sql") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")) for file in files]
