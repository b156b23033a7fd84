"""The row of a run, and what its start and its stop put there; pure but for the row itself.

Other programs write that row too. What a start or a stop did not say is left as they have it, and what it did say goes
when it no longer counts: the column gets its default, and its names leave `metadata` or `bridge_result`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from processor.core.life import Held, Life, held_of, lead, rest_of, said_by
from processor.core.messages import Order, RunReport
from processor.core.numbers import to_json
from processor.core.sameness import digest_of
from processor.core.times import timestamp_text
from processor.core.verdict import Verdict

START, STOP = "start", "stop"
_DEFAULTS: dict[str, Any] = {
    "search_space_version": 1,
    "max_params": 2_000_000,
    "requested_trials": 3,
    "completed_trials": 0,
    "best_metric": None,
    "error_message": None,
}
#: where what has no column is kept
_PLACES = {START: "metadata", STOP: "bridge_result"}


class Run(msgspec.Struct):
    """A locked run while its reports are led through: its row, its life, and what its start and stop said."""

    row: dict[str, Any]
    life: Life
    said: dict[str, Mapping[str, Any]]
    rest: dict[str, Mapping[str, Any]]
    revisions: dict[str, int]
    written: dict[str, RunReport] = msgspec.field(default_factory=dict)
    moved: bool = False
    changed: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]]) -> Run:
        """From rows of `look_at_runs` and, by kind, of `look_at_run_reports`."""
        said = {kind: one["said"] for kind, one in reports.items()}
        rest = {kind: one["rest"] for kind, one in reports.items()}
        revisions = {kind: one["revision"] for kind, one in reports.items()}
        return cls(dict(row), life_of(reports), said, rest, revisions)

    def lead(self, report: RunReport) -> Verdict:
        """One more report; the row is what it leaves."""
        had_stop = self.life.stop is not None
        verdict, self.life = lead(self.life, held_of(report), starts=report.starts)
        if verdict > Verdict.TOUCHED:
            return verdict
        if verdict is not Verdict.TOUCHED:
            if had_stop and self.life.stop is None:
                self._withdraw(STOP)
                self.written.pop(STOP, None)
            self._say(report)
            self.revisions[START if report.starts else STOP] = self.life.revision
            self.changed = True
        self._set_time(report)
        self.written[START if report.starts else STOP] = report
        self.moved = True
        return verdict

    def _withdraw(self, kind: str) -> None:
        self.row.update({name: _DEFAULTS[name] for name in self.said.pop(kind, {}) if name in _DEFAULTS})
        gone, place = self.rest.pop(kind, {}), _PLACES[kind]
        self.row[place] = {name: value for name, value in _object(self.row[place]).items() if name not in gone}

    def _say(self, report: RunReport) -> None:
        kind = START if report.starts else STOP
        self._withdraw(kind)
        self.said[kind], self.rest[kind] = said_by(report), rest_of(report)
        state = {} if report.starts and self.life.stop is not None else {"state": report.content["state"]}
        self.row.update({**self.said[kind], "state": self.row["state"], **state})
        self.row[_PLACES[kind]] = {**_object(self.row[_PLACES[kind]]), **self.rest[kind]}

    def _set_time(self, report: RunReport) -> None:
        milliseconds = report.record.timestamp_ms
        at = timestamp_text(milliseconds)
        if report.starts:
            self.row["started_at"], self.row["started_ms"] = at, milliseconds
            if self.life.stop is None:
                self.row["finished_at"] = None
            return
        self.row["finished_at"] = at
        begun = self.row["started_ms"]
        if self.life.start is None and begun is not None and begun > milliseconds:
            self.row["started_at"] = None  # that was when the row was made, and nothing starts after its end

    def row_json(self) -> bytes:
        """An element of the parameter of `write_runs`."""
        best = self.row["best_metric"]
        if best is not None and not math.isfinite(best):  # another program's
            best = str(best)
        return to_json({**self.row, "changed": self.changed, "best_metric": best})

    def reports_json(self) -> list[bytes]:
        """Elements of the parameter of `write_run_reports`."""
        revisions = self.revisions
        return [report_json(self.row["id"], report, revisions[kind]) for kind, report in self.written.items()]


def _object(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def order_of(row: Mapping[str, Any]) -> Order:
    """Where the report that a row holds stands."""
    return Order(row["timestamp_ms"], row["source_partition"], row["source_offset"], row["source_index"])


def life_of(reports: Mapping[str, Mapping[str, Any]]) -> Life:
    """From rows of `look_at_run_reports` by kind: the run's revision is that of its latest change."""
    held = {kind: Held(order_of(one), digest_of([one["said"], one["rest"]])) for kind, one in reports.items()}
    return Life(held.get(START), held.get(STOP), max((one["revision"] for one in reports.values()), default=0))


def report_json(model_run_id: str, report: RunReport, revision: int) -> bytes:
    record = report.record
    return to_json(
        {
            "id": model_run_id,
            "kind": START if report.starts else STOP,
            "revision": revision,
            "said": said_by(report),
            "rest": rest_of(report),
            "schema_version": report.schema_version,
            "source_topic": record.topic,
            "source_partition": record.partition,
            "source_offset": record.offset,
            "source_index": report.index,
            "timestamp_ms": record.timestamp_ms,
        }
    )
