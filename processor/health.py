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

from processor.errors import SetupError
from processor.metrics import REGISTRY

log = structlog.get_logger(__name__)


class Health:
    """The server and the watch; `close` ends both."""

    def __init__(self, server: ThreadingHTTPServer | None) -> None:
        self._server = server
        self.closed = threading.Event()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1]) if self._server else 0

    def close(self) -> None:
        self.closed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def serve_health(port: int, last_sign: Callable[[], float], stuck_s: float, ready: Callable[[], bool]) -> Health:
    """Serves on `port` (0: only the watch). /live fails when `last_sign` (monotonic seconds) is older than `stuck_s`.

    Raises `SetupError` where the port can't be had.
    """

    def alive() -> bool:
        return time.monotonic() - last_sign() < stuck_s

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._send(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
            elif self.path in ("/live", "/ready"):
                fine = alive() and (self.path == "/live" or ready())
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

    try:
        server = ThreadingHTTPServer(("", port), Answer) if port else None
    except OSError as error:
        raise SetupError(f"PROCESSOR_METRICS_PORT {port} can't be opened: {error.strerror}") from None
    health = Health(server)
    if server is not None:
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    threading.Thread(target=_watch, args=(health, alive, stuck_s), name="watch", daemon=True).start()
    return health


def _watch(health: Health, alive: Callable[[], bool], stuck_s: float) -> None:
    told = False
    while not health.closed.wait(min(5.0, stuck_s / 4)):
        if alive():
            told = False
        elif not told:
            told = True
            log.error("stuck", seconds=stuck_s)
            faulthandler.dump_traceback(file=sys.stderr.fileno(), all_threads=True)
