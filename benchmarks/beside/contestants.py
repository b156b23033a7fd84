"""The three with a store of so many trials each, as who uses them starts them: no setting but address and store."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import httpx
import psutil

from benchmarks.beside import filling
from benchmarks.beside.trials import Trial, newest, trials
from benchmarks.contestants import run_sql
from processor.core.errors import SetupError
from processor.local.files import free_ports, last_lines, neutral_environment
from processor.local.mlflow import OWN_ENVIRONMENT
from processor.local.stack import LocalStack
from processor.store.migrations import migrate
from processor.store.session import Session

START_SECONDS = 600.0
END_SECONDS = 10.0
#: of addresses, for each process of a server: the machine has others to serve
LIMIT_BYTES = 10 * 2**30


class Contestant(ABC):
    """A server of its own process, on a store that is filled before it starts."""

    name: ClassVar[str]
    #: asked for until it is there; it says that the store is read
    probe: ClassVar[str]

    def __init__(self, size: int, folder: Path) -> None:
        self.size, self.folder = size, folder
        self.run = f"run of {size}"
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        self._child: subprocess.Popen[bytes] | None = None
        self._written = 0

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    @abstractmethod
    def fill(self) -> None:
        """Make the store, with all trials."""

    @abstractmethod
    def drop(self) -> None:
        """The store is not wanted any more."""

    @abstractmethod
    def write(self) -> Trial:
        """One further trial, committed when this returns."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _environment(self) -> dict[str, str]:
        return {}

    def _next(self) -> int:
        """The number of a further trial."""
        self._written += 1
        return self.size + self._written - 1

    @contextmanager
    def served(self) -> Iterator[None]:
        try:
            self.start()
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Raises: SetupError when it does not answer in time."""
        log = self.folder / f"{type(self).__name__}-{self.size}.log"
        with log.open("ab") as output:
            environment = {**neutral_environment(), **self._environment()}
            self._child = child = subprocess.Popen(self._command(), env=environment, stdout=output, stderr=output)
        resource.prlimit(child.pid, resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if child.poll() is not None or time.monotonic() > deadline:
                raise SetupError(f"{self.name} did not start, its log ends with:\n{last_lines(log)}")
            time.sleep(0.1)

    def stop(self) -> None:
        """What is still at work on something for nobody is killed."""
        if self._child is None:
            return
        family = self.processes()
        self._child.terminate()
        _, left = psutil.wait_procs(family, END_SECONDS)
        for process in left:
            process.kill()
        self._child.wait()

    def _ready(self) -> bool:
        try:
            return httpx.get(self.url + self.probe, timeout=START_SECONDS).status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def processes(self) -> list[psutil.Process]:
        """The server's own and all below it; none where it has died."""
        if self._child is None or self._child.poll() is not None:
            return []
        parent = psutil.Process(self._child.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Of the server and of the database that works for it, so far."""
        return cpu_seconds(self.processes())

    def memory_mib(self) -> int:
        """What the server's processes have together, what they share counted once."""
        return int(sum(process.memory_full_info().pss for process in self.processes())) // 2**20


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """With that of children which have ended."""
    return float(sum(sum(process.cpu_times()[:4]) for process in processes))


class Ours(Contestant):
    """On PostgreSQL, whose time counts too; its memory does not."""

    name = "processor dashboard"
    probe = "/ready"

    def __init__(self, size: int, folder: Path, stack: LocalStack) -> None:
        super().__init__(size, folder)
        self._stack = stack
        database = f"beside_{size}"
        stack.postgres.make_database(database)
        self._database_url = stack.database_url.rpartition("/")[0] + f"/{database}"
        self._id = ""

    def fill(self) -> None:
        aside(self._fill)

    def _fill(self) -> None:
        with Session(self._database_url) as session:
            migrate(session)
        self._id = filling.make_run(self._database_url, self.run)
        filling.copy_ours(self._database_url, (trial.text for trial in trials(self.size, self._id)))
        run_sql(self._database_url, "vacuum analyze")

    def drop(self) -> None:
        """The database stays until the stack ends."""

    def write(self) -> Trial:
        trial = newest(self._next(), self._id)
        aside(lambda: filling.copy_ours(self._database_url, [trial.text]))
        return trial

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "processor", "dashboard"]

    def _environment(self) -> dict[str, str]:
        address = self.url.removeprefix("http://")
        return {"PROCESSOR_DATABASE_URL": self._database_url, "PROCESSOR_DASHBOARD_LISTEN": address}

    def cpu_seconds(self) -> float:
        postgres = psutil.Process(self._stack.postgres.pid)
        return super().cpu_seconds() + cpu_seconds([postgres, *postgres.children(recursive=True)])


def aside(work: Callable[[], None]) -> None:
    """In another thread: that of the caller has Playwright's event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()


class OnSqlite(Contestant):
    """On a SQLite file, `store`."""

    store: Path

    @abstractmethod
    def _rows(self, trial: Trial) -> filling.Rows:
        """What a trial is in its tables."""

    def _fill(self) -> None:
        filling.fill_sqlite(self.store, map(self._rows, trials(self.size)))

    def drop(self) -> None:
        self.store.unlink(missing_ok=True)

    def write(self) -> Trial:
        trial = newest(self._next())
        filling.write_sqlite(self.store, self._rows(trial))
        return trial


class OptunaDashboard(OnSqlite):
    """From the environment that `make bench-beside` makes."""

    name = "Optuna Dashboard"
    probe = "/api/studies"

    def __init__(self, size: int, folder: Path, program: Path) -> None:
        super().__init__(size, folder)
        self.store = folder / f"optuna-{size}.db"
        self._program = program
        self._study = 0

    def fill(self) -> None:
        self._study = filling.make_study(self.store, self.run)
        self._fill()

    def _rows(self, trial: Trial) -> filling.Rows:
        return filling.optuna_rows(trial, self._study)

    def _command(self) -> list[str]:
        return [str(self._program), f"sqlite:///{self.store}", "--port", self.port]


class Mlflow(OnSqlite):
    """As the local stack starts it: without the processes for jobs, which nothing here asks for."""

    name = "MLflow UI"
    probe = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"

    def __init__(self, size: int, folder: Path, python: Path) -> None:
        super().__init__(size, folder)
        self.store = folder / f"mlflow-{size}.db"
        self._empty = folder / "mlflow-empty.db"
        self._python = python
        self.experiment = 0

    def fill(self) -> None:
        """Its server makes the tables, which takes long, so once; and the experiment, by its own interface."""
        if self._empty.exists():
            shutil.copy(self._empty, self.store)
        with self.served():
            if not self._empty.exists():
                shutil.copy(self.store, self._empty)
            answer = httpx.post(f"{self.url}/api/2.0/mlflow/experiments/create", json={"name": self.run}, timeout=60)
            self.experiment = int(answer.json()["experiment_id"])
        self._fill()

    def _rows(self, trial: Trial) -> filling.Rows:
        return filling.mlflow_rows(trial, self.experiment)

    def _command(self) -> list[str]:
        serve = [str(self._python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", self.port]
        place = ["--artifacts-destination", str(self.folder / f"artifacts-{self.size}")]
        return [*serve, "--workers", "1", "--backend-store-uri", f"sqlite:///{self.store}", *place]

    def _environment(self) -> dict[str, str]:
        return dict(OWN_ENVIRONMENT)
