"""Pieces of the mirror with a real MLflow or a real Postgres: the client's sorting of answers, the links' SQL, the page
that `verify` reads, parents, and runs that trainers make."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from processor.core.errors import SetupError, TransientError
from processor.core.settings import Settings
from processor.local.mlflow import MlflowServer
from processor.mlflow.content import KEY_TAG, RUN_TAG, TRIAL_TAG, Metric, Moment, key_of
from processor.mlflow.experiments import identify
from processor.mlflow.memory import Memory
from processor.mlflow.ports import Link, LinkState, Refused
from processor.mlflow.rest import RestTracking
from processor.store.mlflow_links import MlflowLinks
from processor.store.session import Session
from tests.factories import produce, report
from tests.support.http_proxy import HttpProxy
from tests.support.mlflow import all_runs, check_found_by_mlflow, link_rows, wait_mirrored
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import rows, wait_settled

Start = Callable[..., Process]


def test_a_server_is_recognised_and_an_experiment_is_made_once(tracking: RestTracking) -> None:
    assert identify(tracking) == identify(tracking)
    assert tracking.create_experiment("once", {}).id == tracking.create_experiment("once", {}).id
    assert tracking.experiment("never") is None


def test_what_is_written_is_what_is_read_however_odd(tracking: RestTracking) -> None:
    run = tracking.create_run(tracking.create_experiment("odd", {}).id, "n", 5, {"cerebros.key": "abc"})
    params = [("empty", ""), ("long", "x" * 6000), ("größe: a/b", '"\n')]
    tracking.log(run.run_id, [Metric("a", 1e-320, 7, 0), Metric("a", -1.5, 8, 2**62)], params, [("t", "y" * 5000)])
    tracking.update_run(run.run_id, "FINISHED", 9)
    tracking.update_run(run.run_id, "FAILED", None)  # and the end stays
    found = tracking.run(run.run_id)
    assert found is not None
    assert (found.status, found.start_ms, found.end_ms) == ("FAILED", 5, 9)
    assert (dict(found.params), found.metrics["a"], found.tags["t"]) == (dict(params), -1.5, "y" * 5000)
    assert tracking.put_file(run, "cerebros/größe.json", b"{}")
    [same], _ = tracking.search([run.experiment_id], "tags.`cerebros.key` = 'abc'")
    assert same.run_id == run.run_id
    tracking.delete_run(run.run_id)
    tracking.delete_run(run.run_id)
    assert tracking.search([run.experiment_id], "") == ([], "")
    with pytest.raises(Refused):
        tracking.log(run.run_id, [], [], [("t", "z")])


ANSWERS = [(401, SetupError), (403, SetupError), (302, SetupError), (413, Refused), (400, Refused)]
WAITS = [(status, TransientError) for status in (404, 405, 408, 410, 429, 500, 502, 503, 504)]


@pytest.mark.parametrize(("status", "kind"), [*ANSWERS, *WAITS])
def test_an_answer_is_sorted_by_its_code(status: int, kind: type[Exception], mlflow_server: MlflowServer) -> None:
    with HttpProxy(mlflow_server.port) as proxy:
        proxy.status = status
        with pytest.raises(kind, match=f"HTTP {status}") as caught:
            RestTracking(proxy.url).search(["0"], "")
        assert getattr(caught.value, "after_s", 1.0) == 1.0  # what Retry-After says


def test_a_server_that_is_none_and_one_that_is_no_mlflow_are_waited_for(mlflow_server: MlflowServer) -> None:
    with pytest.raises(TransientError, match="does not answer"):
        RestTracking("http://127.0.0.1:1").experiment("x")


@pytest.fixture
def memory(store: Session) -> Memory:
    return Memory(MlflowLinks(store, "s" * 32))


def test_an_intent_is_written_once_and_a_run_is_remembered_once(memory: Memory) -> None:
    trial = ("run", "t")
    first = memory.begin({trial: "key"})[trial]
    again = memory.begin({trial: "other"})[trial]
    assert (first.fresh, again.fresh, again.key) == (True, False, "key")
    made = Link(*trial, "key", experiment_id="1", mlflow_run_id="r1")
    assert memory.record([made]) == {trial}
    assert memory.record([Link(*trial, "key", experiment_id="1", mlflow_run_id="r2")]) == set()
    assert memory.doubtful(0.0, 10)[0].mlflow_run_id == "r1"  # it was there without a run once
    memory.trust([made])
    assert memory.doubtful_count() == 0


def test_a_run_that_another_mirror_has_remembered_before_its_maker_is_the_makers_too(memory: Memory) -> None:
    trial = ("run", "t")
    memory.begin({trial: "key"})
    made = Link(*trial, "key", experiment_id="1", mlflow_run_id="r1", state=LinkState.LINKED, shape="as it is")
    assert memory.record([made]) == memory.record([msgspec.structs.replace(made, shape=None)]) == {trial}
    assert memory.begin({trial: "key"})[trial].shape == "as it is"


def test_a_double_is_what_was_made_for_a_trial_whose_link_names_another_run(store: Session) -> None:
    links = MlflowLinks(store, "s" * 32)
    memory = Memory(links)
    for name, run_id, reported in (("own", "r1", False), ("named", "r2", True)):
        memory.begin({("run", name): name})
        memory.record([Link("run", name, name, experiment_id="1", mlflow_run_id=run_id, reported=reported)])
    memory.begin({("run", "pending"): "pending"})
    others = {"r1": ("own", "own"), "twin": ("own", "own"), "former": ("own", "k"), "once named": ("own", "k")}
    others |= {"r2": ("named", "named"), "before": ("named", "named"), "being made": ("pending", "pending")}
    others |= {"theirs": ("who", "who")}
    runs = [(run, key_of("run", trial), key, run == "former") for run, (trial, key) in others.items()]
    assert links.doubled(runs) == {"twin", "former"}
    assert links.doubled([]) == set()


def test_a_link_never_goes_back(memory: Memory) -> None:
    trial = ("run", "t")
    memory.begin({trial: "key"})
    made = Link(*trial, "key", experiment_id="1", mlflow_run_id="r1", state=LinkState.LINKED)
    memory.record([made])
    for revision in (2, 1):
        memory.settle([Link(*trial, "key", "1", "r1", state=LinkState.LINKED, moment=Moment(5, revision))])
    assert memory.begin({trial: "key"})[trial].moment == Moment(5, 2)


def test_what_was_put_aside_never_hides_what_another_mirror_has_settled_since(memory: Memory) -> None:
    trial = ("run", "t")
    link = memory.begin({trial: "key"})[trial]
    memory.refuse(link, LinkState.FAILING, "HTTP 500", Moment(5, 1))
    assert memory.begin({trial: "key"})[trial].state is LinkState.FAILING
    made = Link(*trial, "key", "1", "r1", state=LinkState.LINKED, moment=Moment(5, 2))
    memory.record([made])
    memory.settle([made])
    memory.refuse(link, LinkState.FAILING, "HTTP 500", Moment(5, 2))
    assert memory.begin({trial: "key"})[trial].state is LinkState.LINKED
    memory.refuse(link, LinkState.FAILING, "HTTP 500", Moment(6, 3))
    assert memory.begin({trial: "key"})[trial].state is LinkState.FAILING


def test_runs_that_trainers_made_and_ids_that_lead_nowhere(
    settings: Settings, start: Start, mlflow_server: MlflowServer, tracking: RestTracking, environment: dict[str, str]
) -> None:
    """Each state is told by `status`, the trainer's own run keeps what is its own, and `--create-missing` helps."""
    experiment = tracking.create_experiment(f"{settings.group_id}/trainers", {}).id
    own = tracking.create_run(experiment, "trainer's", 1, {})
    tracking.log(own.run_id, [Metric("accuracy", 0.1, 1, 1)], [("lr", "True")], [])
    deleted = tracking.create_run(experiment, "deleted", 1, {})
    tracking.delete_run(deleted.run_id)
    ids = {"own": own.run_id, "again": own.run_id, "deleted": deleted.run_id, "missing": "f" * 32, "odd": "mlflow_abc"}
    reports = [report(trial_id=trial, mlflow_run_id=run_id) for trial, run_id in ids.items()]
    send(settings, reports)
    start("ingest")
    start("relay")
    wait_settled(settings)
    variables = {
        "PROCESSOR_MLFLOW_TRACKING_URI": mlflow_server.url,
        "PROCESSOR_MLFLOW_EXPERIMENT": f"{settings.group_id}/{{run_id}}",
    }
    first = start("mlflow", **variables)
    wait_until(lambda: states(settings).keys() == ids.keys() and "pending" not in states(settings).values(), "told", 60)
    expected = {"own": "linked", "again": "foreign", "deleted": "deleted", "missing": "missing", "odd": "malformed"}
    assert states(settings) == expected
    found = tracking.run(own.run_id)
    assert found is not None
    assert (found.status, dict(found.params), found.metrics["accuracy"]) == ("RUNNING", {"lr": "True"}, 0.1)
    assert (found.metrics["loss"], found.tags["cerebros.trial_id"]) == (0.25, "own")
    shown = run_command({**environment, **variables}, "status")
    assert "MLflow links: malformed" in shown.stdout
    checked = run_command({**environment, **variables}, "mlflow", "verify")
    assert checked.returncode == 1
    assert "malformed" in checked.stdout
    assert first.stop() == 0
    send(settings, [report(trial_id=trial, mlflow_run_id=run_id, rank=7) for trial, run_id in ids.items()])
    wait_settled(settings)
    start("mlflow", PROCESSOR_MLFLOW_CREATE_MISSING="true", **variables)
    wait_mirrored(settings)
    assert set(states(settings).values()) == {"linked"}
    assert run_command({**environment, **variables}, "mlflow", "verify").returncode == 0


