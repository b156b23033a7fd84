"""A TCP proxy that cuts, holds, slows and restores the real connections that go through it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType


class Proxy:
    """Listens on a free loopback port; `hold` keeps connections open without passing a byte, `cut` breaks them."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open = threading.Event()
        self._open.set()
        self._refusing = False
        self.delay_s = 0.0
        self.conceals_ends = False  # the end of one side is not told to the other
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                upstream = socket.create_connection(self._target, 5)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs |= {client, upstream}
            for one, other in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._open.wait()
                if self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in () if self.conceals_ends else (source, sink):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def cut(self) -> None:
        """Breaks every connection; new ones are let through."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for one in pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.set()

    def refuse(self) -> None:
        """Breaks every connection and lets none through until `restore`."""
        self._refusing = True
        self.cut()

    def hold(self) -> None:
        """Connections stay open and nothing answers any more."""
        self._open.clear()

    def restore(self) -> None:
        self._refusing = self.conceals_ends = False
        self.delay_s = 0.0
        self._open.set()


def through(proxy: Proxy, database_url: str) -> dict[str, str]:
    """Settings of a process that reaches Postgres through the proxy only."""
    head, _, tail = database_url.partition("@")
    return {"PROCESSOR_DATABASE_URL": f"{head}@127.0.0.1:{proxy.port}/{tail.partition('/')[2]}"}
