"""Answers that are no MLflow's: something else at its address, or a proxy that has lost it, is waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from processor.core.errors import TransientError
from processor.mlflow.ports import Refused
from processor.mlflow.rest import RestTracking


class Answer:
    def __init__(self, status: int, data: bytes) -> None:
        self.status, self.data = status, data
        self.headers: Mapping[str, str] = {}


def asked(monkeypatch: pytest.MonkeyPatch, status: int, data: bytes) -> RestTracking:
    tracking = RestTracking("http://mlflow:5000")
    monkeypatch.setattr(tracking._pool, "request", lambda *args, **kwargs: Answer(status, data))
    return tracking


CALLS: dict[str, Callable[[RestTracking], Any]] = {
    "experiment": lambda one: one.experiment("x"),
    "create_experiment": lambda one: one.create_experiment("x", {}),
    "create_run": lambda one: one.create_run("1", "x", 1, {}),
    "run": lambda one: one.run("f" * 32),
}
ODD = [
    b"{}",
    b'{"status":"ok"}',
    b'{"experiment":null,"run":null}',
    b'{"experiment":[],"run":[]}',
    b'{"experiment":{"experiment_id":"1","tags":null},"run":{"info":{"run_id":"1","start_time":"x"}}}',
    b"[" * 100_000,
    b"ok",
]


@pytest.mark.parametrize("data", ODD, ids=[one[:60].decode() for one in ODD])
@pytest.mark.parametrize("call", CALLS)
def test_a_200_of_something_else_is_waited_for(call: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransientError, match="does not speak MLflow's"):
        CALLS[call](asked(monkeypatch, 200, data))


def test_a_search_whose_runs_are_none_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransientError, match="does not speak MLflow's"):
        asked(monkeypatch, 200, b'{"runs":[{"run":1}]}').search(["1"], "")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("data", [b"default backend - 404", b"", b'{"detail":"Not Found"}', b"[" * 100_000])
def test_not_found_by_a_proxy_is_no_word_of_mlflows(call: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run that a report names would count as missing for good, because a server was away for a moment."""
    with pytest.raises(TransientError, match="HTTP 404"):
        CALLS[call](asked(monkeypatch, 404, data))


def test_not_found_by_mlflow_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = asked(monkeypatch, 404, b'{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"no"}')
    assert tracking.experiment("x") is None
    assert tracking.run("f" * 32) is None
    with pytest.raises(Refused, match="RESOURCE_DOES_NOT_EXIST no"):
        tracking.create_run("1", "x", 1, {})
