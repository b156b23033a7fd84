"""Tables of what is short enough to need no module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from processor.core.settings import TopicSettings
from processor.core.tables import add_row, make_table


def schemas_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = ((row["subject"], f"v{row['version']}", row["fingerprint"], ", ".join(row["fields"])) for row in rows)
    return make_table(("subject", "version", "fingerprint", "fields"), cells, title="schemas")


def plan_table(settings: TopicSettings, rows: Sequence[Mapping[str, Any]], executed: bool) -> Table:
    done = "applied" if executed else "plan only: --execute applies it"
    names = ("partition", "current", "target", "latest", "records")
    table = make_table(
        ("partition", "current", "new", "end", "to read", "note"),
        title=f"replay of {settings.raw_topic} by group {settings.group_id} ({done})",
    )
    for row in rows:
        numbers = (row[name] for name in names)  # as they are typed again: without separators
        add_row(table, *(None if number is None else str(number) for number in numbers), row["note"])
    return table


def parked_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = ((row["name"], row["destination"], row["parked_at"], row["wanted_at"], row["error"]) for row in rows)
    return make_table(("message", "to", "since", "wanted since", "why"), cells, title="parked messages")


def indexes_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = ("path", "mib", "rows", "state", "used")
    table = make_table(("path", "MiB", "trials", "state", "used"), title="indexes for the dashboard", right=names[1:3])
    for row in rows:
        add_row(table, *(row[name] for name in names))
    return table


def status_table(document: Mapping[str, Any]) -> Table:
    """Without the half of a server that did not answer."""
    title = f"{document['group']}: {document['kafka']} -> {document['postgres']}"
    table = make_table(("what", ""), title=title)
    if "lag" in document:
        add_row(table, "members of the group", len(document["members"]))
        for partition, lag in document["lag"].items():
            add_row(table, f"lag of partition {partition}", lag)
        for warning in document["warnings"]:
            add_row(table, "warning", warning)
    if "outbox" in document:
        table.add_section()
        states = ", ".join(f"{count:,} {state}" for state, count in document["runs_by_state"].items())
        add_row(table, "runs", f"{document['runs']:,}" + (f" ({states})" if states else ""))
        add_row(table, "trials", document["rows"])
        add_row(table, "trials with progress", document["trials_with_progress"])
        add_row(table, "metrics by step, about", document["metrics_about"])
        outbox = document["outbox"]
        table.add_section()
        add_row(table, "outbox, messages", f"{outbox['messages']:,} in {outbox['packets']:,} packets")
        add_row(table, "outbox, oldest", f"{outbox['oldest_age_s']:.1f} s")
        add_row(table, "parked messages", outbox["parked"])
        table.add_section()
        if not document["dead_letters"]:
            add_row(table, "dead letters", "none")
        for reason, count in document["dead_letters"].items():
            add_row(table, f"dead letters: {reason}{_about(reason, document['dead_letters_about'])}", count)
    if mirror := document.get("mlflow"):
        table.add_section()
        add_row(table, "MLflow", f"{mirror['tracking_uri']} (server {mirror['server'][:8]})")
        for state, count in mirror["links"].items():
            add_row(table, f"MLflow links: {state}{_about(state, mirror['links_about'])}", count)
        add_row(table, "MLflow links in doubt", mirror["doubtful"])
    if "mlflow_lag" in document:
        add_row(table, "MLflow, events behind", document["mlflow_lag"])
    return table


def _about(name: str, estimated: Sequence[str]) -> str:
    return ", about" if name in estimated else ""


def mlflow_findings(document: Mapping[str, Any]) -> list[str | Table]:
    """One sentence, and a table of what differs."""
    said = f"{document['trials']:,} trials, {document['runs']:,} linked runs at {document['where']}"
    if not document["differences"]:
        return [f"{said}: nothing differs"]
    cells = [tuple(one.values()) for one in document["shown"]]
    names = ("what", "run", "trial", "MLflow run", "detail")
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(document["kinds"].items()))
    return [make_table(names, cells, title="differences"), f"{said}: {kinds}"]
