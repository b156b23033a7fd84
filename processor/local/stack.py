"""Kafka and PostgreSQL (and MLflow, where it is wanted) together: started, addressed and stopped as one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import methodcaller
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from processor.core.errors import SetupError
from processor.core.stopping import stop_on_signals
from processor.local.files import free_ports, last_lines, locked
from processor.local.guard import remove_tree
from processor.local.java import Jvm
from processor.local.kafka import KafkaServer, install_kafka
from processor.local.mlflow import MlflowServer, install_mlflow
from processor.local.postgres import PostgresServer
from processor.local.server import Server

BUSY_SECONDS = 20.0  # the servers of a stack that was just killed need this long to leave at most
INTERRUPTED_SECONDS = 5.0
MLFLOW_DATABASE = "mlflow"
#: twice the runs a second of one, on PostgreSQL; on SQLite more of them bring nothing
MLFLOW_WORKERS = 4
MlflowStore = Literal["sqlite", "postgres"]


class LocalStack:
    """A context manager: a running Kafka and a running PostgreSQL on free ports of 127.0.0.1.

    data: folder that keeps the data and is made if absent; without it a temporary one, removed at the end.
    progress: is told in short sentences what takes long.
    kafka_properties, postgres_options: broker properties and `postgres -c` settings that win over the stack's own.
    kafka_heap: the broker's largest heap, as in `java -Xmx`.
    mlflow: an MLflow tracking server too; its environment is made the first time.
    mlflow_store: where it keeps its runs: in a SQLite file, or in a database of this PostgreSQL, with four workers.

    Both servers stop when this process ends, in whatever way.
    Raises: SetupError, on entering, when something is missing or a server does not start.
    """

    kafka: KafkaServer
    postgres: PostgresServer
    mlflow: MlflowServer | None = None

    def __init__(
        self,
        data: Path | None = None,
        *,
        progress: Callable[[str], None] | None = None,
        kafka_properties: Mapping[str, str] = {},
        postgres_options: Mapping[str, str] = {},
        kafka_heap: str = "512m",
        mlflow: bool = False,
        mlflow_store: MlflowStore = "sqlite",
    ) -> None:
        self._kept = data
        self._progress = progress or (lambda _: None)
        self._kafka_properties, self._postgres_options = kafka_properties, postgres_options
        self._kafka_heap, self._with_mlflow, self._mlflow_store = kafka_heap, mlflow, mlflow_store
        self._cleanup = ExitStack()

    @property
    def bootstrap_servers(self) -> str:
        """The broker's address, for `bootstrap.servers`."""
        return f"127.0.0.1:{self.kafka.port}"

    @property
    def database_url(self) -> str:
        """The address of the database `cerebros`."""
        return self.postgres.url

    @property
    def environment(self) -> dict[str, str]:
        """The settings that point the processor at this stack."""
        found = {
            "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "PROCESSOR_DATABASE_URL": self.database_url,
        }
        return {**found, "PROCESSOR_MLFLOW_TRACKING_URI": self.mlflow.url} if self.mlflow else found

    def kafka_tool(self, tool: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one of Kafka's own tools, for example `consumer-groups`, against the broker."""
        return self.kafka.run_tool(tool, *args)

    def __enter__(self) -> Self:
        """1. make the folder and lock it; 2. install; 3. start both servers at the same time."""
        with ExitStack() as cleanup:
            folder = self._open_folder(cleanup)
            busy = f"{folder} is in use by another local stack"
            lock = cleanup.enter_context(locked(folder / "lock", BUSY_SECONDS, busy))
            self._make_servers(folder, lock, install_kafka(self._progress))
            if self._with_mlflow:
                self._make_mlflow(folder, lock, install_mlflow(self._progress))
            self._progress("starting Apache Kafka and PostgreSQL" + (" and MLflow" if self.mlflow else ""))
            cleanup.callback(_together, "stop", self.servers)
            self._start()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _make_servers(self, folder: Path, lock: int, jvm: Jvm) -> None:
        temporary = self._kept is None
        postgres, broker, controller = free_ports(3)
        self.postgres = PostgresServer(
            folder / "postgres", postgres, lock=lock, temporary=temporary, options=self._postgres_options
        )
        self.kafka = KafkaServer(
            folder / "kafka",
            broker,
            controller,
            jvm,
            lock=lock,
            temporary=temporary,
            properties=self._kafka_properties,
            heap=self._kafka_heap,
        )

    def _make_mlflow(self, folder: Path, lock: int, python: Path) -> None:
        (port,) = free_ports(1)
        temporary = self._kept is None
        backend, workers = "", 1
        if self._mlflow_store == "postgres":
            # with psycopg2 by its name: what is only `postgresql` means another driver there
            backend = f"postgresql+psycopg2://postgres@127.0.0.1:{self.postgres.port}/{MLFLOW_DATABASE}"
            workers = MLFLOW_WORKERS
        self.mlflow = MlflowServer(
            folder / "mlflow", port, python, lock=lock, temporary=temporary, backend=backend, workers=workers
        )

    def _start(self) -> None:
        """All at the same time, but MLflow after the PostgreSQL that it needs."""
        if self.mlflow is None or self._mlflow_store == "sqlite":
            _together("start", self.servers)
            return
        _together("start", (self.kafka, self.postgres))
        self.postgres.make_database(MLFLOW_DATABASE)
        self.mlflow.start()

    @property
    def servers(self) -> tuple[Server, ...]:
        """All of them."""
        return (self.kafka, self.postgres, *([self.mlflow] if self.mlflow else ()))

    def _open_folder(self, cleanup: ExitStack) -> Path:
        if self._kept is None:
            folder = Path(tempfile.mkdtemp(prefix="cerebros-processor-")).resolve()
            cleanup.callback(remove_tree, folder)
            made = True
        else:
            folder = self._kept.resolve()
            made = not folder.exists()
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SetupError(f"cannot make the folder {folder}: {error.strerror}") from error
        if made and os.geteuid() == 0:
            folder.chmod(0o711)  # the account that PostgreSQL runs as has to get to its own folder below
        return folder


def _together(method: str, servers: Iterable[Server]) -> None:
    """Call `method` of every server at the same time; when that fails or is interrupted none is left running."""
    with ThreadPoolExecutor() as pool:
        try:
            list(pool.map(methodcaller(method), servers))
        except BaseException:
            for server in servers:
                server.stop(INTERRUPTED_SECONDS)
            raise


def serve(
    data: Path | None, echo: Callable[[str], None], *, mlflow: bool = False, mlflow_store: MlflowStore = "sqlite"
) -> None:
    """Run a stack until SIGINT or SIGTERM, telling `echo` where it is.

    Raises: SetupError when it does not start, or when one of its servers ends by itself.
    """
    with LocalStack(data, progress=echo, mlflow=mlflow, mlflow_store=mlflow_store) as stack, stop_on_signals() as stop:
        for server, address in zip(stack.servers, stack.environment.values(), strict=True):
            echo(f"{server.title} at {address}, log {server.log}")
        for name, value in stack.environment.items():
            echo(f"export {name}={value}")
        for name, port in zip(("GATEWAY", "DASHBOARD"), free_ports(2), strict=True):
            echo(f"export PROCESSOR_{name}_LISTEN=127.0.0.1:{port}")  # `processor run` then has these too
        echo("Ctrl-C stops all" + ("" if data else " and removes their data"))
        while not stop.wait(1):
            for server in stack.servers:
                if not server.running:
                    raise SetupError(f"{server.title} has ended, its log ends with:\n{last_lines(server.log)}")
        echo("stopping")
