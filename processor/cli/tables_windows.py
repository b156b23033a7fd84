"""How window replays and verifications look to people when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from processor.core.tables import add_row, make_table

_WORDS = {
    "inserted": "new rows",
    "changed": "rows changed, a new revision each",
    "touched": "equal to the row but newer: only its position moves",
    "unchanged": "the row holds it already",
    "stale": "older than the row",
    "rejected": "can't be rows",
}

_COMPARED = {"runs": "runs with a start or a stop", "progress": "rows of progress"}


def summary_of(window: str, document: Mapping[str, Any]) -> list[str | Table]:
    state = "done" if document["finished"] else "stopped"
    return [f"replay of {window}: {state}, {document['records']:,} records read and written", _results(document)]


def _results(document: Mapping[str, Any]) -> Table:
    results = document["results"]
    table = make_table(("reports", "", ""), ((name, number, _WORDS[name]) for name, number in results.items()))
    table.add_section()
    add_row(table, "events", document["events"], "put into the outbox")
    add_row(table, "new dead letters", document["new_dead_letters"], "rejections that were not stored yet")
    return table


def forecast_of(window: str, document: Mapping[str, Any]) -> list[str | Table]:
    head = (
        f"dry run of {window}: {document['rows_to_change']:,} rows would change ({document['new_rows']:,} new, "
        f"{document['changed_rows']:,} existing); nothing was written"
    )
    if not document["changes"]:
        return [head, _results(document)]
    changes = make_table(("run", "trial", "from revision", "what differs"))
    for one in document["changes"]:
        fields = ", ".join(one["fields"]) or "new row"
        add_row(changes, one["run_id"], one["trial_id"], one["from_revision"] or None, fields)
    return [head, _results(document), f"the first {len(document['changes'])} rows that would change:", changes]


def findings_of(topic: str, document: Mapping[str, Any]) -> list[str | Table]:
    verdict = f"{document['differences']:,} differences" if document["differences"] else "nothing differs"
    names = ("records", "reports", "trials", "rejections", "runs", "progress")
    counts = make_table(("compared", ""), ((_COMPARED.get(name, name), document[name]) for name in names))
    if document["newer"]:
        add_row(counts, "rows from beyond the range", document["newer"])
    revisions = "compared" if document["revisions_compared"] else "not compared: not the whole history"
    add_row(counts, "revisions", revisions)
    counts.add_section()
    for kind, number in document["kinds"].items():
        add_row(counts, kind.replace("_", " "), number)
    head = f"{topic} beside the tables: {verdict}"
    if not document["differences"]:
        return [head, counts]
    shown = make_table(("kind", "run", "trial", "partition/offset", "what differs"))
    for one in document["shown"]:
        place = f"{one['partition']}/{one['offset']}" if one["offset"] >= 0 else None
        add_row(shown, one["kind"].replace("_", " "), one["run_id"], one["trial_id"], place, one["detail"])
    return [head, counts, f"the first {len(document['shown'])}:", shown]
