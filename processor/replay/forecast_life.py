"""What run reports and progress would do, for `replay --window --dry-run`.

Each run's, and each row's, first report is judged beside what the tables hold, later ones beside what the earlier would
have left. Where unknown runs are rejected, a report that stands just before the start of its run may count as written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from processor.core.life import Life
from processor.core.messages import Progress, Report, RunReport
from processor.core.verdict import Verdict
from processor.replay.life import LifeFold, Ran, key_of
from processor.store.life_tables import LifeTables
from processor.store.progress import Key, Last


class Told(NamedTuple):
    """What one report would do; `is_first` where its row would change by it, and has not by one before it."""

    verdict: Verdict
    is_first: bool
    has_event: bool = False
    trial_id: str = ""
    from_revision: int = 0
    fields: tuple[str, ...] = ()


class LifeForecaster:
    """Judges what comes and writes nothing but its own fold."""

    def __init__(self, tables: LifeTables, fold: LifeFold, *, create_runs: bool) -> None:
        self._tables, self._fold, self._create_runs = tables, fold, create_runs

    def makes(self, run_id: str) -> bool:
        """Whether a start that came so far would have made the run, where no other report may."""
        found = self._fold.run(run_id)
        return found is not None and found.life.start is not None

    def take(self, reports: Sequence[Report]) -> Iterator[tuple[Report, Told | None]]:
        """Each report with what it would do; None: its run is unknown, and it would be rejected."""
        of_runs = [one for one in reports if isinstance(one, RunReport)]
        progress = [one for one in reports if isinstance(one, Progress)]
        new = {one.run_id for one in (*of_runs, *progress) if self._fold.run(one.run_id) is None}
        held = self._tables.runs(list(new)) if new else {}
        for one in of_runs:
            known = self._create_runs or one.run_id in held or self.makes(one.run_id) or one.starts
            yield one, self._run(one, held) if known else None
        known_runs = {one.run_id for one in progress if one.run_id in held or self.makes(one.run_id)}
        known_runs |= {one.run_id for one in progress} - new
        yield from self._progress(progress, None if self._create_runs else known_runs)

    def _run(self, report: RunReport, tables: Mapping[str, Life]) -> Told:
        before = self._fold.run(report.run_id)
        held = before or Ran(report.run_id, tables.get(report.run_id, Life()))
        verdict = self._fold.take_run(report, held)
        changes = verdict <= Verdict.CHANGED
        what = ("start" if report.starts else "stop",)
        return Told(verdict, changes and not held.changes, changes, "", held.life.revision, what)

    def _progress(
        self, reports: Sequence[Progress], known_runs: Collection[str] | None
    ) -> Iterator[tuple[Report, Told | None]]:
        """`known_runs` None: an unknown run is made."""
        keys = {key_of(one) for one in reports}
        new = [key for key in keys if self._fold.row(key) is None]
        held = {
            **_looked(self._tables.starts, [key for key in new if len(key) == 2]),
            **_looked(self._tables.metrics, [key for key in new if len(key) > 2]),
        }
        for one in reports:
            if known_runs is not None and one.run_id not in known_runs:
                yield one, None
                continue
            key = key_of(one)
            before = self._fold.row(key)
            changed = before is not None and before.changed
            verdict = self._fold.take_progress(one, before.last if before else held.get(key), changed=changed)
            what = ("start",) if one.starts else (" at step ".join(str(part) for part in key[2:] if part is not None),)
            yield one, Told(verdict, not changed and verdict <= Verdict.CHANGED, False, one.trial_id, 0, what)


def _looked(look: Callable[[Sequence[Key]], Mapping[Key, Last]], keys: Sequence[Key]) -> Mapping[Key, Last]:
    return look(keys) if keys else {}
