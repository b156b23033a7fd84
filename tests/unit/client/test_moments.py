"""A report of the past carries its own time, and what has no field of its own goes along."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME

from tests.unit.client.test_reporter import read, reporter


def one(**fields: Any) -> tuple[int, dict[str, Any]]:
    with reporter() as used:
        used.report("run-7", "trial-1", **fields)
        [message] = read(used, 1)
    kind, timestamp_ms = message.timestamp()
    assert kind == TIMESTAMP_CREATE_TIME
    return timestamp_ms, json.loads(message.value() or b"")


@pytest.mark.parametrize(
    ("at", "timestamp_ms"),
    [
        (datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC), 1_714_564_800_250),
        (datetime.fromtimestamp(1_714_564_800.25), 1_714_564_800_250),
        (1_714_564_800_250, 1_714_564_800_250),
    ],
)
def test_the_time_of_a_report_of_the_past_is_the_records(at: datetime | int, timestamp_ms: int) -> None:
    assert one(at=at)[0] == timestamp_ms


@pytest.mark.parametrize(
    ("at", "error"),
    [("2024-05-01", TypeError), (1.5, TypeError), (True, TypeError), (-1, ValueError), (10**14, ValueError)],
)
def test_a_time_that_is_none_is_refused_by_name(at: Any, error: type[Exception]) -> None:
    with reporter() as used, pytest.raises(error, match=r"^at "):
        used.report("run-7", "trial-1", at=at)


def test_further_fields_go_along_and_take_the_place_of_none() -> None:
    document = one(metrics={"a": 1}, extra={"optuna": {"number": 3}, "metrics": {"b": 2}})[1]
    assert document["optuna"] == {"number": 3}
    assert document["metrics"] == {"a": 1}
