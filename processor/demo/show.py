"""What the demo prints: steps with their time, live progress, tables and the verdict."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from processor.core.messages import RawRecord
from processor.core.tables import add_row, make_table, sentence
from processor.demo.ledger import Ledger, header

_SHOWN = 20  # differences; more would only push the first ones off the screen


class Steps:
    """Prints what happens, each line with the seconds since the demo began."""

    def __init__(self, console: Console) -> None:
        self._console, self._begin = console, time.monotonic()

    def __call__(self, text: str) -> None:
        self._console.print(
            Text.assemble((f"{time.monotonic() - self._begin:5.1f} s", "dim"), f"  {sentence(text)}"), soft_wrap=True
        )


class SearchProgress(Progress):
    """A live line: trials done, and what has come of them at the other end."""

    def __init__(self, console: Console, trials: int) -> None:
        super().__init__(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.completed:.0f} of {task.total:.0f} trials"),
            BarColumn(),
            TextColumn("{task.fields[reached]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._search = self.add_task("search", total=trials, reached="")

    def reach(self, counts: Mapping[str, int], *, trials: int = 0) -> None:
        """So many more trials are done, and `counts` is what Postgres has by now."""
        reached = "{rows} rows, {events} events, {dead_letters} dead letters".format_map(counts)
        self.update(self._search, advance=trials, reached=reached)


def trials_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    numbers = ("trials", "best accuracy", "mean accuracy")
    table = _table("trials (Postgres)", "status", "spectral_norm", *numbers, right=numbers)
    for row in rows:
        accuracies = (None if row[name] is None else f"{row[name]:.3f}" for name in ("best", "mean"))
        add_row(table, row["status"], str(row["spectral_norm"]).lower(), row["trials"], *accuracies)
    return table


def events_table(events: Sequence[RawRecord]) -> Table:
    numbers = ("events", "trials")
    table = _table("events (Kafka, read_committed)", "type", *numbers, right=numbers)
    kinds = Counter(header(event, "ce_type") for event in events)
    trials = Counter(kind for kind, _ in {(header(one, "ce_type"), header(one, "ce_subject")) for one in events})
    for kind, count in sorted(kinds.items()):
        add_row(table, kind, count, trials[kind])
    return table


def dead_letters_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("dead letters (Postgres and Kafka)", "reason", "count", "for example", right=["count"])
    examples = {row["reason"]: row["detail"] for row in reversed(rows)}
    for reason, count in Counter(row["reason"] for row in rows).most_common():
        add_row(table, reason, count, examples[reason])
    return table


def replay_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
    table = _table("everything read again", "", "before the replay", "after it", "")
    for name in before:
        same = before[name] == after[name]
        add_row(table, name, before[name], after[name], Text("same") if same else Text("differs", style="red"))
    return table


def mlflow_table(found: Mapping[str, Any]) -> Table:
    table = _table("MLflow", "", "count", right=["count"])
    add_row(table, "trials that succeeded or failed (Postgres)", found["trials"])
    add_row(table, f"runs at {found['where']}", found["runs"])
    add_row(table, "differences in status, params, metrics", found["differences"])
    return table


def verdict(console: Console, ledger: Ledger, differences: Sequence[str]) -> None:
    """One sentence and its sum, or what differs."""
    if differences:
        console.print(f"\n[bold red]FAILED[/bold red]: {len(differences)} difference(s)")
        for difference in differences[:_SHOWN]:
            console.print(sentence(f"  - {difference}"), markup=False, highlight=False)
        return
    changes = ledger.total_revisions - ledger.trials
    console.print(
        "\n[bold green]PASSED[/bold green]\n"
        f"{ledger.sent} reports sent = {ledger.trials} rows + {changes} changes to them + {ledger.repeated}"
        f" repetitions + {len(ledger.rejected)} dead letters.\n"
        f"{len(ledger.events())} revisions succeeded, failed, started or stopped: one event each, equal to its row.\n"
        f"{ledger.life.total} starts, stops and metrics = {len(ledger.life.started)} runs that started and"
        f" {len(ledger.life.stopped)} that stopped + {len(ledger.life.trials)} trials under way +"
        f" {len(ledger.life.metrics)} metrics at their steps.\n"
        "The replay changed nothing.",
        highlight=False,
        soft_wrap=True,
    )


_QUERY = (
    "select trial_id, status, spectral_norm, metrics -> 'accuracy' as accuracy from cerebros_model_trials"
    " order by 4 desc nulls last limit 10"
)


def ways_to_look(console: Console, environment: Mapping[str, str], psql: str, logs: str, dashboard: str) -> None:
    """For --keep: how to reach what is running, and three commands to begin with."""
    lines = ["", f"All of it runs on, and a dashboard: {dashboard}", "", "In another terminal:", ""]
    lines += [f"export {name}='{value}'" for name, value in environment.items()]
    command = Path(sys.executable).with_name("processor")
    lines += [f"{command} status", f"{command} dead-letters list", f'{psql} "$PROCESSOR_DATABASE_URL" -c "{_QUERY}"']
    lines += ["", f"The logs of ingest, relay, gateway and dashboard are in {logs}. Ctrl-C stops everything."]
    console.print(sentence("\n".join(lines)), markup=False, highlight=False, soft_wrap=True)


def _table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    table = make_table(columns, title=title, right=right)
    table.title_style = "bold"
    return table
