"""/live, /ready and /metrics, and the watch that tells of a process that is stuck."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from processor.core import metrics
from processor.core.errors import SetupError
from processor.service.health import Health, serve_health

STUCK_SECONDS = 1.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def long_ago() -> float:
    return time.monotonic() - 2 * STUCK_SECONDS


@pytest.fixture
def health() -> Iterator[Health]:
    with serve_health(free_port(), STUCK_SECONDS) as served:
        yield served


def get(health: Health, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://localhost:{health.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("moving", "ready", "expected"),
    [(True, True, (200, 200)), (True, False, (200, 503)), (False, True, (503, 503)), (False, False, (503, 503))],
)
def test_a_stuck_process_is_not_alive_and_one_in_an_outage_is_alive_but_not_ready(
    health: Health, moving: bool, ready: bool, expected: tuple[int, int]
) -> None:
    health.watch(time.monotonic if moving else long_ago, lambda: ready)
    assert expected == (get(health, "/live")[0], get(health, "/ready")[0])


def test_a_process_that_waits_for_its_servers_at_the_start_is_alive_and_not_ready(health: Health) -> None:
    deadline = time.monotonic() + 1.2 * STUCK_SECONDS
    while time.monotonic() < deadline:
        health.sign_of_life()
        time.sleep(STUCK_SECONDS / 10)
    assert (get(health, "/live")[0], get(health, "/ready")[0]) == (200, 503)
    time.sleep(STUCK_SECONDS)
    assert get(health, "/live")[0] == 503


def test_metrics_are_served_as_prometheus_reads_them(health: Health) -> None:
    metrics.REJECTIONS.labels("not_json").inc()
    status, text = get(health, "/metrics")
    assert status == 200
    value = metrics.REGISTRY.get_sample_value("processor_rejections_total", {"reason": "not_json"})
    assert f'processor_rejections_total{{reason="not_json"}} {value}' in text.splitlines()


def test_any_other_path_names_the_ones_there_are(health: Health) -> None:
    assert get(health, "/") == (404, "/metrics, /live, /ready\n")


def test_a_port_that_is_taken_is_refused_with_the_setting_to_change(health: Health) -> None:
    with pytest.raises(SetupError, match=f"METRICS_PORT {health.port} can't be opened"):
        serve_health(health.port, STUCK_SECONDS)


def test_a_closed_port_is_free_again() -> None:
    port = free_port()
    for _ in range(2):
        serve_health(port, STUCK_SECONDS).close()


def test_without_a_port_nothing_is_served() -> None:
    with serve_health(0, STUCK_SECONDS) as health:
        assert health.port == 0


def test_a_stuck_process_dumps_the_stacks_of_its_threads_once(capfd: pytest.CaptureFixture[str]) -> None:
    health = serve_health(0, STUCK_SECONDS)
    health.watch(long_ago, lambda: True)
    deadline = time.monotonic() + 10
    text = ""
    while "Thread 0x" not in text and time.monotonic() < deadline:
        time.sleep(0.02)
        text += capfd.readouterr().err
    time.sleep(STUCK_SECONDS)  # several more looks
    health.close()
    text += capfd.readouterr().err
    assert text.count("test_a_stuck_process_dumps_the_stacks_of_its_threads_once") == 1
