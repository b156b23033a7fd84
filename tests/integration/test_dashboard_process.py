"""`processor dashboard` as a process: who may look, what it says in an outage, and that it stops when it is told to."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx

from processor.web.tokens import line_for, make_token
from tests.support.dashboards import Open, status
from tests.support.metrics import metric, metrics_port
from tests.support.pages import fill, report
from tests.support.processes import run_command, wait_until
from tests.support.proxy import Proxy, through


def test_it_serves_until_sigterm_and_exits_0(opened: Open, database_url: str) -> None:
    fill(database_url, [report("run", "1"), report("run", "2", 1, spectral_norm=False)])
    port = metrics_port()
    process, url = opened(PROCESSOR_METRICS_PORT=port)
    with httpx.Client(base_url=url, timeout=60) as client:
        for path in ("/", "/trials", "/runs/run", "/compare", "/adoption", "/health", "/static/dashboard.css", "/live"):
            assert (client.get(path).status_code, path) == (200, path)
        assert client.get("/openapi.json").json()["openapi"] == "3.1.0"
        assert "processor_dashboard_requests_total" in client.get("/metrics").text
    counted = 'processor_dashboard_requests_total{path="trials",status="200"}'
    wait_until(lambda: metric(port, counted) == 1, "the page is counted")
    assert process.stop() == 0
    assert "dashboard_stopped" in process.said()
    assert "request_failed" not in process.said()


def test_somebody_who_does_not_read_on_does_not_keep_it_from_stopping(opened: Open, database_url: str) -> None:
    big = {"blob": "x" * 200_000}
    fill(database_url, [report("run", str(place), place, metrics=big) for place in range(300)])
    process, url = opened(PROCESSOR_DASHBOARD_DRAIN_MS="500")
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as idle:
        idle.sendall(f"GET /trials.jsonl HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert idle.recv(15) == b"HTTP/1.1 200 OK"
        assert process.stop(60) == 0


def test_only_who_has_a_token_may_look_and_a_browser_may_send_it_as_a_password(
    opened: Open, database_url: str, tmp_path: Path
) -> None:
    reader, scraper, file = make_token(), make_token(), tmp_path / "tokens"
    file.write_text(
        f"{line_for('ann', reader, frozenset(['read']))}\n{line_for('prom', scraper, frozenset(['metrics']))}\n"
    )
    _, url = opened(PROCESSOR_DASHBOARD_TOKENS_FILE=str(file))
    for path in ("/", "/trials.csv", "/openapi.json", "/static/dashboard.css", "/nothing", "/go?to=x", "/metrics"):
        refused = httpx.get(url + path, timeout=30)
        assert (refused.status_code, path) == (401, path)
        assert refused.headers["www-authenticate"].startswith('Basic realm="cerebros"')
    assert status(f"{url}/live") == 200
    assert status(url, auth=("anything", reader)) == 200
    assert status(url, headers={"authorization": f"Bearer {reader}"}) == 200
    assert status(url, auth=("ann", reader[:-1])) == 401
    assert status(url, headers={"authorization": "Basic !!"}) == 401
    assert (status(f"{url}/metrics", auth=("ann", reader)), status(f"{url}/metrics", auth=("", scraper))) == (403, 200)
    assert status(url, auth=("", scraper)) == 403


def test_without_tokens_a_page_that_calls_this_machine_by_a_name_of_its_own_sees_nothing(opened: Open) -> None:
    _, url = opened()
    assert status(url, headers={"host": "evil.example"}) == 403
    assert status(url, headers={"host": "localhost:1"}) == 200


def test_beyond_loopback_it_does_not_start_without_tokens(database_url: str) -> None:
    environment = {"PROCESSOR_DATABASE_URL": database_url, "PROCESSOR_DASHBOARD_LISTEN": "0.0.0.0:0"}
    done = run_command(environment, "dashboard")
    assert done.returncode == 1
    assert "PROCESSOR_DASHBOARD_TOKENS_FILE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_is_made_once_and_its_line_is_read_by_the_dashboard_alone(tmp_path: Path) -> None:
    made = run_command({}, "dashboard-token", "ann", "--right", "read")
    assert made.stderr.startswith("crb_")
    assert made.stdout.startswith("ann sha256:")
    assert made.stdout.endswith(" read\n")
    assert run_command({}, "gateway-token", "ann", "--right", "read").returncode == 2


def test_while_postgres_is_away_pages_say_so_and_afterwards_they_are_there_again(
    opened: Open, database_url: str, proxy: Proxy
) -> None:
    proxy.refuse()
    process, url = opened(ready=False, **through(proxy, database_url))
    away = httpx.get(f"{url}/", timeout=60)
    assert away.status_code == 503
    assert "Postgres at 127.0.0.1" in away.text
    assert httpx.get(f"{url}/trials.json", timeout=60).json()["error"] in ("unavailable", "too_much")
    proxy.restore()
    wait_until(lambda: status(f"{url}/ready") == 200, "it is ready once Postgres is there", 60)
    assert status(f"{url}/trials") == 200
    proxy.refuse()
    proxy.cut()
    wait_until(lambda: status(f"{url}/") == 503, "the outage is told")
    wait_until(lambda: status(f"{url}/ready") == 503, "also to who asks whether it is ready")
    process.wait_said("waiting_for_database")
    proxy.restore()
    wait_until(lambda: status(f"{url}/ready") == 200, "it is ready again")
    process.wait_said("database_back")
    wait_until(lambda: status(f"{url}/trials") == 200, "it is there again by itself")
    assert process.stop() == 0


def test_a_database_that_was_never_migrated_ends_it_with_a_sentence(empty_database_url: str) -> None:
    environment = {"PROCESSOR_DATABASE_URL": empty_database_url, "PROCESSOR_DASHBOARD_LISTEN": "127.0.0.1:0"}
    done = run_command(environment, "dashboard")
    assert done.returncode == 1
    assert "run `processor migrate`" in done.stderr
