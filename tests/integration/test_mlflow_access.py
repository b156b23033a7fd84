"""The mirror and a tracking server with MLflow's own users and passwords, behind TLS of an authority of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cerebros_client.mlflow import log_files

from processor.core.settings import Settings
from processor.mlflow.ports import Run
from processor.mlflow.rest import Access, RestTracking
from tests.factories import produce, report
from tests.support.certificates import Authority
from tests.support.http_proxy import HttpProxy
from tests.support.mlflow import ProtectedServer, link_rows, open_mlflow
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import wait_settled

Start = Callable[..., Process]
#: the first test starts a server of its own: a minute where many do at once
pytestmark = pytest.mark.timeout(400)
USER, PASSWORD, LATER = "mirror", "a long password of ours", "another long password"


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProtectedServer]:
    """With a user who is no admin."""
    with open_mlflow(tmp_path_factory.mktemp("mlflow"), ProtectedServer) as server:
        assert isinstance(server, ProtectedServer)
        server.as_admin()._post("users/create", username=USER, password=PASSWORD)
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority("MLflow's")
    (tmp_path / "ca.pem").write_text(authority.certificate)
    (tmp_path / "wrong.pem").write_text(Authority("somebody else's").certificate)
    (tmp_path / "server.pem").write_text("".join(authority.issue("localhost", addresses=("127.0.0.1",))))
    return authority


@pytest.fixture
def front(protected: ProtectedServer, authority: Authority, tmp_path: Path) -> Iterator[HttpProxy]:
    with HttpProxy(protected.port, tmp_path / "server.pem") as opened:
        yield opened


@pytest.fixture
def access(front: HttpProxy, settings: Settings, tmp_path: Path) -> dict[str, str]:
    return {
        "PROCESSOR_MLFLOW_TRACKING_URI": front.url,
        "PROCESSOR_MLFLOW_EXPERIMENT": f"{settings.group_id}/{{run_id}}",
        "PROCESSOR_MLFLOW_USERNAME": USER,
        "PROCESSOR_MLFLOW_PASSWORD": PASSWORD,
        "PROCESSOR_MLFLOW_CA_FILE": str(tmp_path / "ca.pem"),
    }


WRONG = [
    ({"PROCESSOR_MLFLOW_PASSWORD": "wrong"}, "HTTP 401", "check user, password or token"),
    ({"PROCESSOR_MLFLOW_CA_FILE": "wrong.pem"}, "CERTIFICATE_VERIFY_FAILED", "check PROCESSOR_MLFLOW_CA_FILE"),
    ({"PROCESSOR_MLFLOW_CA_FILE": "missing.pem"}, "cannot read", "missing.pem: No such file"),
]


@pytest.mark.parametrize(("change", "what", "advice"), WRONG)
def test_a_wrong_password_and_a_wrong_authority_end_it_with_one_sentence(
    change: dict[str, str],
    what: str,
    advice: str,
    access: dict[str, str],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    wrong = {name: str(tmp_path / value) if name.endswith("FILE") else value for name, value in change.items()}
    done = run_command({**environment, **access, **wrong}, "mlflow", "verify")
    assert done.returncode in (1, 2)
    [line] = [one for one in done.stderr.splitlines() if one.startswith("processor: ")]
    assert what in line
    assert advice in line
    assert PASSWORD not in done.stderr
    assert "Traceback" not in done.stderr


def test_trials_are_mirrored_through_tls_by_a_user_whose_password_changes_and_who_may_not_write_everywhere(
    settings: Settings,
    start: Start,
    access: dict[str, str],
    environment: dict[str, str],
    protected: ProtectedServer,
) -> None:
    """A run that this user may not write is told and holds up nobody; a new password is asked for, and nothing lost."""
    admin = protected.as_admin()
    theirs = report_run_of_somebody_else(settings, start, admin)
    send(settings, "ours")
    running = start("mlflow", **access)
    wait_until(lambda: states(settings) == {"theirs": "forbidden", "ours": "linked"}, "each is told", 60)
    assert running.running
    admin._ask("PATCH", "/api/2.0/mlflow/users/update-password", body=as_json(username=USER, password=LATER))
    send(settings, "later")
    assert running.wait(60) == 1
    assert "HTTP 401" in running.said()
    start("mlflow", **{**access, "PROCESSOR_MLFLOW_PASSWORD": LATER})
    wait_until(lambda: states(settings).get("later") == "linked", "it goes on", 60)
    admin._ask("PATCH", "/api/2.0/mlflow/users/update-password", body=as_json(username=USER, password=PASSWORD))
    grant = as_json(username=USER, resource_type="experiment", resource_id=theirs.experiment_id, permission="EDIT")
    admin._ask("POST", "/api/3.0/mlflow/users/permissions/grant", body=grant)
    run_command({**environment, **access}, "mlflow", "verify", "--mend")
    assert set(states(settings).values()) == {"linked"}


def test_a_trial_that_names_a_run_which_may_not_be_written_gets_one_of_its_own_where_that_is_wanted(
    settings: Settings, start: Start, access: dict[str, str], protected: ProtectedServer
) -> None:
    admin = protected.as_admin()
    theirs = report_run_of_somebody_else(settings, start, admin)
    start("mlflow", PROCESSOR_MLFLOW_CREATE_MISSING="true", **access)
    wait_until(lambda: states(settings) == {"theirs": "linked"}, "it is linked", 60)
    [link] = [row for row in link_rows(settings) if row["trial_id"]]
    run = admin.run(link["mlflow_run_id"])
    assert run is not None
    assert (run.run_id != theirs.run_id, run.tags["cerebros.reported_run_id"]) == (True, theirs.run_id)
    untouched = admin.run(theirs.run_id)
    assert untouched is not None
    assert not [name for name in untouched.tags if name.startswith("cerebros.")]


def states(settings: Settings) -> dict[str, str]:
    return {row["trial_id"]: row["state"] for row in link_rows(settings) if row["trial_id"]}


def test_files_go_into_a_run_through_tls_with_the_variables_of_mlflows_own_client(
    access: dict[str, str], front: HttpProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = RestTracking(front.url, Access(USER, PASSWORD, ca_file=str(tmp_path / "ca.pem")))
    run = ours.create_run(ours.create_experiment("files", {}).id, "trial", 1, {})
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "ca.pem"))
    (tmp_path / "plot.png").write_bytes(b"plot")
    uri = log_files(run.run_id, tmp_path / "plot.png", tracking_uri=front.url)
    assert uri.startswith("mlflow-artifacts:/")


def report_run_of_somebody_else(settings: Settings, start: Start, admin: RestTracking) -> Run:
    """A run that the mirror's user may read and not write, and a trial `theirs` that names it."""
    experiment = admin.create_experiment(f"{settings.group_id} of somebody else", {}).id
    theirs = admin.create_run(experiment, "trainer's", 1, {})
    start("ingest")
    start("relay")
    send(settings, "theirs", mlflow_run_id=theirs.run_id)
    return theirs


def send(settings: Settings, trial: str, mlflow_run_id: str | None = None) -> None:
    message = as_json(**report(trial_id=trial, mlflow_run_id=mlflow_run_id))
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("run-1", message)])
    wait_settled(settings)


def as_json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()
