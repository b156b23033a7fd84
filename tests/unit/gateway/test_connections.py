"""What a caller may do to a connection: slow, endless, too many, ambiguous; on real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest

from processor.web import places
from processor.web.connections import MAX_HEAD_BYTES
from processor.web.guard import Guard
from processor.web.places import Times
from tests.support.patience import patient
from tests.unit.gateway.fakes import Sender, Served, Setup, read_all, serving

BODY = json.dumps({"run_id": "run", "trial_id": "t1"}).encode()
HEAD = b"POST /v1/reports HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
GOOD = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
LAST = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def test_requests_follow_each_other_on_one_connection() -> None:
    sender = Sender()
    with serving(sender) as served:
        answer = served.ask(GOOD + GOOD + LAST)
    assert answer.count(b"HTTP/1.1 202 Accepted") == 3
    assert len(sender.sent) == 3


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: %d\r\nContent-Length: 3\r\n",
        b"Content-Length: %d\r\nContent-Length: %d\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length : %d\r\n",
        b"Content-Length: +%d\r\n",
        b"Content-Length: %d, %d\r\n",
        b"Content-Length: %d\r\n X: folded\r\n",
        b"Content-Length: %d\r\nHost: other\r\n",
        b"Content-Length: %d\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        b"Content-Length: %d\nX: bare\n",
        b"Content-Length: %d\r\nX\x00: nul\r\n",
        b"Content-Length: 99999999999999999999999999\r\n",
        b"Content-Length: -1\r\n",
    ],
)
def test_what_two_readers_may_read_in_two_ways_is_refused(head: bytes) -> None:
    sender = Sender()
    numbers = head.count(b"%d")
    with serving(sender) as served:
        answer = served.ask(HEAD + head % ((len(BODY),) * numbers) + b"\r\n" + BODY + GOOD)
    assert status_of(answer) == 400
    assert (answer.count(b"HTTP/1.1"), sender.sent) == (1, [])


UPGRADES = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    b"Connection: keep-alive\r\nconnection: upgrade\r\nupgrade: TLS/1.2\r\nUpgrade: websocket\r\n",
]


@pytest.mark.parametrize("asking", UPGRADES)
def test_a_request_that_asks_for_another_protocol_is_read_in_this_one(asking: bytes) -> None:
    """As `curl --http2` and Java's HttpClient ask, at any cut, and with others before and behind it."""
    sender = Sender()
    sized = HEAD + asking + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    chunked = HEAD + asking + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    plain = b"GET /live HTTP/1.1\r\nHost: gateway\r\n" + asking + b"\r\n"
    with serving(sender) as served:
        answer = served.ask(GOOD + sized + chunked + plain + sized + LAST)
        assert answer.count(b"HTTP/1.1 202") == 5
        assert answer.count(b"HTTP/1.1 200") == 1
        with served.connect() as opened:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in sized + LAST:
                opened.sendall(bytes([byte]))
            answer = read_all(opened)
        assert answer.count(b"HTTP/1.1 202") == 2
    assert [message.value for message in sender.sent] == [BODY] * 7


