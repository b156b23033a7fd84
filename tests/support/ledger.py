"""The one check that every fault test ends with, independent of the code it checks.

It folds what was sent, in the order that the broker gave it, into the rows and events that must exist: every report
is exactly one row version or one dead letter; every revision that succeeded or failed has exactly one event, in order,
and so has every revision of a run; progress is a row a step and has none; nothing else exists.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from processor.core.messages import RawRecord
from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from processor.store.queries import load_queries, read_queries
from processor.store.session import Session

Key = tuple[str, str]
_LETTERS = """
select letter.id, record."partition", record."offset"
from dead_letters letter join dead_letter_records record on record.id = letter.record_id
"""


class Version(NamedTuple):
    """What one revision of a trial says."""

    revision: int
    status: str
    accuracy: float | None


class Run(NamedTuple):
    """What the starts and stops of a run come to; `said` is the newest start's, and stop's, number of trials."""

    state: str
    revision: int
    said: tuple[int | None, int | None]


class Expected(NamedTuple):
    """`events` of runs are under the empty trial; `metrics` are values as text by run, trial, metric and step."""

    rows: dict[Key, Version]
    events: dict[Key, list[Version]]
    rejected: list[tuple[int, int]]
    runs: dict[str, Run]
    metrics: dict[tuple[str, str, str, int | None], str]
    starts: dict[Key, bool | None]

    @property
    def dead_letters(self) -> int:
        return len(self.rejected)


def fold(records: Iterable[RawRecord]) -> Expected:
    """For reports made by tests/factories.py: valid ones have a trial_id, all others are rejected."""
    rows: dict[Key, Version] = {}
    events: dict[Key, list[Version]] = {}
    rejected: list[tuple[int, int]] = []
    life = LifeFold()
    for record in sorted(records, key=lambda one: (one.timestamp_ms, one.partition, one.offset)):
        try:
            report = json.loads(record.value or b"")
            if "event" in report:
                life.take(report)
                continue
            key = (report["run_id"], report["trial_id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            rejected.append((record.partition, record.offset))
            continue
        accuracy = report.get("metrics", {}).get("accuracy")
        held = rows.get(key)
        if held is not None and (held.status, held.accuracy) == (report["status"], accuracy):
            continue
        version = Version(held.revision + 1 if held else 1, report["status"], accuracy)
        rows[key] = version
        if version.status in ("succeeded", "failed"):
            events.setdefault(key, []).append(version)
    return Expected(rows, {**events, **life.events}, sorted(rejected), life.runs, life.metrics, life.starts)


class LifeFold:
    """Run reports and progress, each after all older ones of its run."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.events: dict[Key, list[Version]] = {}
        self.metrics: dict[tuple[str, str, str, int | None], str] = {}
        self.starts: dict[Key, bool | None] = {}

    def take(self, report: dict[str, Any]) -> None:
        """Raises `ValueError` for what has to be rejected."""
        run_id, event = report["run_id"], report["event"]
        if event == "ml.trial.start":
            self.starts[run_id, report["trial_id"]] = report["spectral_norm"]
        elif event == "ml.run.metric":
            step = report.get("step")
            if step is not None and step < 0:
                raise ValueError("no step")
            where = (run_id, report["trial_id"], report["metric_name"], step)
            self.metrics[where] = repr(float(report["metric_value"]))
        else:
            self._lead(run_id, event == "ml.run.start", report)

    def _lead(self, run_id: str, starts: bool, report: dict[str, Any]) -> None:
        held = self.runs.get(run_id, Run("", 0, (None, None)))
        if starts:
            run = held._replace(state="running", said=(report["requested_trials"], None))
        else:
            run = held._replace(state=report["state"], said=(held.said[0], report["completed_trials"]))
        if run == held:
            return
        self.runs[run_id] = run = run._replace(revision=held.revision + 1)
        self.events.setdefault((run_id, ""), []).append(Version(run.revision, run.state, None))


