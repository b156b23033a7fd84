"""Trials as a table: which columns, in which order, which page; of one run or across all."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from processor.core.errors import TransientError, Trouble, UsageError
from processor.dashboard.asked import ALWAYS, MOST_COLUMNS
from processor.dashboard.exports import export_csv, export_jsonl
from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.indexed import show_path
from processor.dashboard.filters.terms import paths_in
from processor.dashboard.filters.text import write, write_path
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages.mirroring import mlflow_of_row, words_of
from processor.dashboard.pages.names import unknown_names
from processor.dashboard.pages.paths import Form
from processor.dashboard.pages.values import value_at
from processor.dashboard.pages.views import Reading, Site
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.sorting import NEWEST, Sort, read_cursor
from processor.dashboard.queries.trials import Count, Key, TrialPage, count_trials, trial_page

#: trials that may be looked at side by side: as many have room, and lines that are told apart
MOST_BESIDE = 8
#: columns that are chosen by themselves: what varies, and no more than fits on a screen
MOST_METRICS, MOST_PARAMETERS = 5, 6
#: an order that takes longer is worth an index
SLOW_SECONDS = 1.0
#: what columns are chosen from may take so long
KEYS_MS = 3000
#: columns of every trial that may be chosen; what is always there is none of them
OPTIONAL = (
    "duration_ms", "rank", "inserted_at", "updated_at", "error_message", "error_type", "warnings", "mlflow_state",
    "mlflow_run_id", "artifact_uri", "candidate_id", "pulse_id", "revision", "schema_version",
    "spectral_norm_reported",
)  # fmt: skip
WORDS = {
    "duration_ms": "Duration", "rank": "Rank", "inserted_at": "First seen", "updated_at": "Changed",
    "error_message": "Error", "error_type": "Error type", "warnings": "Warnings", "mlflow_run_id": "MLflow run",
    "mlflow_state": "In MLflow",
    "artifact_uri": "Artifact", "candidate_id": "Candidate", "pulse_id": "Pulse", "revision": "Revision",
    "schema_version": "Schema", "run_id": "Run", "trial_id": "Trial", "status": "Status",
    "spectral_norm": "Spectral norm", "spectral_norm_reported": "Spectral norm reported",
}  # fmt: skip


class Column(NamedTuple):
    """A column of the table: where its values are, what it is called, and the query that sorts by it."""

    path: Path
    label: str
    sort: str | None
    sorted: Literal["ascending", "descending"] | None

    @property
    def right(self) -> bool:
        return self.path.place in ("metrics", "parameters", "either", "duration_ms", "rank", "warnings")


class Listing(NamedTuple):
    """A page of trials and what stands around it; `chosen` says whether the columns were asked for, `advice` what would
    make its order faster where that took long, `unknown` which names no trial has.
    """

    page: TrialPage
    total: Count
    columns: tuple[Column, ...]
    fixed: tuple[Column, ...]
    keys: tuple[Key, ...]
    chosen: bool
    reading: Reading
    mlflow: str | None
    advice: str | None = None
    unknown: Sequence[str] = ()
    large: Sequence[str] = ()

    def pager(self) -> dict[str, str | None]:
        """Query strings of the pages beside this one."""
        asked, page = self.reading.asked, self.page
        return {
            "previous": _after(self.reading, page.previous),
            "next": _after(self.reading, page.next),
            "first": self.reading.query() or "?" if asked.after is not None else None,
        }

    def order(self) -> str:
        """The order in words."""
        sort = self.reading.asked.sort
        if sort == NEWEST:
            return "the newest first"
        return f"by {label_of(sort.path)}, {'downwards' if sort.down else 'upwards'}"

    def context(self) -> dict[str, Any]:
        """What the table's template shows."""
        return {
            "listing": self,
            "reading": self.reading,
            "pager": self.pager(),
            "value_at": value_at,
            "was_defaulted": was_defaulted,
            "kept": kept,
            "no_others": ALWAYS[0],
            "most_columns": MOST_COLUMNS,
            "most_beside": MOST_BESIDE,
            "read_as": write(self.reading.asked.filter),
            "words_of": words_of,
            "mlflow_of": lambda row: mlflow_of_row(self.mlflow, row),
        }

    def document(self) -> dict[str, Any]:
        """The page as JSON: rows as they are stored, cursors, the count and how it is known."""
        return {
            "trials": self.page.rows,
            "count": self.total,
            "previous": self.page.previous,
            "next": self.page.next,
            "cut": self.page.cut,
            "columns": [write_path(column.path) for column in self.columns],
        }

    def choices(self) -> list[tuple[str, str, bool]]:
        """(value, label, whether it is shown) of each column that can be chosen."""
        shown, fixed = {column.path for column in self.columns}, {column.path for column in self.fixed}
        offered = [Path(name) for name in OPTIONAL] + [key.path for key in self.keys]
        offered += [path for path in (self.reading.asked.columns or ()) if path not in offered]
        return [(write_path(path), label_of(path), path in shown) for path in offered if path not in fixed]


