"""Stopping: the first signal drains, the second ends at once; whoever comes next goes on at once."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from processor.core.settings import Settings
from processor.kafka.group_source import GroupSource
from processor.kafka.membership import Subscription
from tests.conftest import execute
from tests.factories import load, produce
from tests.support.backends import Servers
from tests.support.ledger import check_ledger
from tests.support.patience import patient
from tests.support.processes import COMMAND, Process, wait_until
from tests.support.settle import rows, wait_settled

Start = Callable[..., Process]


@pytest.mark.parametrize(("command", "checkpoint"), [("ingest", "ingest.before_write"), ("relay", "relay.after_claim")])
def test_a_second_signal_ends_the_process_at_once_and_loses_nothing(
    command: str, checkpoint: str, settings: Settings, start: Start
) -> None:
    other = start("relay" if command == "ingest" else "ingest")
    halted = start(command, PROCESSOR_TEST_HALT_AT=checkpoint)
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=71))
    halted.wait_halted(checkpoint)
    halted.terminate()
    if command == "ingest":  # the relay's main thread stands at the checkpoint
        halted.wait_said("stopping")
    time.sleep(0.5)
    assert halted.running  # it drains, and would for ten seconds
    began = time.monotonic()
    halted.terminate()
    assert halted.wait(5) == 1
    assert time.monotonic() - began < patient(2)
    start(command)
    wait_settled(settings)
    assert other.running
    check_ledger(settings)


def test_a_signal_while_the_database_is_away_ends_within_the_deadline_and_loses_nothing(
    settings: Settings, start: Start, database_url: str, servers: Servers
) -> None:
    name = database_url.rpartition("/")[2]
    ingest = start("ingest", PROCESSOR_SHUTDOWN_TIMEOUT_MS="3000")
    ingest.wait_said("assigned")
    execute(
        servers.database_url,
        f"alter database {name} allow_connections false",
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'",
    )
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=72))
    ingest.wait_said("waiting_for_database")
    began = time.monotonic()
    assert ingest.stop() == 0
    assert time.monotonic() - began < patient(5)
    execute(servers.database_url, f"alter database {name} allow_connections true")
    start("ingest"), start("relay")
    wait_settled(settings)
    check_ledger(settings)


SILENT = {
    "database": ("PROCESSOR_DATABASE_URL", "postgresql://postgres@127.0.0.1:{port}/postgres"),
    "kafka": ("PROCESSOR_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:{port}"),
    "mlflow": ("PROCESSOR_MLFLOW_TRACKING_URI", "http://127.0.0.1:{port}"),
}


@pytest.mark.parametrize(
    ("command", "server"),
    [("ingest", "database"), ("ingest", "kafka"), ("relay", "database"), ("relay", "kafka"), ("mlflow", "mlflow")],
)
def test_a_signal_ends_a_process_at_once_that_waits_at_its_start_for_a_server_that_never_answers(
    command: str, server: str, start: Start
) -> None:
    name, value = SILENT[server]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        process = start(command, **{name: value.format(port=silent.getsockname()[1])})
        connection, _ = silent.accept()
        with connection:
            began = time.monotonic()
            assert process.stop(20) == 0, process.said()
            assert time.monotonic() - began < patient(2)
    assert "Traceback" not in process.said()


def test_the_successor_of_a_clean_stop_writes_within_two_seconds_of_its_assignment_being_free(
    protocol: str, settings: Settings, start: Start
) -> None:
    """Both run; the one that has the partitions stops, and the other writes what comes then."""
    first = start("ingest", PROCESSOR_GROUP_PROTOCOL=protocol)
    first.wait_said("assigned")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(300, seed=73, bad=0, again=0))
    wait_until(lambda: rows(settings) == 300, "the first writes")
    second = start("ingest", PROCESSOR_GROUP_PROTOCOL=protocol)
    second.wait_said("ingest_started")
    assert first.stop() == 0
    stopped = time.monotonic()
    later = [(key, value.replace(b'"trial-', b'"later-')) for key, value in load(300, seed=74, bad=0, again=0)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, later)
    wait_until(lambda: rows(settings) == 600, "the second writes", 2 + 5)
    assert time.monotonic() - stopped < patient(2 + 2)  # two for a machine that runs four tests at once
    start("relay")
    wait_settled(settings)
    check_ledger(settings)


def test_a_client_that_has_left_before_its_last_callback_ends_closes_without_an_error(
    protocol: str, settings: Settings
) -> None:
    """A slow thread: the group is left while the callback of `close` still runs, and the client answers nothing."""

    def slow(_frame: object, event: str, called: object) -> None:
        if event == "c_return" and getattr(called, "__name__", "") == "incremental_unassign":
            seen.append(called)
            time.sleep(0.5)

    seen: list[object] = []
    released: list[bool] = []
    subscription = Subscription(settings.raw_topic, settings.group_id, protocol=protocol)
    source = GroupSource(settings, subscription, lambda _partitions, lost: released.append(lost))
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(10, seed=73))
    wait_until(lambda: len(source.poll(1, 0.1)) == 1, "the first record")
    sys.setprofile(slow)
    try:
        source.close()
    finally:
        sys.setprofile(None)
    assert len(seen) == 1
    assert released == [False]


@contextmanager
def unread(*command: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command whose log nobody reads: the pipe is full, so its main thread stands still within its first line."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(write, True)
    process = subprocess.Popen(
        [*COMMAND, *command], env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=write
    )
    os.close(write)
    try:
        yield process, read
    finally:
        process.kill()
        process.wait()
        os.close(read)


@contextmanager
def told_within_a_line(*command: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """As `unread`, once the command stands still and has had its first signal."""
    with unread(*command, **environment, PROCESSOR_LOG_LEVEL="debug") as (process, log):
        wait_still(process)
        process.terminate()
        time.sleep(0.2)
        yield process, log


def wait_still(process: subprocess.Popen[bytes]) -> None:
    """Until its main thread, or that of each of its children, waits for somebody to read the pipe.

    Where the system does not tell: until it has begun, and has used no CPU for half a second.
    """
    used: list[float] = [0.0]

    def still() -> bool:
        here = psutil.Process(process.pid)
        with contextlib.suppress(OSError, psutil.Error):
            places = [Path(f"/proc/{one.pid}/wchan").read_text() for one in here.children() or [here]]
            if set(places) - {"", "0"}:  # 0: it runs, or the system hides it
                return all("pipe_write" in place for place in places)
        used.append(sum(here.cpu_times()[:2]))
        asleep = here.status() == psutil.STATUS_SLEEPING
        return asleep and len(used) > 10 and used[-1] > 0.3 and used[-1] == used[-10]

    wait_until(still, "the process stands still", 60)


@pytest.mark.parametrize("command", ["ingest", "relay", "run"])
def test_a_signal_while_the_main_thread_writes_a_log_line_ends_the_process_once_the_line_is_written(
    command: str, settings: Settings, environment: dict[str, str]
) -> None:
    """The main thread holds the lock of the log: whoever logs in a signal's handler waits for it for ever."""
    with told_within_a_line(command, **environment) as (process, log):
        threading.Thread(target=drain, args=[log], daemon=True).start()
        assert process.wait(patient(20)) == 0


@pytest.mark.parametrize("command", ["ingest", "relay"])
def test_a_second_signal_ends_a_process_whose_log_nobody_reads(
    command: str, settings: Settings, environment: dict[str, str]
) -> None:
    with told_within_a_line(command, **environment) as (process, _):
        process.terminate()
        assert process.wait(patient(5)) == 1


def drain(log: int) -> None:
    try:
        while os.read(log, 65536):
            pass
    except OSError:
        pass  # closed: the test is over
