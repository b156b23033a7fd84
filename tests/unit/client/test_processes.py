"""A reporter in forks, spawned processes, threads and event loops: each report arrives once, and no loop waits."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cerebros_client import RAW_TOPIC, TrialReporter, UndeliveredError, forking, spool_sender
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from tests.support.patience import patient
from tests.unit.client.sending import recorded

FORKING = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


_brokers: list[Producer] = []  # one that nobody holds is gone


@pytest.fixture
def servers() -> str:
    """librdkafka's own broker, for all processes that a test makes."""
    broker = Producer({"bootstrap.servers": "mock:9092", "test.mock.num.brokers": 1})
    metadata = broker.list_topics(RAW_TOPIC, timeout=5)
    _brokers.append(broker)
    return ",".join(f"{one.host}:{one.port}" for one in metadata.brokers.values())


def arrived(servers: str, count: int) -> Counter[str]:
    """How often each trial is in the raw topic, once there are `count` of them."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False})
    partitions = consumer.list_topics(RAW_TOPIC, timeout=5).topics[RAW_TOPIC].partitions
    consumer.assign([TopicPartition(RAW_TOPIC, number, OFFSET_BEGINNING) for number in partitions])
    found: Counter[str] = Counter()
    deadline = time.monotonic() + patient(20)
    while found.total() < count and time.monotonic() < deadline:
        values = [message.value() for message in consumer.consume(100, 0.3) if message.error() is None]
        found.update(json.loads(value or b"")["trial_id"] for value in values)
    found.update(
        json.loads(message.value() or b"")["trial_id"] for message in consumer.consume(100, 0.5) if not message.error()
    )
    consumer.close()
    return found


def in_child(work: Any) -> int:
    """Forks, and ends the child as `multiprocessing` does, without cleaning up; its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@FORKING
@pytest.mark.parametrize("spool", [False, True])
def test_a_fork_reports_by_itself_and_nothing_arrives_twice(servers: str, spool: bool, tmp_path: Path) -> None:
    """What the parent has reported, and perhaps not sent yet, is the parent's."""
    with TrialReporter(servers, spool=tmp_path if spool else None) as reporter:
        for number in range(50):
            reporter.report("run", f"parent-{number}")

        def work() -> None:
            for number in range(20):
                reporter.report("run", f"child-{number}")
            reporter.close()

        assert in_child(work) == 0
        reporter.report("run", "parent-after")
    found = arrived(servers, 71)
    assert set(found.values()) == {1}
    assert len(found) == 71
    assert list(tmp_path.iterdir()) == []


@FORKING
def test_forks_while_other_threads_report(servers: str, tmp_path: Path) -> None:
    """No lock stays behind in the child, however busy the parent is."""
    with TrialReporter(servers, spool=tmp_path) as reporter:
        stop = threading.Event()
        numbers = iter(range(10**9))

        def search() -> None:
            while not stop.is_set():
                reporter.report("run", f"parent-{next(numbers)}")

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()

        def work(number: int) -> None:
            reporter.report("run", f"child-{number}")
            reporter.close()

        codes = [in_child(lambda number=number: work(number)) for number in range(8)]
        stop.set()
        for thread in threads:
            thread.join()
        assert codes == [0] * 8
        sent = next(numbers)
    found = arrived(servers, sent + 8)
    assert set(found.values()) == {1}
    assert len(found) == sent + 8