def states(settings: Settings) -> dict[str, str]:
    return {row["trial_id"]: row["state"] for row in link_rows(settings)}


def send(settings: Settings, reports: list[dict[str, Any]]) -> None:
    messages = [(one["run_id"], json.dumps(one).encode()) for one in reports]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)


@pytest.mark.timeout(400)  # it starts MLflow, and then its client
def test_a_run_is_the_parent_of_its_trials_with_their_curves_and_ends_when_it_stops(
    settings: Settings, start: Start, mlflow_server: MlflowServer, tracking: RestTracking, environment: dict[str, str]
) -> None:
    name = f"{settings.group_id} all"
    said = {"event": "ml.run.metric", "run_id": "run-1", "trial_id": "t", "metric_name": "loss"}
    progress = [{**said, "metric_value": 3 - n, "step": n} for n in range(3)]
    started = {"event": "ml.run.start", "run_id": "run-1", "requested_trials": 2}
    stopped = {"event": "ml.run.stop", "run_id": "run-1", "state": "failed", "best_metric": 0.5}
    plain = report(
        trial_id="plain", mlflow_run_id=None, spectral_norm=False, status="failed", parameters={"x": [1, "a"]}
    )
    send(settings, [started, *progress, report(trial_id="t", mlflow_run_id=None), plain, stopped])
    start("ingest")
    start("relay")
    wait_settled(settings)
    variables = {"PROCESSOR_MLFLOW_TRACKING_URI": mlflow_server.url, "PROCESSOR_MLFLOW_EXPERIMENT": name}
    start("mlflow", **variables)
    wait_mirrored(settings)

    def runs() -> dict[str, Any]:
        found = tracking.experiment(name)
        return {one.tags["mlflow.runName"]: one for one in all_runs(tracking, [found.id])} if found else {}

    wait_until(lambda: "run-1" in runs() and runs()["run-1"].status == "FAILED", "the parent has ended")
    parent, child = runs()["run-1"], runs()["t"]
    assert child.tags["mlflow.parentRunId"] == parent.run_id
    assert parent.metrics["cerebros.best_metric"] == 0.5
    assert (child.metrics["loss"], child.status) == (0.25, "FINISHED")
    history = tracking._get("metrics/get-history", run_id=child.run_id, metric_key="loss")["metrics"]
    assert [(one["step"], one["value"]) for one in history] == [(0, 3.0), (1, 2.0), (2, 1.0), (3, 0.25)]
    check_found_by_mlflow(mlflow_server.url, name, environment["PROCESSOR_DATABASE_URL"])
    assert run_command({**environment, **variables}, "mlflow", "verify").returncode == 0


