"""How window replays and verifications look to people: a bar or lines while they run, tables afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from processor.errors import UsageError

#: how often progress is told where there is no terminal to draw a bar on
LINE_SECONDS = 5.0
_WORDS = {
    "inserted": "new rows",
    "changed": "rows changed, a new revision each",
    "touched": "equal to the row but newer: only its position moves",
    "unchanged": "the row holds it already",
    "stale": "older than the row",
    "rejected": "can't be rows",
}


def check_format(format_: str) -> None:
    if format_ not in ("table", "json"):
        raise UsageError(f"--format is table or json, not {format_}")


def show(format_: str, document: Mapping[str, Any], pieces: Callable[[], Sequence[str | Table]]) -> None:
    """Prints the document as JSON, or the sentences and tables."""
    if format_ == "json":
        print(msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2).decode())
        return
    console = Console(markup=False, highlight=False, emoji=False)  # ids are what somebody sent
    for piece in pieces():
        console.print(piece, soft_wrap=isinstance(piece, str))


def tell_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(note, file=sys.stderr, flush=True)


class Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def meter(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function that is told how many records are done: a progress bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = Lines(what, total)
        yield lines.tell
        lines.say()
        return
    count = TextColumn("{task.completed:,.0f} of {task.total:,.0f} records")
    with Progress(TextColumn(what), BarColumn(), count, Rate(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


class Lines:
    """Progress as plain lines on stderr, one every `LINE_SECONDS` and one at the end."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._done = 0
        self._first: tuple[float, int] | None = None
        self._said = time.monotonic()

    def tell(self, done: int) -> None:
        self._done = done
        self._first = self._first or (time.monotonic(), done)
        if time.monotonic() - self._said >= LINE_SECONDS:
            self.say()

    def say(self) -> None:
        self._said = time.monotonic()
        began, before = self._first or (self._said, self._done)
        seconds = self._said - began
        rate = f" ({(self._done - before) / seconds:,.0f}/s)" if seconds > 0.1 else ""
        line = f"{self._what}: {self._done:,} of {self._total:,} records{rate}"
        print(line, file=sys.stderr, flush=True)


def summary_of(window: str, document: Mapping[str, Any]) -> list[str | Table]:
    state = "done" if document["finished"] else "stopped"
    return [f"replay of {window}: {state}, {document['records']:,} records read and written", _results(document)]


def _results(document: Mapping[str, Any]) -> Table:
    table = Table("reports", "", "")
    for name, number in document["results"].items():
        table.add_row(name, f"{number:,}", _WORDS[name])
    table.add_section()
    table.add_row("events", f"{document['events']:,}", "put into the outbox")
    table.add_row("new dead letters", f"{document['new_dead_letters']:,}", "rejections that were not stored yet")
    return table


def forecast_of(window: str, document: Mapping[str, Any]) -> list[str | Table]:
    head = (
        f"dry run of {window}: {document['rows_to_change']:,} rows would change ({document['new_rows']:,} new, "
        f"{document['changed_rows']:,} existing); nothing was written"
    )
    if not document["changes"]:
        return [head, _results(document)]
    changes = Table("run", "trial", "from revision", "what differs")
    for one in document["changes"]:
        revision = str(one["from_revision"] or "-")
        changes.add_row(one["run_id"], one["trial_id"], revision, ", ".join(one["fields"]) or "new row")
    return [head, _results(document), f"the first {len(document['changes'])} rows that would change:", changes]


def findings_of(topic: str, document: Mapping[str, Any]) -> list[str | Table]:
    verdict = f"{document['differences']:,} differences" if document["differences"] else "nothing differs"
    counts = Table("compared", "")
    for name in ("records", "reports", "trials", "rejections"):
        counts.add_row(name, f"{document[name]:,}")
    if document["newer"]:
        counts.add_row("rows from beyond the range", f"{document['newer']:,}")
    counts.add_row("revisions", "compared" if document["revisions_compared"] else "not compared: not the whole history")
    counts.add_section()
    for kind, number in document["kinds"].items():
        counts.add_row(kind.replace("_", " "), f"{number:,}")
    head = f"{topic} beside the tables: {verdict}"
    if not document["differences"]:
        return [head, counts]
    shown = Table("kind", "run", "trial", "partition/offset", "what differs")
    for one in document["shown"]:
        place = f"{one['partition']}/{one['offset']}"
        shown.add_row(one["kind"].replace("_", " "), one["run_id"], one["trial_id"], place, one["detail"])
    return [head, counts, f"the first {len(document['shown'])}:", shown]
