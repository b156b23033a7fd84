"""One MLflow tracking server, in an environment of its own: its 90 packages must not meet the processor's.

The environment is made once for each state of the lock file, below the cache folder, every package checked by its hash.
"""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from processor.core.errors import SetupError
from processor.local.files import cache_folder, locked, neutral_environment
from processor.local.guard import Spec
from processor.local.server import Server

#: in a wheel beside this file, in the repository with the other locks
_LOCKS = (Path(__file__).with_name("mlflow.txt"), Path(__file__).parents[2] / "requirements" / "mlflow.txt")
INSTALL_SECONDS = 900.0
#: by default MLflow starts eight more processes, 1.2 GB, for jobs that a tracking server without models never has
OWN_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
_PROBE = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"


class MlflowServer(Server):
    """A server on 127.0.0.1:`port`; `backend` is its database's URL, by default a SQLite file in `folder`.

    With `workers` > 1 MLflow adds 40 ms to each request of most clients (it waits for acknowledgements).
    """

    title = "MLflow"

    def __init__(
        self, folder: Path, port: int, python: Path, *, lock: int, temporary: bool, backend: str = "", workers: int = 1
    ) -> None:
        super().__init__(folder, port, lock=lock, temporary=temporary)
        self._python, self._workers = python, workers
        self.backend = backend or f"sqlite:///{folder / 'mlflow.db'}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _commands(self) -> list[list[str]]:
        serve = [str(self._python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        store = ["--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "artifacts")]
        return [[*serve, "--workers", str(self._workers), *store]]

    def _spec(self) -> Spec:
        spec = super()._spec()
        own: Mapping[str, str] = {**OWN_ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"}
        return {**spec, "environment": {**spec["environment"], **own}}

    def _answers(self) -> bool:
        """Asks for something that is in the database: `/health` says 200 without one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", _PROBE)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def install_mlflow(progress: Callable[[str], None]) -> Path:
    """The Python of an environment that has MLflow; made if absent. Raises `SetupError` where it can't be had."""
    lock_file = next((path for path in _LOCKS if path.exists()), None)
    if lock_file is None:
        raise SetupError("requirements/mlflow.txt is missing: install the processor anew")
    digest = hashlib.sha256(lock_file.read_bytes()).hexdigest()[:12]
    folder = cache_folder() / f"mlflow-{digest}-py{sys.version_info.major}.{sys.version_info.minor}"
    python, complete = folder / "bin" / "python", folder / "complete"
    with locked(folder.with_suffix(".lock"), INSTALL_SECONDS, "another process has been installing MLflow for long"):
        if not complete.exists():
            progress("installing MLflow into an environment of its own (800 MB, once)")
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            _run([*_installer(python), "--require-hashes", "-r", str(lock_file)])
            complete.touch()
    return python


def _installer(python: Path) -> list[str]:
    """uv where it is installed beside us, a tenth of the time; else the environment's own pip."""
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        return [str(uv), "pip", "install", "--quiet", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _run(command: list[str]) -> None:
    environment = {**neutral_environment(), "UV_COMPILE_BYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"MLflow can't be installed: {done.stderr.strip()[-600:]}")
