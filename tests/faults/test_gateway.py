"""The gateway with real servers: an accepted report is never lost, whoever is killed, frozen or stopped meanwhile."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import psutil
import pytest

from processor.core.settings import Settings
from processor.local.files import free_ports
from tests.factories import report
from tests.support.backends import OwnServers
from tests.support.callers import Caller, Crowd, statuses
from tests.support.ledger import check_ledger, rows_of
from tests.support.metrics import is_ready
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import wait_settled

Start = Callable[..., Process]
DELIVERY_S = 1.5


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def gateway(start: Start, settings: Settings, port: int) -> Callable[..., Process]:
    """Starts a gateway on the test's port, and waits until it is ready."""

    def starter(**extra: str) -> Process:
        own = {
            "PROCESSOR_GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "PROCESSOR_GATEWAY_DELIVERY_TIMEOUT_MS": str(int(DELIVERY_S * 1000)),
        }
        process = start("gateway", **own, **extra)
        wait_until(lambda: ready(port), "the gateway is ready")
        return process

    return starter


def ready(port: int) -> bool:
    try:
        return is_ready(str(port))
    except OSError:
        return False


def settle_and_check(settings: Settings, environment: dict[str, str], start: Start, crowd: Crowd) -> None:
    """Everything accepted is a row, once; nothing else is there; the raw topic says the same."""
    start("ingest")
    start("relay")
    wait_settled(settings)
    check_ledger(settings)
    rows = rows_of(settings)
    assert crowd.accepted <= rows.keys()
    assert {version.revision for version in rows.values()} == {1}
    assert run_command(environment, "verify").returncode == 0


def test_while_the_broker_hangs_nothing_is_accepted_and_afterwards_nothing_is_missing(
    own_servers: OwnServers,
    settings: Settings,
    environment: dict[str, str],
    start: Start,
    gateway: Callable[..., Process],
    port: int,
) -> None:
    process = gateway()
    crowd = Crowd(port, 4)
    wait_until(lambda: crowd.count > 200, "reports are accepted")
    own_servers.kafka.freeze()
    frozen = time.monotonic()
    time.sleep(0.2)  # what the broker had sent before
    wait_until(lambda: 503 in statuses(crowd.replies), "callers are told")
    assert not ready(port)
    wait_until(lambda: len([one for one in crowd.replies if one.began > frozen + 0.2]) >= 8, "all were told")
    thawing = time.monotonic()
    own_servers.kafka.thaw()
    meanwhile = [one for one in crowd.replies if one.began > frozen + 0.2 and one.ended < thawing]
    assert statuses(meanwhile) == {503}
    assert max(one.ended - one.began for one in meanwhile) < DELIVERY_S + 1.0
    before = crowd.count
    wait_until(lambda: crowd.count > before + 200, "reports are accepted again")
    assert ready(port)
    crowd.finish()
    assert process.stop() == 0
    assert [word for word in ("kafka_unconfirmed", "kafka_back") if word not in process.said()] == []
    settle_and_check(settings, environment, start, crowd)


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.soak)])
def test_a_gateway_that_is_killed_under_load_loses_and_doubles_nothing(
    kills: int,
    settings: Settings,
    environment: dict[str, str],
    start: Start,
    gateway: Callable[..., Process],
    port: int,
) -> None:
    process = gateway()
    crowd = Crowd(port, 6, many=3)
    for _ in range(kills):
        before = crowd.count
        wait_until(lambda before=before: crowd.count > before + 200, "reports are accepted")  # type: ignore[misc]
        process.kill()
        process = gateway()
    crowd.finish()
    assert process.stop() == 0
    assert 0 in statuses(crowd.replies)  # requests were cut off
    settle_and_check(settings, environment, start, crowd)


def test_sigterm_under_load_answers_what_has_begun_and_exits_0(
    settings: Settings,
    environment: dict[str, str],
    start: Start,
    gateway: Callable[..., Process],
    port: int,
) -> None:
    process = gateway()
    crowd = Crowd(port, 8, many=5)
    for _ in range(3):
        before = crowd.count
        wait_until(lambda before=before: crowd.count > before + 200, "reports are accepted")  # type: ignore[misc]
        assert process.stop() == 0
        assert "gateway_stopped" in process.said()
        assert "request_failed" not in process.said()
        process = gateway()
    crowd.finish()
    assert process.stop() == 0
    settle_and_check(settings, environment, start, crowd)


def test_a_gateway_that_starts_before_kafka_answers_says_so_and_goes_on_by_itself(
    own_servers: OwnServers, settings: Settings, start: Start, port: int
) -> None:
    own_servers.kafka.freeze()
    process = start(
        "gateway",
        PROCESSOR_GATEWAY_LISTEN=f"127.0.0.1:{port}",
        PROCESSOR_GATEWAY_DELIVERY_TIMEOUT_MS=str(int(DELIVERY_S * 1000)),
    )
    process.wait_said("gateway_started")
    assert not ready(port)
    assert Caller(port).post(report()).status == 503
    own_servers.kafka.thaw()
    wait_until(lambda: ready(port), "ready")
    assert Caller(port).post(report()).status == 202
    assert process.stop() == 0


