"""The demo: a real search reports through a real Kafka into a real PostgreSQL, is replayed and reconciled.

Nothing is simulated: `ingest` and `relay` are the processes that run in production, and all that the verdict says
was read back from Postgres and, as a read_committed consumer, from Kafka.
"""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from processor.core.errors import ProcessorError, SetupError, UsageError

INTERRUPTED = 130  # as shells have it: 128 + SIGINT


def run_demo(*, trials: int = 60, keep: bool = False, console: Console) -> int:
    """Runs the demo and returns its exit code: 0 all is well, 1 something differs or broke, 130 interrupted.

    It starts a local stack, or uses the servers of PROCESSOR_KAFKA_BOOTSTRAP_SERVERS and PROCESSOR_DATABASE_URL where
    both are set. With `keep` everything runs on until Ctrl-C. Call it in the main thread: it handles signals.
    Raises `UsageError` where the settings are wrong.
    """
    with _first_signal_only():
        try:
            _check_installed()
            from processor.demo.play import play

            return play(trials, keep, console)
        except KeyboardInterrupt:
            console.print("stopped")
            return INTERRUPTED
        except UsageError:
            raise
        except ProcessorError as error:
            console.print(f"FAILED: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            return 1


def _check_installed() -> None:
    missing = [name for name in ("numpy", "optuna", "sklearn") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(f"the demo needs {', '.join(missing)}: pip install 'cerebros-processor[demo]'")


@contextmanager
def _first_signal_only() -> Iterator[None]:
    """Ctrl-C or SIGTERM interrupts once; more of them must not interrupt the tidying up, whose time is bounded."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous = {one: signal.signal(one, interrupt) for one in signals}
    try:
        yield
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)
