"""A trial's files into a real MLflow: large ones, through a server in trouble, and after a kill."""

from __future__ import annotations

import http.client
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cerebros_client import mlflow
from cerebros_client.mlflow import FilesError, log_files

from processor.local.mlflow import MlflowServer
from processor.mlflow.rest import RestTracking
from tests.support.http_proxy import HttpProxy


@pytest.fixture
def run_id(mlflow_server: MlflowServer) -> str:
    tracking = RestTracking(mlflow_server.url)
    return tracking.create_run(tracking.create_experiment("files", {}).id, "trial", 1, {}).run_id


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a model of 40 MB and two plots."""
    folder = tmp_path / "trial"
    (folder / "plots").mkdir(parents=True)
    (folder / "model.keras").write_bytes(bytes(range(256)) * 160_000)
    for name in ("loss é.png", "accuracy.png"):
        (folder / "plots" / name).write_bytes(name.encode() * 100)
    return folder


def stored(mlflow_server: MlflowServer, uri: str, name: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", mlflow_server.port, timeout=60)
    path = uri.partition("mlflow-artifacts:/")[2]
    connection.request("GET", f"/api/2.0/mlflow-artifacts/artifacts/{path}/{name}")
    return connection.getresponse().read()


def test_a_folder_is_in_the_run_byte_by_byte(mlflow_server: MlflowServer, run_id: str, files: Path) -> None:
    uri = log_files(run_id, files, tracking_uri=mlflow_server.url)
    assert stored(mlflow_server, uri, "trial/model.keras") == (files / "model.keras").read_bytes()
    assert stored(mlflow_server, uri, "trial/plots/accuracy.png") == b"accuracy.png" * 100
    assert stored(mlflow_server, uri, "trial/plots/loss%20%C3%A9.png") == "loss é.png".encode() * 100


def test_lost_answers_and_500s_lose_nothing(
    mlflow_server: MlflowServer, run_id: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "FIRST_PAUSE_S", 0.01)
    with HttpProxy(mlflow_server.port) as proxy:
        proxy.status, proxy.share, proxy.lose = 503, 0.3, 0.3
        uri = log_files(run_id, files, folder="best", tracking_uri=proxy.url)
        assert proxy.refused + proxy.lost > 0
    assert stored(mlflow_server, uri, "trial/model.keras") == (files / "model.keras").read_bytes()


def test_a_call_that_was_killed_goes_on_where_it_was(mlflow_server: MlflowServer, run_id: str, files: Path) -> None:
    code = f"""
from cerebros_client import mlflow
put = mlflow._Server.put
def kill(self, place, path):
    if path.name == "accuracy.png":
        import os; os.kill(os.getpid(), 9)
    put(self, place, path)
mlflow._Server.put = kill
mlflow.log_files({run_id!r}, {str(files)!r}, tracking_uri={mlflow_server.url!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    sent: list[Any] = []
    put = mlflow._Server.put

    def watch(self: Any, place: str, path: Path) -> None:
        sent.append(path.name)
        put(self, place, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow._Server, "put", watch)
        uri = log_files(run_id, files, tracking_uri=mlflow_server.url)
    assert sent == ["accuracy.png", "loss é.png"]  # the model was there
    assert stored(mlflow_server, uri, "trial/model.keras") == (files / "model.keras").read_bytes()


def test_a_run_that_is_not_there_is_said_in_one_sentence(mlflow_server: MlflowServer, files: Path) -> None:
    with pytest.raises(FilesError, match=r"refuses .*HTTP 404"):
        log_files("f" * 32, files, tracking_uri=mlflow_server.url)


def test_two_files_of_one_name_and_a_missing_file_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_bytes(b"x")
    with pytest.raises(ValueError, match="would both be model"):
        log_files("f" * 32, [tmp_path / "a" / "model", tmp_path / "b" / "model"], tracking_uri="http://127.0.0.1:1")
    with pytest.raises(FileNotFoundError):
        log_files("f" * 32, tmp_path / "none", tracking_uri="http://127.0.0.1:1")
