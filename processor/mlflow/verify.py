"""Does the tracking server hold what the tables say? Page by page, in memory that does not grow; writes nothing.

A run of ours is compared in status, params and the newest value of each metric; a trainer's own run only in its key.
Runs that the mirror made for a trial whose link names another run are told as `doubled`. Tags and files are not
compared, and runs of trials that these tables know nothing of are somebody else's: another processor may mirror into
the same experiment.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from processor.mlflow.content import (
    KEY_TAG,
    NOTHING,
    RUN_TAG,
    SOURCE,
    SOURCE_TAG,
    TRIAL_TAG,
    WHOLE_RUN,
    Content,
    Happening,
    Progress,
    key_of,
)
from processor.mlflow.mapping import trial_content
from processor.mlflow.ports import LinkState, Run, Tracking, Trial
from processor.mlflow.rows import event_of

PAGE = 500
#: run ids in one question
ASKED = 100
MAX_SHOWN = 100
#: before the first page
BEGINNING = "00000000-0000-0000-0000-000000000000"


class Tables(Protocol):
    def page(self, after: str, limit: int) -> list[dict[str, Any]]: ...

    def doubled(self, runs: Sequence[tuple[str, str, str, bool]]) -> set[str]: ...

    def experiments(self) -> list[str]: ...

    def progress(self, trials: Sequence[Trial]) -> Mapping[Trial, Progress]: ...


class Difference(NamedTuple):
    """`kind` is no_run, behind, gone, status, params, metrics, doubled, or a link's state."""

    kind: str
    run_id: str
    trial_id: str
    mlflow_run_id: str
    detail: str


class Findings(msgspec.Struct):
    trials: int = 0
    runs: int = 0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    shown: list[Difference] = msgspec.field(default_factory=list)

    def add(self, difference: Difference) -> None:
        self.kinds[difference.kind] += 1
        if len(self.shown) < MAX_SHOWN:
            self.shown.append(difference)


#: kinds that applying the trial's event again may mend; a run that a person deleted stays so until it is restored
MENDABLE = frozenset({"no_run", "behind", *(one.value for one in LinkState if one is not LinkState.LINKED)})


class Verification:
    """Compares; with `mend` what differs is given to it, event by event, and doubled runs to `delete`."""

    def __init__(
        self,
        tracking: Tracking,
        tables: Tables,
        wanted: Callable[[Happening], bool],
        *,
        mend: Callable[[Sequence[Happening]], None] | None = None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._tracking, self._tables, self._wanted = tracking, tables, wanted
        self._mend, self._tell = mend, tell
        self.findings = Findings()

    def run(self) -> Findings:
        """Raises `TransientError` where a server is down."""
        for rows in self._pages():
            self._compare(rows)
            self.findings.trials += len(rows)
            self._tell(self.findings.trials)
        for experiment in self._tables.experiments():
            self._look_for_doubles(experiment)
        return self.findings

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        after = BEGINNING
        while rows := self._tables.page(after, PAGE):
            yield rows
            after = rows[-1]["row_id"]

    def _compare(self, rows: Sequence[Mapping[str, Any]]) -> None:
        runs = self._runs(rows)
        progress = self._tables.progress([(row["run_id"], row["trial_id"]) for row in rows])
        due: list[Happening] = []
        for row in rows:
            event = event_of(row)
            if not self._wanted(event):
                continue
            curves = progress.get(event.trial, NOTHING)
            kind, detail = self._problem(row, event, runs.get(row["mlflow_run_id"]), curves)
            if kind:
                run_id = row["mlflow_run_id"] or ""
                self.findings.add(Difference(kind, *event.trial, run_id, detail))
            if kind in MENDABLE:
                due.append(event)
        if self._mend is not None and due:
            self._mend(due)

    def _runs(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Run]:
        """The linked runs of a page, as the server has them."""
        found: dict[str, Run] = {}
        linked = [row for row in rows if row["mlflow_run_id"] and row["experiment_id"]]
        for start in range(0, len(linked), ASKED):
            part = linked[start : start + ASKED]
            ids = ", ".join(f"'{row['mlflow_run_id']}'" for row in part)
            experiments = sorted({row["experiment_id"] for row in part})
            runs, _ = self._tracking.search(experiments, f"attributes.run_id IN ({ids})", most=ASKED)
            found.update({run.run_id: run for run in runs})
        self.findings.runs += len(found)
        return found

    def _problem(
        self, row: Mapping[str, Any], event: Happening, run: Run | None, progress: Progress
    ) -> tuple[str, str]:
        if row["state"] is None:
            return "no_run", "it was never mirrored to this server"
        if row["state"] != LinkState.LINKED:
            return row["state"], row["detail"] or ""
        if row["synced_revision"] is None or (row["synced_ms"], row["synced_revision"]) < event.moment:
            return "behind", f"the run holds revision {row['synced_revision']}, the row has {event.moment.revision}"
        if run is None:
            return "gone", "the run is deleted, or was never this server's"
        if row["reported"]:
            return ("", "") if run.tags.get(KEY_TAG) == row["key"] else ("tags", "the run lacks the trial's key")
        return _differs(run, trial_content(event, progress))

    def _look_for_doubles(self, experiment: str) -> None:
        page, more = "", True
        doomed: list[str] = []
        while more:
            runs, page = self._tracking.search([experiment], f"tags.`{KEY_TAG}` != ''", page=page)
            doubled = self._tables.doubled([_named(run) for run in runs])
            for run in runs:
                if run.run_id in doubled:
                    self.findings.add(Difference("doubled", *_trial(run), run.run_id, "the trial's link names another"))
                    doomed.append(run.run_id)
            more = bool(page)
        if self._mend is not None:  # not between two pages: MLflow's token counts runs, and would pass over as many
            for run_id in doomed:
                self._tracking.delete_run(run_id)


def _trial(run: Run) -> Trial:
    return run.tags.get(RUN_TAG, ""), run.tags.get(TRIAL_TAG, WHOLE_RUN)


def _named(run: Run) -> tuple[str, str, str, bool]:
    """As `Tables.doubled` wants it."""
    return run.run_id, key_of(*_trial(run)), run.tags[KEY_TAG], run.tags.get(SOURCE_TAG) == SOURCE


def _differs(run: Run, content: Content) -> tuple[str, str]:
    if run.status != content.status:
        return "status", f"{run.status}, not {content.status}"
    for name in run.params.keys() | content.params.keys():
        if not _same(run.params.get(name), content.params.get(name)):
            return "params", name
    newest: dict[str, tuple[int, int, float]] = {}
    for one in content.metrics:
        newest[one.key] = max(newest.get(one.key, (-1, 0, 0.0)), (one.step, one.time_ms, one.value))
    for name in run.metrics.keys() | newest.keys():
        if name not in newest or run.metrics.get(name) != newest[name][2]:
            return "metrics", name
    return "", ""


def _same(one: str | None, other: str | None) -> bool:
    """jsonb writes numbers in its own way: 1e5 is 100000 there."""
    if one == other or one is None or other is None:
        return one == other
    try:
        return bool(json.loads(one) == json.loads(other))
    except (ValueError, RecursionError):
        return False