def test_a_child_that_ends_ordinarily_does_not_hang(servers: str) -> None:
    """A fork that leaves by sys.exit frees what it inherited: not the parent's producer, which would wait for ever."""
    script = f"""
        import os, sys
        from cerebros_client import TrialReporter
        reporter = TrialReporter({servers!r})
        reporter.report("run", "parent")
        child = os.fork()
        if child == 0:
            reporter.report("run", "child")
            sys.exit(0)  # closed at exit: it is sent
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        timeout=patient(30),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(servers, 2) == {"parent": 1, "child": 1}


@FORKING
def test_a_fork_in_the_middle_of_a_lookup_is_told_and_never_hangs(servers: str) -> None:
    """glibc's lock is caught in about every other child here; one of those says why, the others report."""
    stop = threading.Event()

    def look_up() -> None:
        while not stop.is_set():
            socket.getaddrinfo("127.0.0.1", 1, flags=socket.AI_ADDRCONFIG)

    threads = [threading.Thread(target=look_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    delivered, codes = [], set()
    with TrialReporter(servers) as reporter:

        def work(name: str) -> None:
            try:
                reporter.report("run", name)
            except UndeliveredError as error:
                os._exit(3 if "was forked while its parent was resolving a name" in str(error) else 4)
            reporter.close()

        for number in range(200):
            if (code := in_child(partial(work, f"child-{number}"))) == 0:
                delivered.append(f"child-{number}")
            codes.add(code)
            if {0, 3} <= codes:
                break
    stop.set()
    for thread in threads:
        thread.join()
    assert codes == {0, 3}
    assert arrived(servers, len(delivered)) == Counter(delivered)


@FORKING
def test_what_such_a_child_can_not_send_stays_in_the_spool(
    servers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_sender, "LOOK_S", 0.2)  # the parent finds what a dead process left
    with TrialReporter(servers, spool=tmp_path, close_timeout_s=patient(20)) as reporter:
        reporter.report("run", "parent")

        def work() -> None:
            monkeypatch.setattr(forking, "is_stuck", lambda: True)
            reporter.report("run", "child")
            os._exit(0)

        assert in_child(work) == 0
        assert arrived(servers, 2) == {"parent": 1, "child": 1}


@FORKING
def test_a_fork_waits_for_a_connection_that_is_being_made(servers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_SETTLE_S", 30.0)
    with TrialReporter(servers) as reporter:
        reporter.report("run", "parent")
        assert in_child(lambda: None) == 0
        reporter.flush(patient(0))  # confirmed, while the fork waited


@FORKING
def test_a_fork_waits_once_for_a_broker_that_does_not_answer() -> None:
    reporter = TrialReporter("127.0.0.1:1", close_timeout_s=0.1)
    reporter.report("run", "trial")
    assert list(forking._connecting) != []
    assert in_child(lambda: None) == 0
    assert list(forking._connecting) == []
    with pytest.raises(UndeliveredError):
        reporter.close()


def search_in_child(reporter: TrialReporter, name: str) -> None:
    reporter.report("run", name)


@FORKING
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_of_multiprocessing_is_given_the_reporter(servers: str, method: Any) -> None:
    """And does not have to close it: what it reported is sent before it ends."""
    context = multiprocessing.get_context(method)
    with TrialReporter(servers) as reporter:
        reporter.report("run", "parent")
        processes = [context.Process(target=search_in_child, args=(reporter, f"child-{one}")) for one in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
    assert arrived(servers, 3) == {"parent": 1, "child-0": 1, "child-1": 1}


def test_a_pickle_is_a_reporter_of_its_own_with_the_same_settings(servers: str, tmp_path: Path) -> None:
    with TrialReporter(servers, topic="t", options={"linger.ms": 1}, spool=tmp_path, close_timeout_s=3) as reporter:
        copy = pickle.loads(pickle.dumps(reporter))
        assert copy is not reporter
        assert (copy._target, copy._spool, copy._close_timeout_s) == (
            reporter._target,
            reporter._spool,
            reporter._close_timeout_s,
        )
        copy.close()


def test_a_reporter_that_nobody_closes_sends_all_the_same(servers: str) -> None:
    script = f"""
        from cerebros_client import TrialReporter
        TrialReporter({servers!r}).report("run", "first")
        reporter = TrialReporter({servers!r})
        reporter.report("run", "second")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=patient(30), check=True)
    assert arrived(servers, 2) == {"first": 1, "second": 1}


def test_what_can_not_be_sent_at_exit_is_told() -> None:
    script = """
        from cerebros_client import TrialReporter
        reporter = TrialReporter("127.0.0.1:1", close_timeout_s=0.2)
        reporter.report("run", "lost")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], timeout=patient(30), capture_output=True, text=True, check=True
    )
    assert "run/lost: no confirmation yet" in done.stderr


def test_one_that_can_not_be_closed_at_exit_keeps_none_from_it(servers: str, tmp_path: Path) -> None:
    """Something has closed its descriptors, as what makes a process a daemon does."""
    script = f"""
        import os
        from cerebros_client import TrialReporter
        first = TrialReporter({servers!r})
        first.report("run", "first")
        spooled = TrialReporter({servers!r}, spool={str(tmp_path)!r})
        spooled.report("run", "second")
        spooled.flush(20)
        os.close(spooled._delivery._own._lock_file)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], timeout=patient(30), capture_output=True, text=True, check=True
    )
    assert "at exit: a reporter could not be closed" in done.stderr
    assert arrived(servers, 2) == {"first": 1, "second": 1}


def test_an_event_loop_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a report waits for room, the loop goes round; the order of calls is the order of reports."""
    reporter, recorder = recorded(monkeypatch)
    offer, rooms = recorder.offer, threading.Event()

    def slow(*given: Any) -> bool:
        return rooms.wait(5) and offer(*given)

    monkeypatch.setattr(recorder, "offer", slow)

    async def search() -> int:
        async with reporter:
            reports = [asyncio.create_task(reporter.report_async("run", number)) for number in range(5)]
            rounds = 0
            for _ in range(20):
                await asyncio.sleep(0.005)
                rounds += 1
            assert not any(task.done() for task in reports)
            rooms.set()
            await asyncio.gather(*reports)
            await reporter.flush_async(5)
            return rounds

    assert asyncio.run(search()) == 20
    assert [one.trial_id for one in recorder.reports] == [str(number) for number in range(5)]


def test_blocks_of_an_event_loop_report_and_are_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter, recorder = recorded(monkeypatch)

    async def train(number: int, wait_s: float) -> None:
        async with reporter.trial("run", number) as trial:
            await trial.progress_async(0, loss=0.5)
            await asyncio.sleep(wait_s)
            trial.metrics(loss=0.5)

    async def search() -> None:
        async with reporter.run("run"):
            await train(1, 0)
            task = asyncio.create_task(train(2, 60))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(TypeError, match=r"^run_id"):
                await reporter.report_async(None, 1)

    asyncio.run(search())
    ends = [one for one in recorder.documents if isinstance(one, dict) and "metrics" in one]
    assert [(one["trial_id"], one["status"]) for one in ends] == [("1", "succeeded"), ("2", "cancelled")]
    assert [one["event"] for one in (recorder.documents[0], recorder.documents[-1])] == ["ml.run.start", "ml.run.stop"]
    reporter.close()


_HANDLER = """
import os, signal, sys
from cerebros_client import TrialReporter
from cerebros_client.kafka import KafkaTransport

reporter, told, once = TrialReporter(sys.argv[1]), KafkaTransport._delivered, [True]
signal.signal(signal.SIGUSR1, lambda *_: reporter.report("run", "handler"))

def interrupted(*arguments):
    if once:
        once.pop()
        os.kill(os.getpid(), signal.SIGUSR1)
    told(*arguments)

KafkaTransport._delivered = interrupted
for number in range(50):
    reporter.report("run", number)
reporter.flush()
reporter.close()
"""


def test_a_signals_handler_may_report_while_confirmations_are_handed_over(servers: str) -> None:
    """It comes in the first of many callbacks: confluent_kafka aborts at the next if its thread has polled again."""
    done = subprocess.run([sys.executable, "-c", _HANDLER, servers], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(servers, 51) == {"handler": 1, **{str(number): 1 for number in range(50)}}
