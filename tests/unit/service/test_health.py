"""/live, /ready and /metrics, and the watch that tells of a process that is stuck."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from processor.core import metrics
from processor.core.errors import SetupError
from processor.service import http
from processor.service.health import Health, serve_health
from tests.support.patience import patient

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


def ask(host: str, port: int, question: bytes) -> bytes:
    """All that comes back until the other side closes."""
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(question)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_listens_on_every_address_of_both_protocols(host: str, health: Health) -> None:
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    assert ask(host, health.port, b"GET /live HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_it_listens_on_the_one_address_that_was_asked_for() -> None:
    with serve_health(free_port(), STUCK_SECONDS, "127.0.0.1") as served:
        assert ask("127.0.0.1", served.port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 404")
        with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", served.port), timeout=5):
            pass
    with pytest.raises(SetupError, match=r"of METRICS_HOST no-such-host\.invalid can't be opened"):
        serve_health(free_port(), STUCK_SECONDS, "no-such-host.invalid")


def test_head_is_answered_without_a_body(health: Health) -> None:
    got, head = (ask("127.0.0.1", health.port, b"%s /metrics HTTP/1.1\r\n\r\n" % one) for one in (b"GET", b"HEAD"))
    assert head.endswith(b"\r\n\r\n")
    assert head.splitlines()[1] == got.splitlines()[1]
    assert head.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("question", "status"),
    [
        (b"POST /live HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET /live\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /live?a=b HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_a_question_that_is_none_is_answered_too(question: bytes, status: bytes, health: Health) -> None:
    answer = b""
    with contextlib.suppress(ConnectionResetError):  # what we sent beyond its limit is not read
        answer = ask("127.0.0.1", health.port, question)
    assert answer[9:12] in (status, b"" if len(question) > 8192 else status)


def test_idle_connections_hold_few_threads_for_a_short_time(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that send a byte now and then; a probe is answered when they are gone."""
    monkeypatch.setattr(http, "CONNECTION_SECONDS", 2.0)
    before, began = threading.active_count(), time.monotonic()
    idle = [socket.create_connection(("127.0.0.1", health.port), timeout=10) for _ in range(300)]
    most, ended = 0, False
    while not ended and time.monotonic() < began + 10:
        most = max(most, threading.active_count() - before)
        for one in idle[:40]:
            with contextlib.suppress(OSError):
                one.send(b"G")
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            ended = ask("127.0.0.1", health.port, b"GET /live HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 ")
    assert 1 <= most <= http.MAX_CONNECTIONS
    assert 1.0 < time.monotonic() - began < patient(6)
    for one in idle:
        one.close()


def test_two_hundred_probes_at_once_are_all_answered(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backlog takes what comes faster than it is accepted."""
    monkeypatch.setattr(http, "CONNECTION_SECONDS", patient(5.0))
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: ask("127.0.0.1", health.port, b"GET /metrics HTTP/1.1\r\n\r\n")[9:12], range(200))
        )
    assert set(answers) == {b"200"}


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
    deadline = time.monotonic() + patient(10)
    text = ""
    while "Thread 0x" not in text and time.monotonic() < deadline:
        time.sleep(0.02)
        text += capfd.readouterr().err
    time.sleep(STUCK_SECONDS)  # several more looks
    health.close()
    text += capfd.readouterr().err
    assert text.count("test_a_stuck_process_dumps_the_stacks_of_its_threads_once") == 1
