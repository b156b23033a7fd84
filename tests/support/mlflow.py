"""A real MLflow server for tests, a mirror's ledger, and a look at what a server holds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from processor.core.errors import SetupError, TransientError
from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from processor.local.files import free_ports, locked
from processor.local.guard import Spec
from processor.local.mlflow import MlflowServer, install_mlflow
from processor.mlflow.content import KEY_TAG, TRIAL_TAG, key_of
from processor.mlflow.ports import Run
from processor.mlflow.rest import Access, RestTracking
from processor.mlflow.verify import BEGINNING
from processor.store.queries import load_queries
from processor.store.session import Session
from tests.support.patience import patient
from tests.support.processes import wait_until


class ProtectedServer(MlflowServer):
    """With MLflow's own users and passwords (`--app-name basic-auth`); `admin`, `ADMIN_PASSWORD` makes them."""

    ADMIN_PASSWORD = "a long password of the admin's"

    def _commands(self) -> list[list[str]]:
        return [[*super()._commands()[0], "--app-name", "basic-auth"]]

    def _spec(self) -> Spec:
        spec = super()._spec()
        own = {
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret of a test",
            "MLFLOW_AUTH_CONFIG_PATH": str(self._configuration()),
        }
        return {**spec, "environment": {**spec["environment"], **own}}

    def _configuration(self) -> Path:
        """As MLflow's own basic_auth.ini, with its database here, and a password's slow hash not at every request."""
        path = self.folder / "auth.ini"
        users = f"database_uri = sqlite:///{self.folder / 'users.db'}"
        path.write_text(
            f"[mlflow]\ndefault_permission = READ\nadmin_username = admin\n{users}\nauth_cache_ttl_seconds = 60\n"
        )
        return path

    def _answers(self) -> bool:
        try:
            self.as_admin().experiment("Default")
        except (TransientError, SetupError):
            return False
        return True

    def as_admin(self) -> RestTracking:
        return RestTracking(self.url, Access("admin", self.ADMIN_PASSWORD))


@contextmanager
def open_mlflow(folder: Path, kind: type[MlflowServer] = MlflowServer, backend: str = "") -> Iterator[MlflowServer]:
    """A server of its own, on SQLite where no other backend is given."""
    python = install_mlflow(lambda _: None)
    with locked(folder / "lock", 5, "in use") as lock:
        server = kind(folder / "mlflow", free_ports(1)[0], python, lock=lock, temporary=False, backend=backend)
        try:
            server.start()
            yield server
        finally:
            server.stop(10)


def all_runs(tracking: RestTracking, experiments: list[str]) -> list[Run]:
    """The active ones."""
    found, page = tracking.search(experiments, "", most=1000)
    runs = list(found)
    while page:
        found, page = tracking.search(experiments, "", page=page, most=1000)
        runs += found
    return runs


def newest_events(settings: Settings) -> dict[tuple[str, str], dict[str, Any]]:
    """The body of the newest event of each trial, as a read_committed consumer sees them."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for record in read_topic(settings, settings.events_topic):
        body = json.loads(record.value or b"{}")
        if "trial_id" in body:
            newest[body["model_run_id"], body["trial_id"]] = body
    return newest


def mirrored(settings: Settings, tracking: RestTracking, template: str = "cerebros/{run_id}") -> list[Run]:
    """All active runs that the mirror can have made for this test's trials."""
    names = {template.replace("{run_id}", run) for run, _ in newest_events(settings)}
    found = [tracking.experiment(name) for name in sorted(names)]
    return all_runs(tracking, [one.id for one in found if one is not None])


