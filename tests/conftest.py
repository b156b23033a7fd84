"""Fixtures: real servers once a session, a cloned database, topics and a group of its own for each test."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest

from processor.core.settings import Settings
from processor.kafka.topics import create_topics
from processor.local.mlflow import MlflowServer
from processor.mlflow.rest import RestTracking
from processor.store.migrations import migrate
from processor.store.session import Session
from tests.support.backends import OwnServers, Servers, missing, open_servers
from tests.support.dashboards import Open, dashboards
from tests.support.mlflow import open_mlflow
from tests.support.processes import Process
from tests.support.proxy import Proxy

# the same examples in each run, however slow the machine: what fails can be repeated. To look further:
# HYPOTHESIS_PROFILE=default
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

TEMPLATE = f"processor_template_{os.getpid()}"
_names = itertools.count()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's settings come from the test, whatever the shell that runs it has set."""
    for name in list(os.environ):
        if name.startswith("PROCESSOR_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with open_servers() as found:
        yield found


@pytest.fixture
def own_servers(servers: Servers) -> Iterator[OwnServers]:
    """Servers that a test may stop, kill and freeze; those after it find them running."""
    if not isinstance(servers, OwnServers):
        missing("needs servers that the tests may stop: not those of PROCESSOR_* variables")
    yield servers
    for server in (servers.kafka, servers.postgres):
        server.start()


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest, servers: Servers) -> str:
    """Each group protocol that the broker has."""
    if request.param == "consumer" and not servers.has_new_groups:
        pytest.skip("Kafka 3 has a preview of KIP-848 only")
    return str(request.param)


@pytest.fixture(scope="session")
def _mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with open_mlflow(tmp_path_factory.mktemp("mlflow")) as opened:
        yield opened


@pytest.fixture
def mlflow_server(_mlflow_server: MlflowServer) -> Iterator[MlflowServer]:
    """A real tracking server that a test may stop, or start with another `backend`; the next one finds it as it was."""
    backend = _mlflow_server.backend
    yield _mlflow_server
    if _mlflow_server.backend != backend:
        _mlflow_server.stop()
        _mlflow_server.backend = backend
    _mlflow_server.start()


@pytest.fixture
def tracking(mlflow_server: MlflowServer) -> RestTracking:
    return RestTracking(mlflow_server.url)


def execute(url: str, *statements: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(work())


def database(url: str, name: str) -> str:
    head, _, tail = url.rpartition("/")
    _, question, query = tail.partition("?")
    return f"{head}/{name}{question}{query}"


@pytest.fixture(scope="session")
def template(servers: Servers) -> Iterator[str]:
    """A migrated database that each test clones: faster than migrating, and every test starts from nothing."""
    execute(servers.database_url, f"create database {TEMPLATE}")
    with Session(database(servers.database_url, TEMPLATE)) as store:
        migrate(store)
    yield TEMPLATE
    execute(servers.database_url, f"drop database {TEMPLATE} with (force)")


@pytest.fixture
def database_url(servers: Servers, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_names)}"
    execute(servers.database_url, f"create database {name} template {template}")
    yield database(servers.database_url, name)
    execute(servers.database_url, f"drop database if exists {name} with (force)")


@pytest.fixture
def empty_database_url(servers: Servers) -> Iterator[str]:
    """A database that was never migrated."""
    name = f"test_{os.getpid()}_{next(_names)}"
    execute(servers.database_url, f"create database {name}")
    yield database(servers.database_url, name)
    execute(servers.database_url, f"drop database if exists {name} with (force)")


@pytest.fixture
def store(database_url: str) -> Iterator[Session]:
    with Session(database_url) as opened:
        yield opened


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """Between a process that is pointed at it (`through`) and this test's database."""
    host, _, port = database_url.rpartition("@")[2].partition("/")[0].partition(":")
    with Proxy(host, int(port)) as opened:
        yield opened


@pytest.fixture
def environment(servers: Servers, database_url: str) -> dict[str, str]:
    """PROCESSOR_* variables of this test: its own database, topics and group."""
    name = f"t{os.getpid()}-{next(_names)}"
    return {
        "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap_servers,
        "PROCESSOR_DATABASE_URL": database_url,
        "PROCESSOR_RAW_TOPIC": f"{name}.raw",
        "PROCESSOR_EVENTS_TOPIC": f"{name}.events",
        "PROCESSOR_DEAD_LETTER_TOPIC": f"{name}.dlq",
        "PROCESSOR_GROUP_ID": name,
        "PROCESSOR_LOG_FORMAT": "json",
    }


def settings_of(environment: dict[str, str]) -> Settings:
    values: dict[str, Any] = {key.removeprefix("PROCESSOR_").lower(): value for key, value in environment.items()}
    return Settings(_env_file=None, **values)  # type: ignore[call-arg] # a keyword of pydantic-settings


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    """Settings of this test, its topics created."""
    made = settings_of(environment)
    create_topics(made, made.topics, partitions=4, replication=1)
    return made


@pytest.fixture
def terminate_sessions(servers: Servers, database_url: str) -> Callable[[str], None]:
    """Ends the Postgres sessions of this test's database that have the application name."""

    def terminate(application: str) -> None:
        name = database_url.rpartition("/")[2].partition("?")[0]
        execute(
            servers.database_url,
            f"select pg_terminate_backend(pid) from pg_stat_activity "
            f"where datname = '{name}' and application_name = '{application}'",
        )

    return terminate


@pytest.fixture
def opened(database_url: str, tmp_path: Path) -> Iterator[Open]:
    """opened(PROCESSOR_X="...") starts `processor dashboard` on this test's database, and says where."""
    with dashboards(database_url, tmp_path) as starter:
        yield starter


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need servers first, dealt out to the workers: none has one left when the others have nothing to do."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items.sort(key=lambda item: item.nodeid.startswith("tests/unit"))
        items[:] = [item for worker in range(workers) for item in items[worker::workers]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what its processes said: without it nobody knows what a fault did."""
    report = yield
    folder = item.funcargs.get("tmp_path") if isinstance(item, pytest.Function) else None
    if report.failed and isinstance(folder, Path):
        for log in sorted(folder.glob("*.log")):
            report.sections.append((f"log of {log.name}", log.read_text(errors="replace")[-6000:]))
    return report


@pytest.fixture
def start(environment: dict[str, str], settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """start("ingest", PROCESSOR_X="...") starts a real process; whatever still runs at the end is killed."""
    running: list[Process] = []

    def starter(*args: str, **extra: str) -> Process:
        log = tmp_path / f"{len(running)}-{args[0]}.log"
        process = Process({**environment, **extra}, log, *args)
        running.append(process)
        return process

    yield starter
    for process in running:
        process.end()
