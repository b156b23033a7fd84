"""Who watches a page is told of each commit, by streams that together cost one question, until the process stops."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import httpx

from processor.dashboard.changes import MOST
from tests.conftest import execute
from tests.support.dashboards import Open, status
from tests.support.metrics import metric, metrics_port
from tests.support.pages import fill, report
from tests.support.processes import wait_until
from tests.support.proxy import Proxy, through


class Stream:
    """A stream of events, read line by line."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self, event: str) -> str:
        """The data of the next event with this name."""
        for line in self._lines:
            if line == f"event: {event}":
                return next(self._lines).removeprefix("data:").strip()
        raise AssertionError(f"the stream ended before {event}")

    def end(self) -> None:
        for _ in self._lines:
            pass


@contextlib.contextmanager
def watching(url: str) -> Iterator[Stream]:
    with httpx.stream("GET", f"{url}/changes", timeout=60) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Stream(answer.iter_lines())


def test_a_commit_is_told_and_the_page_that_is_asked_for_then_shows_it(opened: Open, database_url: str) -> None:
    fill(database_url, [report("run", "first")])
    port = metrics_port()
    _, url = opened(PROCESSOR_METRICS_PORT=port)
    with httpx.Client(base_url=url, timeout=60) as client:
        with watching(url) as stream:
            version = stream.next("changed")
            assert metric(port, "processor_dashboard_watching") == 1
            before = client.get("/trials", headers={"x-version": version})
            tag = before.headers["etag"]
            again = client.get("/trials", headers={"x-version": version, "if-none-match": tag})
            assert (before.status_code, again.status_code, again.content) == (200, 304, b"")
            assert "second" not in before.text
            fill(database_url, [report("run", "second", 1)])
            # other programs may commit meanwhile: what counts is that a later version shows it
            while "second" not in client.get("/trials", headers={"x-version": version}).text:
                version = stream.next("changed")
            changed = client.get("/trials", headers={"x-version": version, "if-none-match": tag})
            assert changed.status_code == 200
            assert changed.headers["content-security-policy"] == before.headers["content-security-policy"]
        wait_until(lambda: metric(port, "processor_dashboard_watching") == 0, "who has gone is counted no more", 60)
        assert client.head("/changes").status_code == 200
        assert client.post("/changes").status_code == 405


def test_sigterm_lets_fifty_who_watch_go_at_once(opened: Open, database_url: str) -> None:
    """It does not wait for the time that pages have: that is a minute here, and longer than the test's patience."""
    port = metrics_port()
    process, url = opened(PROCESSOR_DASHBOARD_DRAIN_MS="60000", PROCESSOR_METRICS_PORT=port)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(watching(url)) for _ in range(50)]
        for stream in streams:
            stream.next("changed")
        assert metric(port, "processor_dashboard_watching") == 50
        assert process.stop(40) == 0
        for stream in streams:
            stream.end()
    assert "request_failed" not in process.said()


def test_so_many_may_watch_and_who_comes_then_is_told(opened: Open) -> None:
    _, url = opened()
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(MOST):
            one = stack.enter_context(socket.create_connection((host, int(port)), 60))
            one.sendall(f"GET /changes HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert one.recv(12) == b"HTTP/1.1 200"
        refused = httpx.get(f"{url}/changes", timeout=60)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert status(f"{url}/trials") == 200
    wait_until(lambda: status_of_stream(url) == 200, "there is room again", 60)


def status_of_stream(url: str) -> int:
    with httpx.stream("GET", f"{url}/changes", timeout=60) as answer:
        return answer.status_code


def test_a_database_that_goes_away_and_comes_back_is_told(opened: Open, database_url: str, proxy: Proxy) -> None:
    _, url = opened(**through(proxy, database_url))
    with watching(url) as stream:
        stream.next("changed")
        proxy.refuse()
        proxy.cut()
        stream.next("away")
        proxy.restore()
        version = stream.next("changed")
        execute(database_url, "insert into cerebros_model_runs (run_id) values ('late')")
        assert stream.next("changed") != version
