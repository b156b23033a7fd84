"""Named queries from the .sql files: SQL stays SQL, and each query has a name and a purpose.

What would be written again in query after query is written once: `{fields: TEMPLATE}` repeats the template for each
field of `core.fields` (`%name` and `%type` stand for the column's), `{moment: MS}` is the time that milliseconds since
the epoch stand for, `{milliseconds: TIME}` the reverse, and `{NAME}` is the fragment of that name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

from processor.core.fields import FIELDS

_HEAD = re.compile(r"^-- (name|fragment): (\w+)\n((?:--.*\n)*)", re.MULTILINE)
_STEP = re.compile(r"^-- (step|index|key): (.+)\n", re.MULTILINE)
_FIELDS = re.compile(r"\{fields: ([^{}]*)\}")
_MOMENT = re.compile(r"\{moment: ([^{}]*)\}")
_MILLISECONDS = re.compile(r"\{milliseconds: ([^{}]*)\}")
_FRAGMENT = re.compile(r"\{([a-z_]+)\}")

#: exact for every time that Postgres' and Python's dates reach: an interval is multiplied as a double, and so many
#: microseconds fit into one only while they are whole seconds (15625 s * 64); `to_timestamp` is a double too
_MOMENT_SQL = r"(timestamptz 'epoch' + (\1 / 1000) * interval '1 second' + (\1 % 1000) * interval '1 millisecond')"
#: `extract` is numeric from Postgres 14 on
_MILLISECONDS_SQL = r"(extract(epoch from \1) * 1000)::bigint"


@cache
def load_queries() -> Mapping[str, str]:
    """The store's own queries (store/sql) by name."""
    return read_queries(resources.files("processor.store") / "sql")


def read_queries(folder: Traversable) -> dict[str, str]:
    """All queries of a folder's .sql files by name, their fragments filled in.

    Raises `ValueError` where a name is there twice or has no purpose, and `KeyError` for a fragment that is missing.
    """
    found: dict[str, dict[str, str]] = {"name": {}, "fragment": {}}
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        parts = _HEAD.split(file.read_text(encoding="utf-8"))[1:]
        for kind, name, purpose, text in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True):
            if name in found[kind] or not purpose:
                raise ValueError(f"{file.name}: {kind} {name} is there twice, or has no purpose line")
            found[kind][name] = _MILLISECONDS.sub(_MILLISECONDS_SQL, _FIELDS.sub(_each_field, text.strip()))
    return {name: _fill(text, found["fragment"]) for name, text in found["name"].items()}


def _each_field(match: re.Match[str]) -> str:
    return ", ".join(match[1].replace("%name", field.name).replace("%type", field.type) for field in FIELDS)


def _fill(text: str, fragments: Mapping[str, str]) -> str:
    while _FRAGMENT.search(text):
        text = _FRAGMENT.sub(lambda match: fragments[match[1]], text)
    return _MOMENT.sub(_MOMENT_SQL, text)


class Step(NamedTuple):
    """A part of a migration that stands by itself.

    `kind` is step (one transaction of short statements), index or key (built concurrently, so outside of one; `words`
    is its name, for a key with table and columns).
    """

    kind: str
    words: str
    sql: str


def migrations() -> list[tuple[str, list[Step]]]:
    """(name, steps) of every migration, oldest first."""
    folder = resources.files("processor.store") / "sql" / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(file.name.removesuffix(".sql"), _steps(file.read_text(encoding="utf-8"))) for file in files]


def _steps(text: str) -> list[Step]:
    parts = _STEP.split(text)[1:]
    return [Step(*part) for part in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]
