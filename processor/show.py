"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from processor.settings import Settings


def schemas_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("subject", "version", "fingerprint", "fields", title="schemas")
    for row in rows:
        table.add_row(row["subject"], f"v{row['version']}", row["fingerprint"], ", ".join(row["fields"]))
    return table


def plan_table(settings: Settings, rows: Sequence[Mapping[str, Any]], executed: bool) -> Table:
    done = "applied" if executed else "plan only: --execute applies it"
    table = Table(
        "partition",
        "current",
        "new",
        "end",
        "to read",
        "note",
        title=f"replay of {settings.raw_topic} by group {settings.group_id} ({done})",
    )
    for row in rows:
        current = "-" if row["current"] is None else row["current"]
        cells = (row["partition"], current, row["target"], row["latest"], row["records"], row["note"])
        table.add_row(*(str(cell) for cell in cells))
    return table


def parked_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("message", "to", "since", "why", title="parked messages")
    for row in rows:
        table.add_row(row["name"], row["destination"], f"{row['parked_at']:%Y-%m-%d %H:%M:%S}", row["error"])
    return table


def status_table(document: Mapping[str, Any]) -> Table:
    """Without the half of a server that did not answer."""
    table = Table("what", "", title=f"{document['group']}: {document['kafka']} -> {document['postgres']}")
    if "lag" in document:
        table.add_row("members of the group", str(len(document["members"])))
        for partition, lag in document["lag"].items():
            table.add_row(f"lag of partition {partition}", f"{lag:,}")
    if "outbox" in document:
        table.add_section()
        table.add_row("runs", f"{document['runs']:,}")
        table.add_row("trials", f"{document['rows']:,}")
        outbox = document["outbox"]
        table.add_section()
        table.add_row("outbox, messages", f"{outbox['messages']:,} in {outbox['packets']:,} packets")
        table.add_row("outbox, oldest", f"{outbox['oldest_age_s']:.1f} s")
        table.add_row("parked messages", f"{outbox['parked']:,}")
        table.add_section()
        if not document["dead_letters"]:
            table.add_row("dead letters", "none")
        for reason, count in document["dead_letters"].items():
            table.add_row(f"dead letters: {reason}", f"{count:,}")
    return table