def check_mirrored(
    settings: Settings, tracking: RestTracking, template: str = "cerebros/{run_id}", server: str = ""
) -> int:
    """Every succeeded and failed trial has exactly one run with exactly its values; how many."""
    expected = newest_events(settings)
    runs: dict[str, list[Run]] = {}
    for run in mirrored(settings, tracking, template):
        if run.tags.get(TRIAL_TAG):
            runs.setdefault(run.tags[KEY_TAG], []).append(run)
    links = {(row["run_id"], row["trial_id"]): row for row in link_rows(settings, server)}
    assert sorted(key for key, found in runs.items() if len(found) > 1) == []
    for trial, body in expected.items():
        link = links[trial]
        [run] = runs.pop(link["key"])
        assert link["mlflow_run_id"] == run.run_id
        assert link["state"] == "linked"
        assert run.status == {"completed": "FINISHED", "failed": "FAILED"}[body["status"]], trial
        assert run.tags["cerebros.revision"] == str(body["revision"])
        numbers = {name: float(one) for name, one in body["metrics"].items() if isinstance(one, (int, float))}
        assert {name: run.metrics[name] for name in run.metrics if not name.startswith("cerebros.")} == numbers
        wanted = {name: one if isinstance(one, str) else json.dumps(one) for name, one in body["parameters"].items()}
        assert dict(run.params) == {**wanted, "spectral_norm": str(body["spectral_norm"]).lower()}
    assert runs == {}  # no run that no trial has
    assert key_of("a", "b") != key_of("ab", "")
    return len(expected)


def link_rows(settings: Settings, server: str = "") -> list[dict[str, Any]]:
    """Of one tracking server, or of all."""
    queries = {**load_queries(), "all_links": "select * from mlflow_links where $1 in (server, '')"}
    with Session(settings.database_url.get_secret_value(), queries=queries) as store:
        return store.fetch("all_links", server)


def wait_mirrored(settings: Settings, seconds: float = 60.0, server: str = "") -> None:
    """Until every event's revision is settled in its link."""
    expected = {trial: body["revision"] for trial, body in newest_events(settings).items()}

    def done() -> bool:
        links = {(row["run_id"], row["trial_id"]): row["synced_revision"] for row in link_rows(settings, server)}
        return all(links.get(trial) == revision for trial, revision in expected.items())

    wait_until(done, "every revision is mirrored", seconds)


def fingerprint(runs: list[Run]) -> list[Any]:
    """All that a server holds of runs, to compare with later."""

    def held(run: Run) -> tuple[Any, ...]:
        parts: tuple[Any, ...] = (run.tags, run.params, run.metrics)
        return (run.run_id, run.status, run.start_ms, run.end_ms, *(sorted(part.items()) for part in parts))

    return sorted(map(held, runs))


SEARCH = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
print(mlflow.search_runs(experiment_names=[sys.argv[2]]).to_json(orient="records", double_precision=15))
"""


def check_found_by_mlflow(uri: str, experiment: str, database_url: str) -> None:
    """By MLflow's own client: a run for each trial, with its params and numbers, below one parent a Cerebros run."""
    command = [str(install_mlflow(lambda _: None)), "-W", "ignore", "-c", SEARCH, uri, experiment]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=patient(120)).stdout)
    parents = {one["tags.cerebros.run_id"]: one for one in found if one["tags.cerebros.trial_id"] is None}
    trials = [one for one in found if one["tags.cerebros.trial_id"] is not None]
    children = {(one["tags.cerebros.run_id"], one["tags.cerebros.trial_id"]): one for one in trials}
    with Session(database_url) as store:
        rows = store.fetch("trials_to_mirror", "", BEGINNING, 100)
    assert len(found) == len(parents) + len(children)
    assert children.keys() == {(row["run_id"], row["trial_id"]) for row in rows}
    assert parents.keys() == {row["run_id"] for row in rows}
    assert {one["params.spectral_norm"] for one in children.values()} == {"true", "false"}
    for row in rows:
        run = children[row["run_id"], row["trial_id"]]
        assert run["tags.mlflow.parentRunId"] == parents[row["run_id"]]["run_id"]
        assert run["tags.mlflow.runName"] == row["trial_id"]
        assert run["status"] == {"succeeded": "FINISHED", "failed": "FAILED"}[row["status"]]
        assert run["params.spectral_norm"] == run["tags.spectral_norm"] == str(row["spectral_norm"]).lower()
        for name, value in row["parameters"].items():
            held = run[f"params.{name}"]
            assert (held if isinstance(value, str) else json.loads(held)) == value
        for name, value in row["metrics"].items():
            if isinstance(value, (int, float)):
                assert run[f"metrics.{name}"] == pytest.approx(value)
