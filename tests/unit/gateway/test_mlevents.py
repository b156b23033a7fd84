"""POST /api/events/ml: Thunderline's fields and answers."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from processor.gateway.answers import NAMESPACE
from processor.gateway.mlevents import REQUIRED
from tests.unit.gateway.fakes import Sender, Setup, post, post_json

PATH = "/api/events/ml"
COMPLETE: dict[str, Any] = {
    "event": "ml.trial.complete",
    "model_run_id": "550e8400-e29b-41d4-a716-446655440000",
    "trial_id": "trial_007",
    "spectral_norm": True,
    "mlflow_run_id": "mlflow_abc123",
    "metrics": {"accuracy": 0.95, "loss": 0.05},
    "parameters": {"hidden_size": 128, "num_layers": 3},
    "duration_ms": 45000,
}
FAILED: dict[str, Any] = {
    "event": "ml.trial.failed",
    "model_run_id": "run",
    "trial_id": "trial_013",
    "error_message": "CUDA out of memory",
    "error_type": "OOM",
}
FULL: dict[str, dict[str, Any]] = {
    "ml.run.start": {"model_run_id": "r", "requested_trials": 3, "search_space_version": 1},
    "ml.run.stop": {"model_run_id": "r", "state": "completed", "completed_trials": 3},
    "ml.run.metric": {"model_run_id": "r", "trial_id": "t", "metric_name": "loss", "metric_value": 0.5},
    "ml.trial.start": {"model_run_id": "r", "trial_id": "t", "spectral_norm": False},
    "ml.trial.complete": COMPLETE,
    "ml.trial.failed": FAILED,
}


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def test_an_event_is_answered_as_thunderline_does() -> None:
    sender = Sender()
    correlation_id = str(uuid.uuid4())
    body = json.dumps({**COMPLETE, "correlation_id": correlation_id})
    answer = post_json(sender, PATH, body)
    assert answer.status_code == 202
    assert answer.json() == {
        "success": True,
        "event_id": str(uuid.uuid5(NAMESPACE, "raw/0/0")),
        "event_name": "ml.trial.complete",
        "correlation_id": correlation_id,
        "message": "Event accepted for processing",
    }
    [sent] = sender.sent
    assert (sent.key.decode(), sent.value.decode()) == (COMPLETE["model_run_id"], body)
    assert sent.headers == (("correlation_id", correlation_id.encode()),)


def test_an_event_without_a_correlation_id_gets_a_uuid_of_version_7() -> None:
    answer = post_json(Sender(), PATH, json.dumps(FAILED))
    assert (answer.status_code, uuid.UUID(answer.json()["correlation_id"]).version) == (202, 7)


@pytest.mark.parametrize(("event", "name"), [(event, name) for event, names in REQUIRED.items() for name in names])
def test_each_field_that_thunderline_requires_must_be_there(event: str, name: str) -> None:
    sender = Sender()
    answer = post_json(sender, PATH, json.dumps({"event": event, **without(FULL[event], name)}))
    assert (answer.status_code, sender.sent) == (400, [])
    document = answer.json()
    assert (document["success"], document["error"]) == (False, "validation_failed")
    assert document["details"] == [f"missing required field: {name}"]


@pytest.mark.parametrize(
    ("document", "error", "details"),
    [
        (without(COMPLETE, "event"), "validation_failed", ["missing event field"]),
        ({**COMPLETE, "event": 7}, "validation_failed", ["event must be a string"]),
        ({**COMPLETE, "event": None}, "validation_failed", ["missing event field"]),
        (
            {**COMPLETE, "event": "ml.trial.stopped"},
            "unknown_event_type",
            "Supported events: ml.run.start, ml.run.stop, ml.run.metric, ml.trial.start, ml.trial.complete, "
            "ml.trial.failed",
        ),
        ("a sentence", "validation_failed", ["an event is an object, not a string"]),
        (7, "validation_failed", ["an event is an object, not a number"]),
    ],
)
def test_what_is_no_event_is_a_bad_request(document: Any, error: str, details: Any) -> None:
    answer = post_json(Sender(), PATH, json.dumps(document))
    assert (answer.status_code, answer.json()["error"], answer.json()["details"]) == (400, error, details)


def test_an_empty_list_is_told_as_such() -> None:
    answer = post_json(Sender(), PATH, "[]")
    assert (answer.status_code, answer.json()["events"][0]["details"]) == (400, ["the list is empty"])


def test_no_json_is_a_bad_request_and_nan_is_json_as_python_writes_it() -> None:
    answer = post_json(Sender(), PATH, b"{no json")
    assert (answer.status_code, answer.json()["error"]) == (400, "validation_failed")
    sender = Sender()
    body = json.dumps({**COMPLETE, "metrics": {"loss": float("nan")}})
    assert "NaN" in body
    assert post_json(sender, PATH, body).status_code == 202
    assert [one.value.decode() for one in sender.sent] == [body]


@pytest.mark.parametrize(
    ("event", "name", "value"),
    [
        ("ml.trial.complete", "spectral_norm", "true"),
        ("ml.trial.complete", "metrics", [1]),
        ("ml.trial.complete", "duration_ms", -1),
        ("ml.trial.complete", "model_run_id", ""),
        ("ml.trial.complete", "correlation_id", "abc"),
        ("ml.trial.complete", "trials", [{}]),
        ("ml.trial.failed", "trial_id", {"a": 1}),
        ("ml.trial.start", "spectral_norm", 1),
        ("ml.run.metric", "metric_value", "high"),
        ("ml.run.start", "search_space_version", 0),
        ("ml.run.stop", "state", "running"),
    ],
)
def test_an_event_that_can_t_be_made_is_told_with_the_place(event: str, name: str, value: Any) -> None:
    sender = Sender()
    answer = post_json(sender, PATH, json.dumps({**FULL[event], "event": event, name: value}))
    assert (answer.status_code, answer.json()["error"], sender.sent) == (422, "event_construction_failed", [])
    assert name.removeprefix("model_") in answer.json()["path"]


def test_of_many_each_has_its_verdict_and_the_good_ones_are_sent() -> None:
    sender = Sender()
    many = [COMPLETE, {**COMPLETE, "event": "x"}, {**COMPLETE, "duration_ms": -1}, 42, FAILED]
    answer = post_json(sender, PATH, json.dumps(many))
    document = answer.json()
    assert (answer.status_code, document["success"]) == (207, False)
    assert (document["accepted"], document["rejected"], document["unconfirmed"]) == (2, 3, 0)
    told = [(one["index"], one["success"], one.get("error")) for one in document["events"]]
    assert told == [
        (0, True, None),
        (1, False, "unknown_event_type"),
        (2, False, "event_construction_failed"),
        (3, False, "validation_failed"),
        (4, True, None),
    ]
    assert [json.loads(one.value)["event"] for one in sender.sent] == ["ml.trial.complete", "ml.trial.failed"]


@pytest.mark.parametrize("event", FULL)
@pytest.mark.parametrize("beside", [{}, {"note": "trials"}, {"note": "\u0001"}])
def test_every_event_is_taken_alone_in_a_list_and_as_a_line(event: str, beside: dict[str, str]) -> None:
    """Words of an envelope, and escapes, in an event are no envelope."""
    body = json.dumps({**FULL[event], "event": event, **beside})
    assert post_json(Sender(), PATH, body).status_code == 202
    sender = Sender()
    assert post_json(sender, PATH, f"[{body}, {body}]").status_code == 202
    assert len(sender.sent) == 2
    lines = {"content-type": "application/x-ndjson"}
    assert post(Sender(), PATH, content=f"{body}\n{body}\n", headers=lines).status_code == 202


def test_lines_are_many_even_when_there_is_one() -> None:
    lines = {"content-type": "application/x-ndjson"}
    answer = post(Sender(), PATH, content=json.dumps(FAILED), headers=lines)
    assert (answer.status_code, answer.json()["success"], answer.json()["events"][0]["line"]) == (202, True, 1)
    answer = post(Sender(), PATH, content=b"{}\n[]x\n", headers=lines)
    assert answer.status_code == 400
    assert [one["line"] for one in answer.json()["events"]] == [1, 2]


def test_an_event_that_kafka_does_not_confirm_is_not_published() -> None:
    answer = post_json(Sender(lambda _: None), PATH, json.dumps(FAILED), setup=Setup(delivery_s=0.2))
    assert (answer.status_code, answer.json()["error"]) == (503, "publish_failed")
    assert "retry-after" in answer.headers


def test_avro_is_no_event() -> None:
    answer = post(Sender(), PATH, content=b"\xc3\x01", headers={"content-type": "avro/binary"})
    assert answer.status_code == 415
