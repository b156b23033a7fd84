"""Answers that nobody reads: what they cost is bounded, and who reads is not cut off for it."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest

from processor.web.places import Times
from processor.web.unread import Unread
from tests.support.patience import patient
from tests.unit.gateway.fakes import Sender, Served, Setup, read_all, serving

MANY = b"[" + b",".join([b"{}"] * 8_000) + b"]"  # an answer of 960 kB
REQUEST = b"POST /v1/reports HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
MIB = 1024 * 1024
SETUP = Setup(
    max_reports=8_000, inflight=64 * MIB, delivery_s=60.0, times=Times(5.0, 60.0, 60.0), kernel_bytes=64 * 1024
)


class FakeTransport:
    def __init__(self, size: int) -> None:
        self.size = size

    def get_write_buffer_size(self) -> int:
        return self.size


class Fake:
    def __init__(self, size: int) -> None:
        self.transport = FakeTransport(size)


def test_who_has_read_nothing_for_longest_goes_first_and_no_more_than_have_to() -> None:
    unread: Unread[Fake] = Unread(100, 20.0)
    stuck, reading, done, new = Fake(60), Fake(90), Fake(0), Fake(50)
    assert unread.look([stuck, done], [], 0.0) == []
    assert unread.look([stuck, done, reading], [], 1.0) == [stuck]
    reading.transport.size = 70
    assert unread.look([reading, done], [], 2.0) == []
    assert unread.look([reading, done, new], [], 2.5) == [reading]
    assert unread.look([new, done], [], 22.0) == []
    assert unread.look([new, done], [new], 30.0) == []
    assert unread.look([new, done], [], 30.0) == [new]


def test_answers_that_nobody_reads_take_no_more_memory_than_is_allowed() -> None:
    """Each is complete, so its connection is idle, and nothing waits for it but its bytes."""
    with serving(Sender(), SETUP, unread=Unread(2 * MIB, 60.0)) as served:
        shut = [ask(served) for _ in range(6)]
        wait(lambda: len(served.connections) == 2)
        assert waiting(served) <= 2 * MIB
        answer = read_all(ask(served, window=0, last=True))
        assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["reports"]) == 8_000
        for one in shut:
            one.close()


@pytest.mark.parametrize("reads", [False, True])
def test_a_whole_answer_is_given_up_when_nothing_of_it_is_read(reads: bool) -> None:
    with serving(Sender(), SETUP, unread=Unread(seconds=1.5)) as served, ask(served) as opened:
        wait(lambda: waiting(served) > 0)
        took = 0
        deadline = time.monotonic() + 5.0
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline and len(served.connections) == 1:
                took += len(opened.recv(100_000)) if reads else 0
                time.sleep(0.2)
        assert (len(served.connections) == 1) is reads


def ask(served: Served, *, window: int = 4096, last: bool = False) -> socket.socket:
    """`window`: bytes that the kernel keeps for who does not read; 0: as it likes."""
    opened = socket.socket()
    if window:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    opened.settimeout(10)
    opened.connect(("127.0.0.1", served.port))
    close = b"Connection: close\r\n" if last else b""
    opened.sendall(REQUEST + close + b"Content-Length: %d\r\n\r\n" % len(MANY) + MANY)
    return opened


def waiting(served: Served) -> int:
    open_now = [one for holders in served.connections._all for one in list(holders)]
    return sum(one.transport.get_write_buffer_size() for one in open_now)


def wait(condition: object, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + patient(timeout_s)
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
