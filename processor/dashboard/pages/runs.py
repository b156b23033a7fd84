"""`/`: the runs, the newest first, with what their trials came to."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from processor.core.errors import UsageError
from processor.dashboard.pages.views import Question, Site, Table, View, read_few
from processor.dashboard.queries.runs import PAGE, RunCounts, RunPage, run_page

KNOWN = ("search", "after", "limit")
STATUSES = ("succeeded", "failed", "skipped", "cancelled")
_NAMES = (
    "run_id", "state", "requested_trials", "completed_trials", "best_metric", "error_message", "started_at",
    "finished_at", "inserted_at", "updated_at",
)  # fmt: skip


async def show_runs(site: Site, question: Question) -> View:
    """The page; `search` is a text in the run's id, `after` the place behind which it starts."""
    given = read_few(question.pairs, KNOWN)
    limit, search = limit_of(given), given.get("search")
    page = await counted_runs(site, _behind(given.get("after")), limit, search)
    rows = [{**run, **describe(run, counts)} for run, counts in zip(page.runs, page.counts, strict=True)]
    following = None if page.next is None else f"{page.next[0].isoformat()}~{page.next[1]}"
    document = {"runs": [_document(row) for row in rows], "next": following}
    context = {
        "rows": rows,
        "search": search or "",
        "next": None if following is None else f"/{query(given, after=following)}",
        "first": f"/{query(given, after=None)}" if "after" in given else None,
        "empty": not rows and not search and "after" not in given,
        "query": query(given),
    }
    return View(context, document, lambda: _table(rows))


async def counted_runs(
    site: Site, behind: tuple[datetime, str] | None = None, limit: int = PAGE, search: str | None = None
) -> RunPage:
    """As `run_page`; counts that took long are shared for a while."""
    found: RunPage = await site.counts.get(
        ("runs", behind, limit, search), lambda: run_page(site.pool, behind, limit, search)
    )
    return found


def limit_of(given: dict[str, str], most: int = 200) -> int:
    """Raises `UsageError`."""
    text = given.get("limit", str(PAGE))
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= most:
        raise UsageError(f"limit is a number from 1 to {most}")
    return int(text)


def query(given: dict[str, str], **changes: str | None) -> str:
    """The query string, with its question mark, that asks for the same but for `changes`."""
    asked = {name: value for name, value in {**given, **changes}.items() if value is not None}
    return f"?{urlencode(asked)}" if asked else ""


def _behind(text: str | None) -> tuple[datetime, str] | None:
    if text is None:
        return None
    moment, _, identity = text.partition("~")
    try:
        UUID(identity)
        found = datetime.fromisoformat(moment)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError("`after` is no place in the list: begin with the first page")
    return found, identity


def describe(run: dict[str, Any], counts: RunCounts) -> dict[str, Any]:
    """What the counts say of a run: shares are None where there is nothing to divide by."""
    finished = run["finished_at"] or counts.last_at
    began = run["started_at"] or counts.first_at
    took = (finished - began).total_seconds() * 1000 if began and finished and finished >= began else None
    if not run["started_at"]:
        took = took or None  # one trial's moment is no duration
    return {
        "trials": counts.trials,
        "by_status": counts.by_status,
        "with_spectral_norm": counts.with_spectral_norm,
        "adoption": counts.with_spectral_norm / counts.trials if counts.trials else None,
        "first_at": counts.first_at,
        "last_at": counts.last_at,
        "took_ms": took,
        "trials_ms": counts.duration_ms,
        "wanted": run["requested_trials"],
    }


def _document(row: dict[str, Any]) -> dict[str, Any]:
    said = ("trials", "by_status", "with_spectral_norm", "adoption", "first_at", "last_at")
    return {name: row[name] for name in (*_NAMES, *said)}


def _table(rows: list[dict[str, Any]]) -> Table:
    names = (*_NAMES, "trials", *STATUSES, "with_spectral_norm")
    return Table(
        names,
        [
            (
                *(row[name] for name in _NAMES),
                row["trials"],
                *(row["by_status"].get(status, 0) for status in STATUSES),
                row["with_spectral_norm"],
            )
            for row in rows
        ],
    )