def ledger_session(settings: Settings) -> Session:
    """A session that knows the queries of ledger.sql beside the store's own."""
    queries = {**load_queries(), **read_queries(Path(__file__).parent)}
    return Session(settings.database_url.get_secret_value(), queries=queries)


def check_counts(settings: Settings) -> None:
    """What triggers have counted is what the rows come to."""
    with ledger_session(settings) as store:
        assert store.fetch("ledger_counts") == []


def rows_of(settings: Settings) -> dict[Key, Version]:
    with ledger_session(settings) as store:
        found = store.fetch("ledger_rows")
    rows = {
        (row["run_id"], row["trial_id"]): Version(row["revision"], row["status"], row["metrics"].get("accuracy"))
        for row in found
    }
    assert len(rows) == len(found)
    return rows


def events_of(settings: Settings) -> tuple[dict[Key, list[Version]], Counter[str]]:
    """Events by trial in the order a read_committed consumer sees them, and how often each ce_id was seen."""
    events: dict[Key, list[Version]] = {}
    ids: Counter[str] = Counter()
    for record in read_topic(settings, settings.events_topic):
        body: dict[str, Any] = json.loads(record.value or b"{}")
        ids[dict(record.headers)["ce_id"].decode()] += 1  # type: ignore[union-attr]
        status = {"completed": "succeeded"}.get(body.get("status", ""), body.get("status") or body["state"])
        version = Version(body["revision"], status, body.get("metrics", {}).get("accuracy"))
        events.setdefault((body["model_run_id"], body.get("trial_id", "")), []).append(version)
    return events, ids


def check_life(settings: Settings, expected: Expected) -> None:
    """What starts, stops and progress have left."""
    with ledger_session(settings) as store:
        runs, metrics, starts = (store.fetch(f"ledger_{name}") for name in ("runs", "metrics", "starts"))
    found = {
        row["run_id"]: Run(row["state"], row["revision"], (row["requested_trials"], row["completed_trials"]))
        for row in runs
    }
    assert found == {run_id: _as_held(run) for run_id, run in expected.runs.items()}
    steps = {(one["run_id"], one["trial_id"], one["metric"], one["step"]): repr(one["value"]) for one in metrics}
    assert (len(metrics), steps) == (len(steps), expected.metrics)
    assert {(one["run_id"], one["trial_id"]): one["spectral_norm"] for one in starts} == expected.starts


def _as_held(run: Run) -> Run:
    """What nobody says has the column's default."""
    requested, completed = run.said
    return run._replace(said=(3 if requested is None else requested, completed or 0))


def comparable(events: dict[Key, list[Version]]) -> dict[Key, list[tuple[int, str, float | None]]]:
    """A failed event carries no metrics, so its accuracy is not compared."""
    return {
        key: [(one.revision, one.status, one.accuracy if one.status == "succeeded" else None) for one in versions]
        for key, versions in events.items()
    }


def check_ledger(settings: Settings) -> Expected:
    """Compares what the raw topic holds with rows, events and dead letters; returns what was expected."""
    expected = fold(read_topic(settings, settings.raw_topic))
    assert rows_of(settings) == expected.rows
    check_life(settings, expected)
    check_counts(settings)
    events, ids = events_of(settings)
    assert [event_id for event_id, seen in ids.items() if seen > 1] == []
    assert comparable(events) == comparable(expected.events)
    with Session(settings.database_url.get_secret_value()) as store:
        letters = store.run(lambda connection: connection.fetch(_LETTERS))
        waiting = store.fetch("outbox_depth")[0]
    assert sorted((row["partition"], row["offset"]) for row in letters) == expected.rejected
    published = [dict(one.headers) for one in read_topic(settings, settings.dead_letter_topic)]
    assert sorted(int(one["dead_letter_id"] or b"") for one in published) == sorted(row["id"] for row in letters)
    assert (waiting["messages"], waiting["parked"]) == (0, 0)
    return expected