@pytest.mark.parametrize("asking", UPGRADES)
def test_asking_for_another_protocol_gets_past_no_bound(asking: bytes) -> None:
    sender = Sender()
    both = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(sender, Setup(times=Times(0.5, 5.0, 30.0))) as served:
        for head in (both, b"Content-Length: 3\r\nHost: other\r\n\r\n", b"Content-Length: 3, 3\r\n\r\n"):
            answer = served.ask(HEAD + asking + head + BODY + GOOD)
            assert (status_of(answer), answer.count(b"HTTP/1.1")) == (400, 1)
        assert status_of(served.ask(HEAD + asking + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n")) == 431
        assert status_of(served.ask(HEAD + asking + b"".join(b"X%d: y\r\n" % one for one in range(200)))) == 431
        assert status_of(served.ask(HEAD + asking)) == 408
        assert status_of(served.ask(b"CONNECT /v1/reports HTTP/1.1\r\nHost: gateway\r\n\r\n" + GOOD)) == 400
        ahead = b"GET /live HTTP/1.1\r\nHost: gateway\r\n" + asking + b"\r\n"
        assert served.ask(ahead * 2000).count(b"HTTP/1.1 200") < 100
    assert sender.sent == []


@pytest.mark.parametrize(
    "chunks",
    [b"5 \r\nhello\r\n0\r\n\r\n", b"-1\r\nx", b"5\nhello\n0\n\n", b"FFFFFFFFFFFFFFFFF\r\nx", b"3\r\nhello\r\n"],
)
def test_chunks_of_no_certain_length_end_the_connection(chunks: bytes) -> None:
    sender = Sender()
    with serving(sender) as served:
        answer = served.ask(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + GOOD)
    assert answer.count(b"HTTP/1.1 202") == 0
    assert sender.sent == []


def test_a_chunked_body_is_read_and_its_trailers_are_not() -> None:
    sender = Sender()
    chunked = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    one_by_one = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
    with serving(sender) as served:
        assert status_of(served.ask(chunked + one_by_one + b"0\r\n\r\n")) == 202
        answer = served.ask(chunked + one_by_one + b"0\r\nAuthorization: Bearer x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 202") == 0
    assert len(sender.sent) == 1


def test_a_chunked_body_without_end_is_refused_when_it_is_too_large() -> None:
    with serving(Sender(), Setup(max_body_bytes=100_000)) as served, served.connect() as opened:
        opened.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        writer = threading.Thread(target=pour, args=(opened,))
        writer.start()
        answer = read_all(opened)
        writer.join(10)
        assert not writer.is_alive()
    assert status_of(answer) == 413
    assert b"connection: close" in answer


def pour(opened: socket.socket) -> None:
    """Chunks, until nobody takes them."""
    with contextlib.suppress(OSError):
        while True:
            opened.sendall(b"1000\r\n" + b"[" * 0x1000 + b"\r\n")


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent() -> None:
    with serving(Sender()) as served:
        began = time.monotonic()
        answer = served.ask(HEAD + b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        assert status_of(answer) == 413
        assert b"100 Continue" not in answer
        assert time.monotonic() - began < patient(1.0)


def test_a_caller_that_is_refused_while_it_sends_sees_the_answer() -> None:
    """A connection that is closed with bytes unread is reset, and the answer may be lost with it."""
    with serving(Sender()) as served:
        body = b"x" * 900_000
        answer = served.ask(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert status_of(answer) == 413


def test_a_head_in_dribbles_ends_in_408_and_a_silent_connection_without_a_word() -> None:
    with serving(Sender(), Setup(times=Times(0.5, 5.0, 30.0))) as served:
        with served.connect() as silent, served.connect() as dribbling:
            began = time.monotonic()
            for byte in HEAD:
                if time.monotonic() - began > 4:
                    break
                try:
                    dribbling.sendall(bytes([byte]))
                except OSError:
                    break
                time.sleep(0.05)
            assert status_of(read_all(dribbling)) == 408
            assert read_all(silent) == b""
        assert time.monotonic() - began < patient(5)


def test_a_body_in_dribbles_ends_in_408() -> None:
    with serving(Sender(), Setup(body_s=0.5)) as served, served.connect() as opened:
        opened.sendall(HEAD + b"Content-Length: 100\r\n\r\n[")
        answer = read_all(opened)
    assert status_of(answer) == 408
    assert b"connection: close" in answer


def test_a_head_without_end_is_refused() -> None:
    with serving(Sender()) as served:
        assert status_of(served.ask(HEAD + b"X: " + b"x" * (MAX_HEAD_BYTES + 10))) == 431
        assert status_of(served.ask(HEAD + b"".join(b"X%d: y\r\n" % one for one in range(200)) + b"\r\n")) == 431
        assert status_of(served.ask(b"GET /" + b"x" * (MAX_HEAD_BYTES + 10))) == 431


def test_many_requests_sent_ahead_are_bounded() -> None:
    with serving(Sender()) as served:
        answer = served.ask(b"GET /live HTTP/1.1\r\nHost: gateway\r\n\r\n" * 2000)
    assert answer.count(b"HTTP/1.1 200") < 100


def test_a_connection_between_requests_is_closed_when_it_has_been_idle() -> None:
    with serving(Sender(), Setup(times=Times(5.0, 1.0, 30.0))) as served, served.connect() as opened:
        opened.sendall(GOOD)
        began = time.monotonic()
        assert status_of(read_all(opened)) == 202
        assert 0.5 < time.monotonic() - began < patient(5)


def test_idle_connections_never_keep_out_one_that_works() -> None:
    with serving(Sender(), Setup(most=20)) as served:
        idle = [served.connect() for _ in range(60)]
        assert status_of(served.ask(LAST)) == 202
        assert len(served.connections) <= 20
        for one in idle:
            one.close()


def test_when_all_connections_work_one_more_is_told_to_come_back() -> None:
    held = threading.Event()
    sender = Sender(lambda _: None)
    with serving(sender, Setup(most=2, delivery_s=3.0)) as served:
        working = [served.connect() for _ in range(2)]
        for one in working:
            one.sendall(LAST)
        wait(lambda: len(sender.sent) == 2)
        answer = served.ask(b"")
        assert status_of(answer) == 503
        assert b"retry-after" in answer
        assert [status_of(read_all(one)) for one in working] == [503, 503]
        held.set()


def held_up(served: Served, most: int) -> list[socket.socket]:
    """So many connections whose bodies have begun, or not even that, and never come."""
    opened = []
    for at in range(most):
        opened.append(served.connect())
        opened[-1].sendall(HEAD + b"Content-Length: 100\r\n\r\n" + b" " * at)
        wait(lambda: len(served.connections._busy) == len(opened))
    return opened


def test_bodies_that_never_come_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SILENT_SECONDS", 0.0)
    with serving(Sender(), Setup(most=4)) as served:
        silent = held_up(served, 4)
        assert status_of(served.ask(LAST)) == 202
        assert read_all(silent[0]) == b""  # the one that was silent for longest
        silent[1].sendall(b"x" * 99)
        assert status_of(silent[1].recv(65536)) == 400
        for one in silent:
            one.close()


def test_bodies_that_are_being_sent_are_not_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SILENT_SECONDS", 3600.0)
    with serving(Sender(), Setup(most=2)) as served:
        sending = held_up(served, 2)
        assert status_of(served.ask(b"")) == 503
        for at, one in enumerate(sending):
            one.sendall(b"x" * (100 - at))
            assert status_of(one.recv(65536)) == 400
            one.close()


def test_who_waits_for_kafka_does_not_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the next request's body, behind the one that is worked on, does not come."""
    monkeypatch.setattr(places, "SILENT_SECONDS", 0.0)
    sender = Sender(lambda _: None)
    with serving(sender, Setup(most=2, delivery_s=3.0)) as served:
        working = [served.connect() for _ in range(2)]
        working[0].sendall(GOOD)
        working[1].sendall(GOOD + HEAD + b"Content-Length: 100\r\n\r\n[")
        wait(lambda: len(sender.sent) == 2)
        assert status_of(served.ask(b"")) == 503
        assert [status_of(one.recv(65536)) for one in working] == [503, 503]
        for one in working:
            one.close()


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    """The lists of verdicts of many requests sent ahead, into a window that stays shut."""
    many = b"[" + b",".join([BODY] * 900) + b"]"
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(many) + many
    with serving(Sender(), Setup(times=Times(1.0, 1.0, 2.0))) as served, served.connect() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        threading.Thread(target=send_quietly, args=(opened, request * 10), daemon=True).start()
        wait(lambda: len(served.connections) == 1)
        wait(lambda: len(served.connections) == 0, 25)


def send_quietly(opened: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        opened.sendall(data)


def test_while_it_drains_what_has_begun_is_answered_and_nothing_new_is_taken() -> None:
    hold = threading.Event()

    def answer(_: object) -> object:
        threading.Thread(target=lambda: hold.wait(5)).start()
        return None

    sender = Sender(answer)  # type: ignore[arg-type]
    with serving(sender, Setup(delivery_s=2.0)) as served:
        with served.connect() as working, served.connect() as idle:
            working.sendall(GOOD)
            wait(lambda: len(sender.sent) == 1)
            served.stop.set()
            assert read_all(idle) == b""
            found = read_all(working)
        assert status_of(found) == 503
        assert b"connection: close" in found
        wait(lambda: refuses(served))
    hold.set()


def refuses(served: Served) -> bool:
    try:
        served.connect(1.0).close()
    except OSError:
        return True
    return False


def wait(condition: object, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + patient(timeout_s)
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("line", [b"GET /live", b"GET /live HTTP/0.9", b"GET /live HTTP/2.0", b"GET /live HTTP/1.2"])
def test_another_version_of_http_is_told(line: bytes) -> None:
    """Without a version there is no Host either, and other readers end it elsewhere."""
    with serving(Sender()) as served:
        assert status_of(served.ask(line + b"\r\nHost: gateway\r\n\r\n")) == 400
        assert status_of(served.ask(b"GET /live HTTP/1.0\r\n\r\n")) == 200


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"]
)
def test_what_is_no_http_is_told(raw: bytes) -> None:
    with serving(Sender()) as served:
        assert status_of(served.ask(raw + b"\r\n\r\n")) in (400, 404, 405)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://evil.example/live", b"localhost"),
        (b"http://localhost/live", b"evil.example"),
        (b"http://localhost:81/live", b"localhost"),
        (b"http://localhost@evil.example/live", b"localhost"),
        (b"http://evil.example?/live", b"localhost"),
        (b"HTTP://evil.example/live", b"localhost"),
        (b"ftp://localhost/live", b"localhost"),
    ],
)
def test_a_target_that_names_another_host_than_the_header_is_refused(target: bytes, host: bytes) -> None:
    """Else one of the two is checked, and the other one meant."""
    guard = Guard(None, frozenset(("localhost", "evil.example")))
    head = b"POST %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
    with serving(Sender(), Setup(guard=guard)) as served:
        assert status_of(served.ask(head % (target, host))) == 400


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://localhost/live", b"localhost"),
        (b"http://LOCALHOST:80/live", b"localhost"),
        (b"http://localhost:8080/live?x=http://a/", b"localhost:8080"),
        (b"https://localhost/live", b"localhost:443"),
        (b"/live?x=http://evil.example/", b"localhost"),
    ],
)
def test_a_target_that_names_the_same_host_is_read(target: bytes, host: bytes) -> None:
    with serving(Sender()) as served:
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
        assert status_of(served.ask(head % (target, host))) == 200
        assert status_of(served.ask(b"GET %b HTTP/1.0\r\n\r\n" % target)) == 200
