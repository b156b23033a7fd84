"""Rows of trials as people have them: what a database driver, pandas or an export gives, one mapping a trial."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

MAX_CELL = 16 * 1024 * 1024  # of a CSV; Python's own limit, 128 KiB, is less than a report may be
_OBJECTS = ("metrics", "parameters", "bridge_payload", "extra", "optuna")


def read_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """The rows of a file: `.csv` with a header, `.json` (an array, or an object that has one), else JSON lines.

    Raises `OSError`, and `ValueError` with the line that is no JSON object.
    """
    path = Path(path)
    if path.suffix == ".csv":
        csv.field_size_limit(max(MAX_CELL, csv.field_size_limit()))
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)
    elif path.suffix == ".json":
        yield from _rows_of(json.loads(path.read_text(encoding="utf-8-sig")), path)
    else:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _object(line, f"{path}, line {number}")


def as_rows(rows: Any) -> Iterable[Mapping[str, Any]]:
    """A path is read, a pandas table goes by its records, anything else is taken as it is."""
    if isinstance(rows, str | Path):
        return read_rows(rows)
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        records: Iterable[Mapping[str, Any]] = rows.to_dict("records")
        return records
    return rows  # type: ignore[no-any-return]


def opened(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its JSON columns as objects, and `optuna` where a report through Optuna left it.

    A database holds what has no column of its own in `bridge_payload` under `extra`.
    Raises `ValueError` for a column that is no JSON.
    """
    row = {str(name): _parsed(name, value) if name in _OBJECTS else value for name, value in row.items()}
    for inner in (row.get("bridge_payload"), row.get("extra")):
        extra = inner.get("extra", inner) if isinstance(inner, Mapping) else {}
        if isinstance(extra, Mapping) and isinstance(extra.get("optuna"), Mapping):
            row.setdefault("optuna", extra["optuna"])
    return row


def moment(value: Any) -> datetime | None:
    """A time as Optuna has them, local and without a zone; from a datetime or from ISO 8601."""
    if isinstance(value, str) and value:
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return value.astimezone().replace(tzinfo=None) if value.tzinfo else value


def _parsed(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.strip() else None


def _rows_of(document: Any, path: Path) -> Iterator[dict[str, Any]]:
    found = document
    if isinstance(document, Mapping):
        found = next((value for value in document.values() if isinstance(value, list)), None)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{path}: neither an array of objects nor an object that has one")
    yield from found


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: no JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: {type(row).__name__}, not an object")
    return row