def test_a_missing_topic_ends_it_with_a_sentence(settings: Settings, start: Start, port: int) -> None:
    process = start(
        "gateway", PROCESSOR_GATEWAY_LISTEN=f"127.0.0.1:{port}", PROCESSOR_RAW_TOPIC=f"{settings.raw_topic}.missing"
    )
    assert process.wait(30) == 1
    assert f"{settings.raw_topic}.missing" in process.said()
    assert "Traceback" not in process.said()


def test_a_port_that_is_taken_and_an_address_without_tokens_are_refused_at_start(
    environment: dict[str, str], port: int
) -> None:
    with socket.create_server(("127.0.0.1", port)):
        done = run_command({**environment, "PROCESSOR_GATEWAY_LISTEN": f"127.0.0.1:{port}"}, "gateway")
    assert (done.returncode, "GATEWAY_LISTEN" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    done = run_command({**environment, "PROCESSOR_GATEWAY_LISTEN": f"0.0.0.0:{port}"}, "gateway")
    assert (done.returncode, "GATEWAY_TOKENS_FILE" in done.stderr) == (1, True)


def raise_file_limit(wanted: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, wanted), hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.parametrize("idle", [1000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_who_works_is_served_in_time_and_memory_while_others_do_what_they_can(
    idle: int, settings: Settings, gateway: Callable[..., Process], port: int
) -> None:
    """Idle connections, heads and bodies in dribbles, chunks without end, gzip bombs: all at once."""
    if raise_file_limit(idle + 500) < idle + 500:
        pytest.skip(f"this process may not open {idle} files")
    process = gateway(PROCESSOR_GATEWAY_MAX_CONNECTIONS=str(max(500, idle // 2)))
    caller = Caller(port)
    assert caller.post(report()).status == 202
    memory = psutil.Process(process.pid).memory_info().rss
    enough = threading.Event()
    bomb = gzip.compress(b"[" * 100_000_000)
    attacks = [dribble_head, dribble_body, endless_chunks]
    threads = [threading.Thread(target=attack, args=(port, enough)) for attack in attacks * 3]
    threads.append(threading.Thread(target=bombs, args=(port, enough, bomb)))
    with ExitStack() as stack:
        stack.callback(enough.set)
        for _ in range(idle):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        for thread in threads:
            thread.start()
        slowest, most = 0.0, 0
        for _ in range(100):
            reply = caller.post(report())
            assert reply.status == 202
            slowest = max(slowest, reply.ended - reply.began)
            most = max(most, psutil.Process(process.pid).memory_info().rss)
            time.sleep(0.03)
        print(f"{idle} idle: slowest {slowest * 1000:.0f} ms, memory {memory >> 20} -> {most >> 20} MiB")
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert slowest < 3.0
    assert most - memory < 64 * 1024 * 1024 + idle * 20 * 1024
    assert process.stop() == 0
    assert "request_failed" not in process.said()


HEAD = b"POST /v1/reports HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def dribble_head(port: int, enough: threading.Event) -> None:
    attack(port, enough, [bytes([byte]) for byte in HEAD * 100], 0.02)


def dribble_body(port: int, enough: threading.Event) -> None:
    attack(port, enough, [HEAD + b"Content-Length: 100000\r\n\r\n", *[b"["] * 10_000], 0.02)


def endless_chunks(port: int, enough: threading.Event) -> None:
    attack(
        port, enough, [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"8000\r\n" + b"[" * 0x8000 + b"\r\n"] * 500], 0
    )


def bombs(port: int, enough: threading.Event, bomb: bytes) -> None:
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    attack(port, enough, [head + bomb, b""], 0.1)


def attack(port: int, enough: threading.Event, pieces: list[bytes], pause_s: float) -> None:
    """Over and over, on a new connection whenever the old one is closed."""
    while not enough.is_set():
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as opened:
                for piece in pieces:
                    if enough.wait(pause_s):
                        return
                    opened.sendall(piece)
                opened.recv(65536)
        except OSError:
            enough.wait(0.05)


def test_a_second_signal_ends_it_at_once(gateway: Callable[..., Process], own_servers: OwnServers, port: int) -> None:
    process = gateway(PROCESSOR_GATEWAY_DRAIN_MS="60000")
    with socket.create_connection(("127.0.0.1", port)) as opened:
        opened.sendall(HEAD + b"Content-Length: 100\r\n\r\n[")  # a request that has begun and does not end
        time.sleep(0.3)
        process.terminate()
        time.sleep(0.5)
        assert process.running
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(5) == 1
