"""A signal is heard whatever the main thread does, and nothing that it holds can stop the process from ending."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from processor.core.stopping import Stop, stop_on_signals
from tests.support.patience import patient
from tests.support.processes import wait_until

#: begins, says so, does `{work}` again and again until it is told to stop
PROGRAM = """
import sys, threading, time
import structlog
from processor.core.stopping import stop_on_signals

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # as core.logs has it
log, lock = structlog.get_logger(), threading.Lock()
with stop_on_signals(with_stdin={with_stdin}) as stop:
    print("begun", flush=True)
    while True:
        {work}
        if stop.is_set():
            break
    stop.tell()
"""


def begin(work: str, *, with_stdin: bool = False) -> subprocess.Popen[bytes]:
    program = PROGRAM.format(work=work, with_stdin=with_stdin)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    return process


def test_processes_that_log_all_the_time_end_at_their_first_signal() -> None:
    """32 of them: whoever logs in a signal's handler hangs in more than half."""
    wait = random.Random(5)
    for _ in range(8):
        processes = [begin("log.debug('busy', number=1)") for _ in range(4)]
        time.sleep(wait.random() / 50)
        for process in processes:
            process.terminate()
        assert [process.wait(patient(10)) for process in processes] == [0] * 4


@pytest.mark.parametrize("work", ["lock.acquire()", "time.sleep(60)", "log.debug('busy')", "threading.Event().wait()"])
def test_a_second_signal_ends_a_process_whatever_its_main_thread_does(work: str) -> None:
    process = begin(f"[{work} for _ in range(10**9)]")
    process.terminate()
    time.sleep(0.3)
    assert process.poll() is None
    process.terminate()
    assert process.wait(patient(5)) == 1


def test_two_signals_of_different_kinds_at_the_same_moment_are_two() -> None:
    process = begin("time.sleep(60)")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(patient(5)) == 1


def test_the_end_of_standard_input_stops_as_a_first_signal_does() -> None:
    process = begin("time.sleep(0.01)", with_stdin=True)
    assert process.stdin is not None
    process.stdin.write(b"anything")
    process.stdin.flush()
    time.sleep(0.3)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(patient(5)) == 0


def test_signals_are_as_before_once_it_is_over() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
        assert stop.reason == "SIGTERM"
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    wait_until(lambda: "signals" not in [one.name for one in threading.enumerate()], "its thread is gone", 5)


def test_the_first_reason_to_stop_stays() -> None:
    stop = Stop()
    assert not stop.wait(0.0)
    stop.set("SIGTERM")
    stop.set("the parent process is gone")
    assert (stop.is_set(), stop.reason) == (True, "SIGTERM")
