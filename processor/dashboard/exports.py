"""All trials of a filter as JSON lines or CSV, in memory that does not grow with them.

They are read in portions by id, each a short question of its own: no transaction stays open while a slow reader reads,
and a trial that comes meanwhile may or may not be among them.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from processor.core.errors import UsageError
from processor.core.numbers import to_json
from processor.dashboard.queries.assembling import Assembly, Scope, fetch
from processor.dashboard.queries.portions import read_portion
from processor.store.pool import Pool

#: trials whose ids are asked for at once; their rows come in portions
PAGE = 500
MOST_KEYS = 2000
FIXED = (
    "run_id", "trial_id", "status", "spectral_norm", "duration_ms", "rank", "mlflow_run_id", "artifact_uri",
    "candidate_id", "pulse_id", "error_message", "error_type", "stacktrace", "warnings", "schema_version", "revision",
    "inserted_at", "updated_at", "mlflow_state", "spectral_norm_reported",
)  # fmt: skip
#: what a spreadsheet takes for the beginning of a formula (OWASP, CSV injection); some take the full-width ones as well
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: where a cell has to be quoted: also what other spreadsheets, or those of other countries, take for its end
_SPLITS = re.compile('[,;"\t\r\n]')


async def export_jsonl(pool: Pool, scope: Scope) -> AsyncIterator[bytes]:
    """A line a trial, in portions: the fixed fields, `metrics` and `parameters` with all their digits."""
    async for rows in _portions(pool, scope):
        yield b"".join(to_json({name: row[name] for name in (*FIXED, "metrics", "parameters")}) + b"\n" for row in rows)


async def export_csv(pool: Pool, scope: Scope) -> AsyncIterator[bytes]:
    """A column for each metric and parameter that any of the trials has; nested values are JSON.

    A text that a spreadsheet would take for a formula has an apostrophe before it. Raises `UsageError` where there are
    more than 2,000 columns: JSON lines have no columns.
    """
    keys = await _keys(pool, scope)
    yield line([*FIXED, *(f"{place}.{key}" for place, key in keys)])
    async for rows in _portions(pool, scope):
        yield b"".join(
            line([*(row[name] for name in FIXED), *(row[place].get(key) for place, key in keys)]) for row in rows
        )


async def _keys(pool: Pool, scope: Scope) -> list[tuple[str, str]]:
    assembly = Assembly("export_keys", scope)
    assembly.put("again", assembly.condition(scope), "true")
    keys = [(row["place"], row["key"]) for row in await fetch(pool, assembly.query())]
    if len(keys) > MOST_KEYS:
        raise UsageError(f"these trials have more than {MOST_KEYS} metrics and parameters: take JSON lines")
    return keys


async def _portions(pool: Pool, scope: Scope) -> AsyncIterator[list[dict[str, Any]]]:
    last: str | None = None
    while True:
        assembly = Assembly("export_ids", scope)
        assembly.put("after", "true" if last is None else f"trial.id > {assembly.given(last, 'text')}::uuid", "true")
        assembly.put("limit", assembly.given(PAGE, "integer"), "1")
        page = rest = [row["id"] for row in await fetch(pool, assembly.query())]
        while rest:
            rows, rest = await read_portion(pool, "export_rows", rest)
            yield rows
        if len(page) < PAGE:
            return
        last = page[-1]


def line(values: Sequence[Any]) -> bytes:
    return (",".join(_quoted(cell(value)) for value in values) + "\r\n").encode()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _SPLITS.search(text) else text


def cell(value: Any) -> str:
    """A value as it stands in CSV: empty for none and for a figure beyond all doubles, a text as it is unless it would
    be a formula, else JSON.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, Decimal):
        return str(value)
    return to_json(value).decode()
