"""/metrics, /live and /ready over HTTP, and a watch that dumps all stacks when the process is stuck."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from processor.core.errors import SetupError
from processor.core.metrics import REGISTRY

log = structlog.get_logger(__name__)


class Health:
    """What the probes answer from; a context manager that ends the server and the watch."""

    def __init__(self, stuck_s: float) -> None:
        self._stuck_s = stuck_s
        self._began = time.monotonic()
        self._last_sign: Callable[[], float] = lambda: self._began
        self._ready: Callable[[], bool] = lambda: False
        self._closed = threading.Event()
        self.server: ThreadingHTTPServer | None = None

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


def serve_health(port: int, stuck_s: float) -> Health:
    """Serves on `port` (0: only the watch). /live fails when there was no sign of life for `stuck_s` seconds.

    Raises `SetupError` where the port is taken.
    """
    health = Health(stuck_s)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._send(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
            elif self.path in ("/live", "/ready"):
                fine = health.alive() if self.path == "/live" else health.ready()
                self._send(200 if fine else 503, b"ok\n" if fine else b"not now\n", "text/plain")
            else:
                self._send(404, b"/metrics, /live, /ready\n", "text/plain")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes come every few seconds; they are no news."""

    if port:
        try:
            health.server = ThreadingHTTPServer(("", port), Answer)
        except OSError as error:
            raise SetupError(f"METRICS_PORT {port} can't be opened: {error.strerror}") from None
        threading.Thread(target=health.server.serve_forever, name="health", daemon=True).start()
    threading.Thread(target=health.dump_when_stuck, name="watch", daemon=True).start()
    return health
