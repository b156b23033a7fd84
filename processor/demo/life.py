"""What was told of runs and of trials before they ended, and whether all of it is there; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from processor.core.fields import STARTED, STOPPED
from processor.events.headers import event_id

#: accuracy after each epoch
METRIC = "accuracy"


class Told(NamedTuple):
    """What Postgres holds of it for the demo's runs."""

    runs: Sequence[Mapping[str, Any]] = ()
    starts: Sequence[Mapping[str, Any]] = ()
    metrics: Sequence[Mapping[str, Any]] = ()


class Life:
    """Written while sending: each run starts and stops once, each trial starts once, each metric has its step."""

    def __init__(self) -> None:
        self.started: dict[str, Mapping[str, Any]] = {}
        self.stopped: dict[str, Mapping[str, Any]] = {}
        self.trials: dict[tuple[str, str], bool] = {}
        self.metrics: dict[tuple[str, str, int], float] = {}

    @property
    def total(self) -> int:
        """Reports of it, of which each is a revision of a run, or a row."""
        return len(self.started) + len(self.stopped) + len(self.trials) + len(self.metrics)

    def events(self) -> dict[str, dict[str, Any]]:
        """The events of the runs, body by ce_id; of progress there are none."""
        bodies: dict[str, dict[str, Any]] = {}
        for run_id, said in self.started.items():
            about = {"event": STARTED, "model_run_id": run_id, "state": "running", "revision": 1}
            bodies[event_id(run_id, "", 1)] = {**said, **about, "metadata": {}}
        for run_id, said in self.stopped.items():
            about = {"event": STOPPED, "model_run_id": run_id, "state": "succeeded", "revision": 2}
            bodies[event_id(run_id, "", 2)] = {**said, **about, "error_message": None, "result": {}}
        return bodies


def compare_life(life: Life, told: Told) -> Iterable[str]:
    """Every difference, a sentence each."""
    runs = {row["run_id"]: row for row in told.runs}
    for run_id, start in life.started.items():
        expected = {**start, **life.stopped.get(run_id, {})}
        expected["state"] = "succeeded" if run_id in life.stopped else "running"
        row = runs.get(run_id, {})
        wrong = [name for name, value in expected.items() if row.get(name) != value]
        yield from (f"run {run_id}: {name} is {row.get(name)} instead of {expected[name]}" for name in wrong)
    starts = {(row["run_id"], row["trial_id"]): row["spectral_norm"] for row in told.starts}
    metrics = {(row["run_id"], row["trial_id"], row["step"]): row["value"] for row in told.metrics}
    yield from _compare("start", life.trials, starts)
    yield from _compare("metric", life.metrics, metrics)


def _compare(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> Iterable[str]:
    for key in expected.keys() | found.keys():
        if expected.get(key) != found.get(key):
            yield f"{what} {'/'.join(map(str, key))} is {found.get(key)} instead of {expected.get(key)}"