def test_what_was_never_mirrored_is_made_from_the_tables_and_what_is_doubled_is_deleted(
    settings: Settings, start: Start, mlflow_server: MlflowServer, tracking: RestTracking, environment: dict[str, str]
) -> None:
    send(settings, [report(trial_id=f"t{n}", mlflow_run_id=None, metrics={"x": 1e5 + n}) for n in range(7)])
    start("ingest")
    wait_rows(settings, 7)
    variables = {
        "PROCESSOR_MLFLOW_TRACKING_URI": mlflow_server.url,
        "PROCESSOR_MLFLOW_EXPERIMENT": f"{settings.group_id}/{{run_id}}",
    }
    command = {**environment, **variables}
    assert "no_run 7" in run_command(command, "mlflow", "verify").stdout
    run_command(command, "mlflow", "verify", "--mend")
    assert run_command(command, "mlflow", "verify").returncode == 0
    found = tracking.experiment(f"{settings.group_id}/run-1")
    assert found is not None
    tags = {KEY_TAG: key_of("run-1", "t1"), RUN_TAG: "run-1", TRIAL_TAG: "t1"}
    twin = tracking.create_run(found.id, "twin", 1, tags)
    theirs = tracking.create_run(found.id, "theirs", 1, {**tags, KEY_TAG: "0" * 32, TRIAL_TAG: "another processor's"})
    assert "doubled 1" in run_command(command, "mlflow", "verify").stdout
    run_command(command, "mlflow", "verify", "--mend")
    assert run_command(command, "mlflow", "verify").returncode == 0
    left = {one.run_id for one in all_runs(tracking, [found.id])}
    assert (twin.run_id in left, theirs.run_id in left) == (False, True)


def wait_rows(settings: Settings, number: int) -> None:
    wait_until(lambda: rows(settings) == number, "rows")
