"""What orders the reports of one trial, on a machine whose clock is set while it reports."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cerebros_client import clock as module
from cerebros_client.clock import Clock
from cerebros_client.kafka import KafkaTransport
from cerebros_client.transport import Target
from confluent_kafka import KafkaError

HOUR_MS = 3_600_000


@pytest.fixture
def now_ms(monkeypatch: pytest.MonkeyPatch) -> Any:
    now = [10 * HOUR_MS]
    monkeypatch.setattr(time, "time_ns", lambda: now[0] * 1_000_000)
    return now


def test_a_clock_that_was_ahead_holds_up_only_the_trials_reported_then(now_ms: Any) -> None:
    clock = Clock()
    now_ms[0] += 2 * HOUR_MS
    assert clock.next("ahead") == 12 * HOUR_MS
    now_ms[0] -= 2 * HOUR_MS
    assert clock.next("after") == 10 * HOUR_MS
    assert [clock.next("ahead"), clock.next("ahead")] == [12 * HOUR_MS + 1, 12 * HOUR_MS + 2]
    assert Clock(clock).next("ahead") == 12 * HOUR_MS + 3


def test_no_two_reports_of_one_trial_have_the_same_time_and_what_is_remembered_is_bounded(now_ms: Any) -> None:
    clock = Clock()
    assert [clock.next("one") for _ in range(3)] == [10 * HOUR_MS + number for number in range(3)]
    for number in range(2 * module._REMEMBERED):
        clock.next(number)
    assert len(clock._latest_ms) == module._REMEMBERED


@pytest.mark.parametrize(("ahead_ms", "final"), [(2 * HOUR_MS, False), (0, False), (-48 * HOUR_MS, True)])
def test_a_record_that_is_refused_for_a_time_ahead_is_taken_later(ahead_ms: int, final: bool) -> None:
    transport = KafkaTransport(Target(url="127.0.0.1:1"))
    settled: list[Any] = []
    moment = int(time.time() * 1000) + ahead_ms
    transport._delivered(settled.append, moment, KafkaError(KafkaError.INVALID_RECORD), None)
    transport._delivered(settled.append, moment, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), None)
    assert [trouble.final for trouble in settled] == [final, True]
    transport.close()