async def list_trials(site: Site, scope: Scope, reading: Reading) -> Listing:
    """The page that is asked for. Raises what the queries raise."""
    asked = reading.asked
    scope = scope._replace(indexed=await site.indexed())
    (page, advice), count, keys = await asyncio.gather(
        _page(site, scope, reading), count_trials(site.pool, scope), _keys(site, scope)
    )
    if count.how == "about":  # a share of a sample: the rows that are here are more certain
        count = Count(max(count.count, len(page.rows)), "about")
    paths = default_columns(keys or (), page.rows) if asked.columns is None else asked.columns
    named = [*paths_in(asked.filter), asked.sort.path, *(asked.columns or ())]
    fixed = [Path(name) for name in (ALWAYS if scope.run_id is not None else ("run_id", *ALWAYS))]
    return Listing(
        page,
        count,
        tuple(_column(path, reading) for path in paths if path not in fixed),
        tuple(_column(path, reading) for path in fixed),
        tuple(keys or ()),
        asked.columns is not None,
        reading,
        site.mlflow_url,
        advice,
        await unknown_names(site, scope, keys or (), named),
        _large(page, keys),
    )


async def _keys(site: Site, scope: Scope) -> list[Key] | None:
    """The names that columns are chosen from; None where that takes too long: rows are worth more than their names."""
    try:
        return await site.keys_of(scope, KEYS_MS)
    except TransientError as error:
        if error.trouble is not Trouble.WORK:
            raise
        return None


def _large(page: TrialPage, keys: Sequence[Key] | None) -> list[str]:
    """What is not here since trials are large, in sentences."""
    told = []
    if page.cut:
        told.append("This page ends early, since its trials are large: the next one goes on.")
    if keys is None:
        told.append(
            "Which metrics and parameters these trials have took too long to tell: name columns in the address."
        )
    elif keys and keys[0].cut:
        looked = keys[0].looked
        told.append(
            f"These trials have very many metrics and parameters: columns are chosen from those of {looked:,} "
            f"{'trial' if looked == 1 else 'trials'}."
        )
    return told


async def _page(site: Site, scope: Scope, reading: Reading) -> tuple[TrialPage, str | None]:
    """The trials, and what would make their order faster where it took long; a failure is told with it."""
    asked, began = reading.asked, time.monotonic()
    advice = None
    if asked.sort.path.place not in COLUMNS and scope.indexed.serving(asked.sort.path) is None:
        path = show_path(asked.sort.path)
        advice = (
            f"an index of {path} would make this order fast; who runs the dashboard can add one: "
            f"processor dashboard-index add {shlex.quote(path)}"
        )
    try:
        page = await trial_page(site.pool, scope, asked.sort, asked.after, asked.limit)
    except TransientError as error:
        if advice and error.trouble is Trouble.WORK:
            error.add_note(advice)
        raise
    return page, advice if time.monotonic() - began > SLOW_SECONDS else None


def default_columns(keys: Sequence[Key], rows: Sequence[Mapping[str, Any]] = ()) -> list[Path]:
    """The metrics and parameters that vary (all where none does), how long it took, what MLflow has, when it came.

    Where half of the rows or more failed, what they failed of comes first.
    """
    found = []
    for place, most in (("metrics", MOST_METRICS), ("parameters", MOST_PARAMETERS)):
        flat = [key for key in keys if key.place == place and not key.nested]
        found += [key.path for key in ([key for key in flat if key.varies] or flat)[:most]]
    failed = sum(row["status"] == "failed" for row in rows)
    first = [Path("error_type"), Path("error_message")] if failed and 2 * failed >= len(rows) else []
    mirrored = [Path("mlflow_state")] if any(row["mlflow_state"] for row in rows) else []
    return [*first, *found, Path("duration_ms"), *mirrored, Path("inserted_at")]


def _column(path: Path, reading: Reading) -> Column:
    """Sorted downwards at the first click, upwards at the second; the third gives the newest first again."""
    now = reading.asked.sort
    here = same_path(now.path, path)
    following = Sort(path, True) if not here else Sort(path, False) if now.down else NEWEST
    sortable = path.place != "warnings"
    return Column(
        path,
        label_of(path),
        (reading.query(sort=following) or "?") if sortable else None,
        ("descending" if now.down else "ascending") if here else None,
    )


def same_path(one: Path, other: Path) -> bool:
    """`accuracy` is `metrics.accuracy`, or the parameter of that name where a page shows that."""
    return one.keys == other.keys and (one.place == other.place or "either" in (one.place, other.place))


def label_of(path: Path) -> str:
    return WORDS.get(path.place) or (".".join(path.keys))


def was_defaulted(row: Mapping[str, Any]) -> bool:
    """Whether the report did not say spectral_norm in a form that could be read: a default stands there."""
    return not row["spectral_norm_reported"]


def kept(reading: Reading, but: Sequence[str]) -> list[tuple[str, str]]:
    """The parameters that a form sends along, as they are, without those that it changes itself."""
    return [pair for pair in parse_qsl(reading.query().removeprefix("?")) if pair[0] not in but]


def _after(reading: Reading, cursor: str | None) -> str | None:
    return None if cursor is None else reading.query(after=read_cursor(cursor, reading.asked.sort))


def export_trials(site: Site, scope: Scope, form: Form) -> AsyncIterator[bytes]:
    """All trials of the scope. Raises `UsageError` for a form that is none."""
    if form == "csv":
        return export_csv(site.pool, scope)
    if form == "jsonl":
        return export_jsonl(site.pool, scope)
    raise UsageError(f"trials are exported as csv or jsonl, not as {form}")
