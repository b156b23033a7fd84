"""The demo: a real search reports through a real Kafka into a real PostgreSQL, is replayed and reconciled.

Nothing is simulated: `ingest`, `relay`, `gateway` and (where it is kept) `dashboard` are the processes that run in
production, and all that the verdict says was read back from Postgres and, as a read_committed consumer, from Kafka.
"""

from __future__ import annotations

import importlib.util

from rich.console import Console

from processor.core.errors import ProcessorError, SetupError, UsageError
from processor.core.stopping import stop_on_signals
from processor.core.tables import sentence

_NEEDED = (
    "cerebros_client", "jinja2", "numpy", "optuna", "scipy", "sklearn", "starlette", "uvicorn", "httptools", "uvloop",
)  # fmt: skip
INTERRUPTED = 130  # as shells have it: 128 + SIGINT


def run_demo(*, trials: int = 60, keep: bool = False, mlflow: bool = False, console: Console) -> int:
    """Runs the demo and returns its exit code: 0 all is well, 1 something differs or broke, 130 interrupted.

    It starts a local stack, or uses the servers of PROCESSOR_KAFKA_BOOTSTRAP_SERVERS and PROCESSOR_DATABASE_URL where
    both are set. With `mlflow` the trials are mirrored into a tracking server too: that of
    PROCESSOR_MLFLOW_TRACKING_URI beside given servers, else one of its own. With `keep` everything runs on until
    Ctrl-C. A second signal ends it at once; its servers and workers notice and stop. Call it in the main thread: it
    handles signals.
    Raises `UsageError` where the settings are wrong.
    """
    with stop_on_signals(handler=_InterruptOnce()):
        try:
            _check_installed()
            from processor.demo.play import play

            return play(trials, keep, console, mlflow=mlflow)
        except KeyboardInterrupt:
            console.print("stopped")
            return INTERRUPTED
        except UsageError:
            raise
        except ProcessorError as error:
            console.print(sentence(f"FAILED: {error}"), style="red", markup=False, highlight=False, soft_wrap=True)
            return 1


def _check_installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(f"the demo needs {', '.join(missing)}: pip install 'cerebros-processor[demo]'")


class _InterruptOnce:
    """The first signal interrupts; meanwhile the hard end is the second one's (`core.stopping`), whatever hangs."""

    def __init__(self) -> None:
        self._done = False

    def __call__(self, *_: object) -> None:
        if not self._done:
            self._done = True
            raise KeyboardInterrupt
