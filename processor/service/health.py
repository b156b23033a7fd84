"""/metrics, /live and /ready over HTTP, and a watch that dumps all stacks when the process is stuck."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Callable

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from processor.core.errors import SetupError
from processor.core.metrics import REGISTRY
from processor.service.http import Reply, Server

log = structlog.get_logger(__name__)


class Health:
    """What the probes answer from; a context manager that ends the server and the watch."""

    def __init__(self, stuck_s: float) -> None:
        self._stuck_s = stuck_s
        self._began = time.monotonic()
        self._last_sign: Callable[[], float] = lambda: self._began
        self._ready: Callable[[], bool] = lambda: False
        self._closed = threading.Event()
        self.server: Server | None = None

    def __enter__(self) -> Health:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(self, last_sign: Callable[[], float], ready: Callable[[], bool]) -> None:
        """From now on: `last_sign` gives the monotonic second of the last sign of life, `ready` whether work goes on.

        Until then the process is alive and not ready.
        """
        self._last_sign, self._ready = last_sign, ready

    def sign_of_life(self) -> None:
        """For the time before `watch`, while the start checks wait for servers."""
        self._began = time.monotonic()

    def alive(self) -> bool:
        return time.monotonic() - self._last_sign() < self._stuck_s

    def ready(self) -> bool:
        return self.alive() and self._ready()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1]) if self.server else 0

    def close(self) -> None:
        self._closed.set()
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def dump_when_stuck(self) -> None:
        told = False
        while not self._closed.wait(min(5.0, self._stuck_s / 4)):
            if self.alive():
                told = False
            elif not told:
                told = True
                log.error("stuck", seconds=self._stuck_s)
                faulthandler.dump_traceback(file=sys.stderr.fileno(), all_threads=True)


def serve_health(port: int, stuck_s: float, host: str = "") -> Health:
    """Serves on `port` (0: only the watch) of `host` ("": of every address).

    /live fails when there was no sign of life for `stuck_s` seconds. Raises `SetupError` where it can't listen there.
    """
    health = Health(stuck_s)

    def answer(path: str) -> Reply:
        if path == "/metrics":
            return Reply(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
        if path in ("/live", "/ready"):
            fine = health.alive() if path == "/live" else health.ready()
            return Reply(200, b"ok\n") if fine else Reply(503, b"not now\n")
        return Reply(404, b"/metrics, /live, /ready\n")

    if port:
        try:
            health.server = Server(host, port, answer)
        except OSError as error:
            where = f"METRICS_PORT {port}" + (f" of METRICS_HOST {host}" if host else "")
            raise SetupError(f"{where} can't be opened: {error.strerror}") from None
        threading.Thread(target=health.server.serve_forever, name="health", daemon=True).start()
    threading.Thread(target=health.dump_when_stuck, name="watch", daemon=True).start()
    return health
