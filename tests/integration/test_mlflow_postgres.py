"""A tracking server that keeps its runs in PostgreSQL, where columns are narrower than in SQLite."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from processor.core.settings import Settings
from processor.local.mlflow import MlflowServer
from processor.mlflow.content import Metric
from processor.mlflow.names import experiment_name
from processor.mlflow.rest import RestTracking
from tests.conftest import database, execute
from tests.factories import load, produce
from tests.support.backends import Servers
from tests.support.mlflow import check_mirrored, open_mlflow, wait_mirrored
from tests.support.processes import Process, run_command
from tests.support.settle import wait_settled

#: the first test starts a server of its own: a minute where many do at once
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def on_postgres(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    name = f"mlflow_{os.getpid()}"
    execute(servers.database_url, f"create database {name}")
    backend = database(servers.database_url, name).replace("postgresql://", "postgresql+psycopg2://")
    with open_mlflow(tmp_path_factory.mktemp("mlflow"), backend=backend) as server:
        yield server
    execute(servers.database_url, f"drop database {name} with (force)")


def test_trials_are_mirrored_into_it_as_into_any_other(
    settings: Settings, start: Callable[..., Process], environment: dict[str, str], on_postgres: MlflowServer
) -> None:
    own = {
        "PROCESSOR_MLFLOW_TRACKING_URI": on_postgres.url,
        "PROCESSOR_MLFLOW_EXPERIMENT": f"{settings.group_id}/{{run_id}}",
    }
    start("ingest")
    start("relay")
    messages = [(key, value.replace(b'"mlflow_run_id"', b'"other_id"')) for key, value in load(60, seed=61)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    wait_settled(settings)
    start("mlflow", **own)
    wait_mirrored(settings, 120)
    assert check_mirrored(settings, RestTracking(on_postgres.url), own["PROCESSOR_MLFLOW_EXPERIMENT"]) > 20
    assert run_command({**environment, **own}, "mlflow", "verify").returncode == 0


def test_what_is_as_large_as_the_mirror_writes_it_fits(on_postgres: MlflowServer) -> None:
    tracking = RestTracking(on_postgres.url)
    tags = {"cerebros.key": "abc", "cerebros.run_id": "ä" * 5000, "cerebros.trial_id": "x" * 5000}
    run = tracking.create_run(
        tracking.create_experiment(experiment_name("e{run_id}", "x" * 500), {}).id, "n" * 250, 5, tags
    )
    params = [("k" * 250, "x" * 6000), ("größe: a/b", '"\n')]
    points = [Metric("a", -1.7e308, 8, 2**62), Metric("k" * 250, 1e-320, 2**52, 0)]
    tracking.log(run.run_id, points, params, [("t", "ß" * 5000)])
    tracking.update_run(run.run_id, "FAILED", 2**52)
    found = tracking.run(run.run_id)
    assert found is not None
    assert dict(found.params) == dict(params)
    assert dict(found.metrics) == {"a": -1.7e308, "k" * 250: 1e-320}
    assert (found.tags["t"], found.end_ms) == ("ß" * 5000, 2**52)
