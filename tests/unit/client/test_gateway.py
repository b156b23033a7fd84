"""Reports over HTTP: sent again until Kafka has them, in order; a refused one is told and stops none behind it.

The gateway here is a small server that answers what the real one answers (`processor/gateway`); what it is told to do
wrong, the real one can't be made to do.
"""

from __future__ import annotations

import json
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cerebros_client import TrialReporter, UndeliveredError, connect
from cerebros_client import gateway as module
from cerebros_client.http_post import Poster

from tests.support.patience import patient

Reply = tuple[int, Any, dict[str, str]]


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    reports: list[Any]


class Gateway:
    """Takes all by default; `replies` are given first, each for one request."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.replies: list[Callable[[list[Any]], Reply | None]] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reports = body if isinstance(body, list) else [body]
                gateway.requests.append(Request(self.path, dict(self.headers), reports))
                reply = gateway.replies.pop(0)(reports) if gateway.replies else verdicts(reports)
                if reply is None:  # gone in the middle
                    self.close_connection = True
                    return
                status, document, headers = reply
                said = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None: ...

        self.handler = Handler
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def trials(self) -> list[str]:
        return [report["trial_id"] for request in self.requests for report in request.reports]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def verdicts(reports: list[Any], **wrong: str) -> Reply:
    """As the gateway: accepted, unless `wrong` says what a trial is."""
    said = []
    for index, report in enumerate(reports):
        status = wrong.get(report["trial_id"], "accepted")
        why = {"reason": "unknown_status", "path": "status", "details": "no status"} if status == "rejected" else {}
        said.append({"index": index, "status": status, "trial_id": report["trial_id"], **why})
    words = {one["status"] for one in said}
    code = 503 if "unconfirmed" in words else 202 if words == {"accepted"} else 207 if "accepted" in words else 422
    return code, {"accepted": 0, "rejected": 0, "unconfirmed": 0, "reports": said}, {}


def saying(status: int, error: str = "", **headers: str) -> Callable[[list[Any]], Reply]:
    document = {"success": False, "error": error, "details": "because"}
    return lambda _: (status, document, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr(module, "_PAUSE_S", 0.02)
    made = Gateway()
    yield made
    made.close()


def test_reports_arrive_in_order_with_their_times_and_the_token(gateway: Gateway) -> None:
    with connect(gateway.url, token="secret") as reporter:
        for number in range(500):
            reporter.report("run", number, metrics={"accuracy": 0.5})
    assert gateway.trials == [str(number) for number in range(500)]
    times = [int(one) for request in gateway.requests for one in request.headers["Cerebros-Reported-At"].split(",")]
    assert len(times) == 500
    assert times == sorted(times)
    assert abs(times[0] - time.time() * 1000) < 60_000
    assert {(one.path, one.headers["Authorization"]) for one in gateway.requests} == {("/v1/reports", "Bearer secret")}
    assert max(len(request.reports) for request in gateway.requests) <= 200


def test_a_connection_that_the_gateway_has_ended_while_nothing_was_sent_is_no_outage(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials take longer than it keeps one. Not even an attempt is waited for, at whichever step it is seen."""
    monkeypatch.setattr(gateway.handler, "timeout", 0.05)
    monkeypatch.setattr(module, "_PAUSE_S", 60)
    with caplog.at_level(logging.INFO), connect(gateway.url, close_timeout_s=0.1) as reporter:
        for number in range(4):
            reporter.report("run", number)
            reporter.flush(patient(10))
            kept = reporter._delivery._transport._poster._connection.sock  # type: ignore[union-attr]
            assert select.select([kept], [], [], patient(10))[0]
    assert gateway.trials == ["0", "1", "2", "3"]
    assert caplog.text == ""


