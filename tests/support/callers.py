"""Clients of the gateway as they should be: each sends a report until it is accepted, and knows which are."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.factories import report
from tests.support.patience import patient

PATH = "/v1/reports"


class Reply(NamedTuple):
    """An answer, or status 0 where there was none; times are monotonic seconds."""

    status: int
    document: Any
    began: float
    ended: float


class Caller:
    """One connection at a time, opened anew when it breaks."""

    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        self._port, self._timeout_s = port, timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: Any, path: str = PATH, **headers: str) -> Reply:
        """The body as JSON, or bytes as they are."""
        began = time.monotonic()
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout_s)
            self._connection.request("POST", path, content, {"Content-Type": "application/json", **headers})
            answer = self._connection.getresponse()
            text = answer.read()
            return Reply(answer.status, json.loads(text), began, time.monotonic())
        except (OSError, http.client.HTTPException):
            self.close()
            return Reply(0, None, began, time.monotonic())

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Crowd:
    """Threads that each send trials of their own, one after the other, until they are told to stop."""

    def __init__(self, port: int, callers: int, *, many: int = 1) -> None:
        """`many`: reports in one request."""
        self.accepted: set[tuple[str, str]] = set()
        self.replies: list[Reply] = []
        self._port, self._many = port, many
        self._enough, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(callers)]
        for thread in self._threads:
            thread.start()

    def _run(self, caller: int) -> None:
        opened, number = Caller(self._port), 0
        while not self._enough.is_set():
            names = [f"trial-{caller}-{number + place}" for place in range(self._many)]
            number += self._many
            self._until_accepted(opened, [report(run_id=f"run-{caller}", trial_id=name) for name in names])
        opened.close()

    def _until_accepted(self, opened: Caller, reports: list[dict[str, Any]]) -> None:
        """Sends again whatever has not been accepted; what is in hand when it stops is finished."""
        deadline = time.monotonic() + patient(60)
        while reports and time.monotonic() < deadline:
            reply = opened.post(reports)
            taken = set()
            if reply.document is not None and "reports" in reply.document:
                taken = {one["index"] for one in reply.document["reports"] if one["status"] == "accepted"}
            with self._lock:
                self.replies.append(reply)
                self.accepted |= {(reports[at]["run_id"], reports[at]["trial_id"]) for at in taken}
            reports = [one for at, one in enumerate(reports) if at not in taken]
            if reports:
                time.sleep(0.05)
        assert not reports, "never accepted"

    @property
    def count(self) -> int:
        return len(self.accepted)

    def finish(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive()


def statuses(replies: Iterable[Reply]) -> set[int]:
    return {reply.status for reply in replies}
