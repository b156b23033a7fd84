"""A tracking server and a memory behind the mirror's protocols, for faults that can't be made for real."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from processor.core.errors import TransientError
from processor.mlflow.content import KEY_TAG, Happening, Metric, Moment, Progress
from processor.mlflow.crew import Crew
from processor.mlflow.experiments import Experiments
from processor.mlflow.filling import Filler
from processor.mlflow.once import Mirror
from processor.mlflow.ports import Experiment, Link, LinkState, Refused, Run, Trial


class Down(TransientError):  # noqa: N818 - what happened, not an error of ours
    """What a request meets whose answer is lost."""


class FakeTracking:
    """Behaves as MLflow does where the mirror relies on it; `before` and `after` each call may raise."""

    def __init__(self) -> None:
        self.experiments: dict[str, Experiment] = {}
        self.runs: dict[str, Run] = {}
        self.files: dict[tuple[str, str], bytes] = {}
        self.calls: list[str] = []
        self.before: Callable[[str, Any], None] = lambda name, args: None
        self.after: Callable[[str, Any], None] = lambda name, args: None
        self._ids = itertools.count(1)

    def _call(self, name: str, args: Any, work: Callable[[], Any]) -> Any:
        self.calls.append(name)
        self.before(name, args)
        result = work()
        self.after(name, args)
        return result

    def experiment(self, name: str) -> Experiment | None:
        return self._call("experiment", name, lambda: self.experiments.get(name))  # type: ignore[no-any-return]

    def create_experiment(self, name: str, tags: Mapping[str, str]) -> Experiment:
        made = Experiment(str(next(self._ids)), True, dict(tags))
        return self._call("create_experiment", name, lambda: self.experiments.setdefault(name, made))  # type: ignore[no-any-return]

    def tag_experiment(self, experiment_id: str, key: str, value: str) -> None:
        self._call("tag_experiment", key, lambda: None)

    def create_run(self, experiment_id: str, name: str, start_ms: int, tags: Mapping[str, str]) -> Run:
        def make() -> Run:
            run_id = f"{next(self._ids):032x}"
            run = Run(
                run_id,
                experiment_id,
                "RUNNING",
                True,
                start_ms,
                None,
                f"mlflow-artifacts:/{run_id}",
                dict(tags),
                {},
                {},
            )
            self.runs[run_id] = run
            return run

        return self._call("create_run", name, make)  # type: ignore[no-any-return]

    def run(self, run_id: str) -> Run | None:
        return self._call("run", run_id, lambda: self.runs.get(run_id))  # type: ignore[no-any-return]

    def search(
        self, experiment_ids: Sequence[str], filter_: str, *, page: str = "", most: int = 1000, deleted: bool = False
    ) -> tuple[list[Run], str]:
        key = filter_.rpartition("= '")[2].rstrip("'")

        def look() -> list[Run]:
            return [one for one in self.runs.values() if one.active and one.tags.get(KEY_TAG) == key]

        return self._call("search", key, look), ""

    def log(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[tuple[str, str]], tags: Sequence[tuple[str, str]]
    ) -> None:
        def write() -> None:
            run = self.runs[run_id]
            if not run.active:
                raise Refused("the run must be in the 'active' state")
            if any(run.params.get(key, value) != value for key, value in params):
                raise Refused("changing params is not allowed")
            values = {**run.metrics, **{one.key: one.value for one in metrics}}
            self._change(run_id, params={**run.params, **dict(params)}, metrics=values, tags={**run.tags, **dict(tags)})

        self._call("log", run_id, write)

    def update_run(self, run_id: str, status: str, end_ms: int | None) -> None:
        ends = {} if end_ms is None else {"end_ms": end_ms}
        self._call("update_run", run_id, lambda: self._change(run_id, status=status, **ends))

    def delete_run(self, run_id: str) -> None:
        self._call("delete_run", run_id, lambda: self._change(run_id, active=False))

    def put_file(self, run: Run, path: str, content: bytes) -> bool:
        self._call("put_file", path, lambda: self.files.update({(run.run_id, path): content}))
        return True

    def _change(self, run_id: str, **fields: Any) -> None:
        self.runs[run_id] = msgspec.structs.replace(self.runs[run_id], **fields)

    @property
    def active(self) -> list[Run]:
        return [run for run in self.runs.values() if run.active]


class FakeLinks:
    """The memory, as the tables keep it."""

    def __init__(self) -> None:
        self.links: dict[Trial, Link] = {}
        self.refused: list[tuple[Trial, LinkState, str]] = []
        self.curves: dict[Trial, Progress] = {}

    def begin(self, trials: Mapping[Trial, str]) -> dict[Trial, Link]:
        found = {}
        for trial, key in trials.items():
            fresh = trial not in self.links
            if fresh:
                self.links[trial] = Link(*trial, key)
            found[trial] = msgspec.structs.replace(self.links[trial], fresh=fresh)
        return found

    def record(self, made: Sequence[Link]) -> set[Trial]:
        ours = set()
        for link in made:
            held = self.links[link.trial]
            if held.mlflow_run_id in (None, link.mlflow_run_id) and held.key == link.key:
                self.links[link.trial] = msgspec.structs.replace(link, fresh=False)
                ours.add(link.trial)
        return ours

    def replace(self, link: Link, free: Link) -> None:
        self.links[link.trial] = free

    def settle(self, done: Sequence[Link]) -> None:
        for link in done:
            self.links[link.trial] = msgspec.structs.replace(link, fresh=False)

    def refuse(self, link: Link, state: LinkState, detail: str, moment: Moment) -> None:
        self.refused.append((link.trial, state, detail))
        self.links[link.trial] = msgspec.structs.replace(self.links[link.trial], state=state)

    def progress(self, trials: Sequence[Trial]) -> Mapping[Trial, Progress]:
        return {trial: self.curves[trial] for trial in trials if trial in self.curves}


def make_mirror(
    tracking: FakeTracking, links: FakeLinks, *, parents: bool = False, create_missing: bool = False
) -> Mirror:
    experiments = Experiments(tracking, "all" if parents else "cerebros/{run_id}")
    crew = Crew(tracking, links, 2, lambda: True)
    filler = Filler(tracking, "bent")
    return Mirror(tracking, links, experiments, filler, crew, parents=parents, create_missing=create_missing)


def trial(trial_id: str = "t1", revision: int = 1, *, run_id: str = "run", **body: Any) -> Happening:
    """A revision of a trial that succeeded, each a second after the one before."""
    said = {
        "status": "completed",
        "spectral_norm": True,
        "metrics": {"accuracy": 0.5},
        "parameters": {"lr": 0.1},
        "duration_ms": 1500,
        "warnings": [],
        "revision": revision,
        **body,
    }
    return Happening(
        "ml.trial.complete", run_id, trial_id, Moment(1_700_000_000_000 + revision * 1000, revision), "id", said
    )


def of_run(kind: str, state: str, revision: int, **body: Any) -> Happening:
    moment = Moment(1_700_000_000_000 + revision * 10_000, revision)
    return Happening(f"ml.run.{kind}", "run", "", moment, "id", {"state": state, "revision": revision, **body})