@pytest.mark.parametrize(
    "first",
    [
        saying(503, "draining", Retry_After="0"),
        saying(429, "too_many"),
        saying(500, "internal"),
        saying(401, "unauthorized"),
        saying(404, "not_found"),
        saying(302, "moved"),
        lambda _: None,
        lambda reports: verdicts(reports, **{report["trial_id"]: "unconfirmed" for report in reports}),
        lambda _: (202, b"no json at all", {}),
        lambda _: (202, {"reports": [{"status": "accepted"}] * 7}, {}),
        lambda _: (202, {"reports": [{"status": []}]}, {}),
        lambda _: (202, b"[" * 100_000, {}),
        lambda _: (202, b"-5\r\n", {"Transfer-Encoding": "chunked"}),
    ],
    ids=[
        "503",
        "429",
        "500",
        "401",
        "404",
        "302",
        "cut",
        "unconfirmed",
        "no-json",
        "other-count",
        "list",
        "deep",
        "chunk",
    ],
)
def test_what_is_not_taken_is_sent_again_whole_and_in_order(
    gateway: Gateway, first: Callable[[list[Any]], Reply | None], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with the gateway, or with the set-up: the reports wait for somebody to mend it."""
    caplog.set_level(logging.INFO)
    gateway.replies = [first, first]
    with connect(gateway.url) as reporter:
        reporter.report("run", "a")
        reporter.flush(patient(10))
        reporter.report("run", "b")
    assert gateway.trials == ["a", "a", "a", "b"]
    assert [one.levelname for one in caplog.records if one.message.startswith("gateway: ")] == ["WARNING"]
    assert "takes reports again" in caplog.text


def test_only_what_kafka_has_not_confirmed_is_sent_again(gateway: Gateway) -> None:
    held = threading.Event()

    def hold(_: list[Any]) -> Reply:
        held.wait(10)
        return saying(503)([])

    gateway.replies = [hold, lambda reports: verdicts(reports, b="unconfirmed", d="unconfirmed")]
    with connect(gateway.url) as reporter:
        for trial in "abcd":
            reporter.report("run", trial)
        held.set()
    sent = [[report["trial_id"] for report in request.reports] for request in gateway.requests]
    assert sent[-2:] == [["a", "b", "c", "d"], ["b", "d"]]


def test_a_refused_report_is_told_and_those_behind_it_go_on(gateway: Gateway) -> None:
    gateway.replies = [saying(503), lambda reports: verdicts(reports, bad="rejected")]
    reporter = connect(gateway.url)
    for trial in ("good", "bad", "later"):
        reporter.report("run", trial)
    with pytest.raises(UndeliveredError, match=r"^1 trial .*run/bad: refused: unknown_status: status") as caught:
        reporter.close()
    assert json.loads(caught.value.trials[0].value)["trial_id"] == "bad"
    assert gateway.trials[-1] == "later"


def test_a_refused_report_stays_in_the_spool(gateway: Gateway, tmp_path: Path) -> None:
    gateway.replies = [lambda reports: verdicts(reports, bad="rejected")]
    reporter = connect(gateway.url, spool=tmp_path)
    reporter.report("run", "bad")
    with pytest.raises(UndeliveredError, match=r"run/bad: refused"):
        reporter.flush(patient(10))
    reporter.report("run", "good")
    reporter.flush(patient(10))
    reporter.close()
    assert len(list(tmp_path.glob("*.db"))) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_a_request_that_is_refused_as_a_whole_is_taken_apart(gateway: Gateway, status: int) -> None:
    """One report is too large for the gateway: the others are not lost with it."""

    def judge(reports: list[Any]) -> Reply:
        if any(report["trial_id"] == "large" for report in reports):
            return saying(status, "too_large")(reports)
        return verdicts(reports)

    gateway.replies = [saying(503), *[judge] * 6]
    reporter = connect(gateway.url)
    for trial in ("a", "large", "b"):
        reporter.report("run", trial)
    with pytest.raises(UndeliveredError, match=r"^1 trial .*run/large: refused: too_large: because"):
        reporter.flush(patient(10))
    reporter.close()
    alone = [request.reports[0]["trial_id"] for request in gateway.requests if len(request.reports) == 1]
    assert alone[-3:] == ["a", "large", "b"]


def test_retry_after_is_waited_for_and_closing_does_not_wait_for_it(gateway: Gateway) -> None:
    gateway.replies = [saying(503, "draining", Retry_After="90")]
    reporter = TrialReporter(gateway.url, close_timeout_s=0.3)
    reporter.report("run", "a")
    begin = time.monotonic()
    with pytest.raises(UndeliveredError, match=r"run/a: no confirmation yet \(the gateway answers 503: draining"):
        reporter.close()
    assert time.monotonic() - begin < patient(5)
    assert gateway.trials == ["a"]


def test_who_does_not_answer_and_where_a_path_leads_to_nothing_is_told(gateway: Gateway) -> None:
    """A URL with the path in it, or of nobody: without the address that was asked neither can be seen."""
    gateway.replies = [saying(404, "not_found")] * 20
    reporter = TrialReporter(f"{gateway.url}/v1/reports", close_timeout_s=1)
    reporter.report("run", "a")
    with pytest.raises(UndeliveredError, match=f"answers 404 to POST {gateway.url}/v1/reports/v1/reports: not_found"):
        reporter.close()
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    reporter = TrialReporter(nobody, close_timeout_s=1)
    reporter.report("run", "a")
    with pytest.raises(UndeliveredError, match=rf"no confirmation yet \({nobody}: ConnectionRefusedError"):
        reporter.close()


def test_a_gateway_that_hangs_does_not_hang_the_end(gateway: Gateway) -> None:
    hangs = threading.Event()
    gateway.replies = [lambda reports: (hangs.wait(patient(20)), verdicts(reports))[1]]
    reporter = TrialReporter(gateway.url, close_timeout_s=0.3)
    reporter.report("run", "a")
    begin = time.monotonic()
    with pytest.raises(UndeliveredError):
        reporter.close()
    assert time.monotonic() - begin < patient(5)
    hangs.set()


def test_a_full_queue_makes_report_wait(gateway: Gateway) -> None:
    with TrialReporter(gateway.url, queue_max_reports=2) as reporter:
        for number in range(50):
            reporter.report("run", number)
    assert gateway.trials == [str(number) for number in range(50)]


def test_what_is_a_record_already_goes_alone(gateway: Gateway) -> None:
    """An envelope, or the metrics of a step: no part of another array."""
    gateway.replies = [saying(503), *[lambda _: (202, {"reports": [{"status": "accepted"}] * 2}, {})] * 2]
    with connect(gateway.url) as reporter:
        reporter.progress("run", "t", 1, loss=0.5, accuracy=0.5)
        reporter.send("run", "an envelope", b'{"run_id": "run", "trials": []}')
        reporter.report("run", "a")
    assert [len(request.reports) for request in gateway.requests] == [2, 2, 1, 1]


def test_nobody_there_is_an_outage(gateway: Gateway, tmp_path: Path) -> None:
    url = gateway.url
    gateway.close()
    reporter = TrialReporter(url, spool=tmp_path, close_timeout_s=0.2)
    reporter.report("run", "a")
    with pytest.raises(UndeliveredError, match="in the spool"):
        reporter.flush(0.2)
    reporter.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://user:secret@host",
        "https://host?query=1",
        "https://host/#part",
        "ftp://host",
        "ftp://user:secret@host",
        "kafka://user:secret@host",
        "http://a..b",
        "http://" + "x" * 70,
        "http://host:0",
        "http://host/\u00fc",
        "http://host/a b",
        "http://[::1",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_proxies_are_those_of_the_environment(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", gateway.url)
    answer = Poster("http://gateway.invalid/below").post("/v1/reports", b'{"trial_id": "a"}', {})
    assert answer.status == 202
    assert gateway.requests[0].path == "http://gateway.invalid/below/v1/reports"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert Poster(gateway.url).post("/v1/reports", b'{"trial_id": "a"}', {}).status == 202
    assert gateway.requests[1].path == "/v1/reports"


@pytest.mark.parametrize("token", ["secret\n", "secret\u20ac", " secret", "sec\x00ret"])
def test_a_token_that_can_not_be_in_a_header_is_refused_at_once_without_a_letter_of_it(token: str) -> None:
    with pytest.raises(ValueError, match="the token") as caught:
        connect("http://127.0.0.1:9", token=token)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["127.0.0.1:99999", "http://[bad", "http://me:secret@a..b:80"])
def test_a_proxy_that_makes_no_sense_is_refused_by_the_name_of_its_variable(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ValueError, match="http_proxy") as caught:
        connect("http://gateway.invalid")
    assert "secret" not in str(caught.value)


def test_what_nobody_thought_of_does_not_end_the_sending(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    send, failures = module.GatewayTransport._send, [KeyError("one"), MemoryError()]

    def fails(self: module.GatewayTransport, batch: Any) -> bool:
        if failures:
            raise failures.pop()
        return send(self, batch)

    monkeypatch.setattr(module.GatewayTransport, "_send", fails)
    with connect(gateway.url) as reporter:
        reporter.report("run", "a")
    assert gateway.trials == ["a"]


def test_a_report_that_waits_for_room_ends_when_another_thread_closes(gateway: Gateway) -> None:
    held, ended = threading.Event(), []
    gateway.replies = [lambda reports: (held.wait(patient(20)), verdicts(reports))[1]]
    reporter = TrialReporter(gateway.url, queue_max_reports=1, close_timeout_s=0.1)
    delivery: Any = reporter._delivery
    reporter.report("run", "first")

    def wait_for_room() -> None:
        with pytest.raises(RuntimeError, match="closed") as caught:
            reporter.report("run", "second")
        ended.append(caught.value)

    waiting = threading.Thread(target=wait_for_room, daemon=True)
    waiting.start()
    while len(delivery._pending) < 2:
        time.sleep(0.01)
    with pytest.raises(UndeliveredError):
        reporter.close()
    waiting.join(patient(10))
    held.set()
    assert len(ended) == 1
    reporter._delivery = delivery  # as at the end of a process, which closes what is open
    with pytest.raises(RuntimeError, match="closed"):
        reporter.report("run", "third")
    reporter._delivery = None
