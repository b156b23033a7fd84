"""Reports through the gateway, as a caller that can't speak Kafka sends them: until they are accepted."""

from __future__ import annotations

import http.client
import json
import time
from types import TracebackType
from typing import Any, Self

from processor.demo.workers import DemoError

READY_SECONDS, ACCEPT_SECONDS = 30.0, 30.0
_PAUSE_SECONDS = 0.1
REPORTS, EVENTS = "/v1/reports", "/api/events/ml"


class Door:
    """One connection to the gateway at a port of this machine; `accepted` counts the reports that it has confirmed."""

    def __init__(self, port: int) -> None:
        self._port, self.accepted = port, 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ACCEPT_SECONDS)

    def wait_ready(self) -> None:
        """Raises `DemoError` where it does not get ready."""
        deadline = time.monotonic() + READY_SECONDS
        while self._ask("GET", "/ready", b"")[0] != 200:
            if time.monotonic() > deadline:
                raise DemoError("the gateway does not get ready")
            time.sleep(_PAUSE_SECONDS)

    def post(self, path: str, document: Any) -> None:
        """Sends again what is not answered, or answered 503; raises `DemoError` for anything but 202 then."""
        body, deadline = json.dumps(document, default=_plain).encode(), time.monotonic() + ACCEPT_SECONDS
        while True:
            status, answer = self._ask("POST", path, body)
            if status == 202:
                self.accepted += 1
                return
            if status not in (0, 503) or time.monotonic() > deadline:
                raise DemoError(f"the gateway answers {status}: {answer[:300].decode(errors='replace')}")
            time.sleep(_PAUSE_SECONDS)

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body; 0 where nothing was answered."""
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, b"nothing"

    def __enter__(self) -> Self:
        self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def _plain(value: Any) -> Any:
    """What numpy computes, as JSON has it."""
    return value.tolist()
