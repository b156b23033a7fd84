"""Runs of an experiment, from a server that answers as MLflow's REST interface does: pages, text, NaN as a word."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cerebros_client.backfill.from_mlflow import Experiment, read_parameter
from cerebros_client.backfill.items import Item, Skipped, SourceError


def run(name: str, status: str = "FINISHED", **data: Any) -> dict[str, Any]:
    info = {
        "run_id": name,
        "status": status,
        "start_time": 1_000,
        "run_name": f"trial {name}",
        "artifact_uri": f"s3://{name}",
    }
    if status not in ("RUNNING", "SCHEDULED"):
        info["end_time"] = 3_500
    return {
        "info": info,
        "data": {kind: [{"key": k, "value": v} for k, v in found.items()] for kind, found in data.items()},
    }


RUNS = [
    run("a", metrics={"loss": 0.5, "bad": "NaN"}, params={"rate": "0.1", "spectral_norm": "True", "name": "adam"}),
    run("b", "FAILED", tags={"team": "x", "mlflow.user": "me", "spectral_norm": "false"}),
    run("c", "KILLED"),
    run("d", "RUNNING"),
    run("e", tags={"cerebros.key": "0" * 32}),
]


class Server(BaseHTTPRequestHandler):
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((parts.path, self.headers.get("Authorization")))
        if parts.path.endswith("get-by-name"):
            found = query["experiment_name"] == "digits"
        elif parts.path.endswith("experiments/get"):
            found = query["experiment_id"] == "7"
        else:
            return self._answer(200, self._history(query))
        body = {"experiment": {"experiment_id": "7", "name": "digits"}} if found else {"error_code": "NONE"}
        return self._answer(200 if found else 404, body)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["experiment_ids"] == ["7"]
        at = int(body.get("page_token", 0))
        more = {"next_page_token": str(at + 2)} if at + 2 < len(RUNS) else {}
        self._answer(200, {"runs": RUNS[at : at + 2], **more})

    @staticmethod
    def _history(query: dict[str, str]) -> dict[str, Any]:
        at = int(query.get("page_token", 0))
        more = {"next_page_token": str(at + 1)} if at < 2 else {}
        return {"metrics": [{"value": at + 0.5}], **more}

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{opened.server_address[1]}/"
        opened.shutdown()
        thread.join()


def test_every_ended_run_is_a_trial_with_its_time(server: str) -> None:
    found = list(Experiment(server, "digits"))
    items = [one for one in found if isinstance(one, Item)]
    assert [(one.run_id, one.trial_id, one.at_ms) for one in items] == [("digits", name, 3_500) for name in "abc"]
    assert [one.fields["status"] for one in items] == ["succeeded", "failed", "cancelled"]
    first = items[0].fields
    assert first["parameters"] == {"rate": 0.1, "spectral_norm": True, "name": "adam"}
    assert first["metrics"]["loss"] == 0.5
    assert str(first["metrics"]["bad"]) == "nan"
    assert first["spectral_norm"] is True
    assert first["duration_ms"] == 2_500
    assert (first["mlflow_run_id"], first["artifact_uri"]) == ("a", "s3://a")
    assert items[1].fields["extra"] == {
        "mlflow": {"run_name": "trial b", "tags": {"team": "x", "spectral_norm": "false"}}
    }
    assert items[1].fields["spectral_norm"] is False
    assert items[2].fields["spectral_norm"] is None  # neither a param nor a tag says anything
    assert [one.reason for one in found if isinstance(one, Skipped)] == [
        "running, not ended",
        "made by `processor mlflow` from a row",
    ]


def test_histories_are_read_to_their_last_page(server: str) -> None:
    first = next(iter(Experiment(server, "7", run_id="run-7", histories=True)))
    assert isinstance(first, Item)
    assert first.run_id == "run-7"
    assert first.fields["metrics"]["by_step"] == {"loss": [0.5, 1.5, 2.5], "bad": [0.5, 1.5, 2.5]}


def test_what_the_environment_says_of_who_asks_goes_along(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    Experiment(server, "digits")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    Experiment(server, "digits")
    assert [who for _, who in Server.asked] == ["Basic bWU6c2VjcmV0", "Bearer token"]


def test_an_experiment_that_is_not_there_is_told(server: str) -> None:
    with pytest.raises(SourceError, match="has no experiment 'other'"):
        Experiment(server, "other")


def test_a_server_that_does_not_answer_is_told() -> None:
    with pytest.raises(SourceError, match=r"MLflow at http://127\.0\.0\.1:1 does not answer"):
        Experiment("http://127.0.0.1:1", "digits")


def test_files_are_read_through_a_server() -> None:
    with pytest.raises(SourceError, match="mlflow server --backend-store-uri"):
        Experiment("sqlite:///mlflow.db", "digits")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("3", 3),
        ("True", True),
        ("false", False),
        ("None", None),
        ("[1, 2]", [1, 2]),
        ("adam", "adam"),
        ("", ""),
    ],
)
def test_parameters_are_what_they_were(text: str, value: Any) -> None:
    assert read_parameter(text) == value
