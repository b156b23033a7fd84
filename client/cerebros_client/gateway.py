"""Reports over HTTP: `POST /v1/reports` of the gateway, which answers once Kafka has confirmed."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from cerebros_client.forking import is_connected, is_connecting
from cerebros_client.http_post import Answer, Poster, UnreachableError
from cerebros_client.transport import Report, Settled, Target, Trouble, shown

log = logging.getLogger("cerebros_client")

PATH = "/v1/reports"
#: when each report of the body was made, in milliseconds: a report that is sent late, or again, keeps its place
TIMES = "Cerebros-Reported-At"
#: a request's size: far below the gateway's limit of a body, and times that fit into any server's limit of a header
_BATCH, _BATCH_BYTES = 200, 512 * 1024
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_JOIN_S = 2.0
#: what the gateway says of the bytes themselves; 401, 403, 404 and the like are about the set-up, and may be mended
_OF_THE_REPORT = frozenset((400, 413, 422))
_WORST_FIRST = ("unconfirmed", "rejected", "accepted")
_AVRO = (b"\x00", b"\xc3\x01")


class _Queued(NamedTuple):
    report: Report
    settled: Settled


class GatewayTransport:
    """A bounded queue and a thread that empties it: one request at a time, so that the order is kept."""

    def __init__(self, target: Target) -> None:
        self._poster = Poster(target.url)
        self._headers = {"Authorization": f"Bearer {_checked(target.token)}"} if target.token else {}
        self._most, self._most_bytes = target.queue_max_reports, target.queue_max_kib * 1024
        self._queue: deque[_Queued] = deque()
        self._bytes, self._answered, self._pause_s = 0, 0, 0.0
        self._alone = 0  # so many of the next reports go one by one: together they were refused
        self._changed = threading.Condition()
        self._closed = False
        self.said, self._where = "", shown(target.url.rstrip("/"))
        self._thread = threading.Thread(target=self._run, name="cerebros-gateway", daemon=True)
        self._thread.start()
        is_connecting(self)

    def offer(self, report: Report, settled: Settled) -> bool:
        with self._changed:
            if self._closed:
                raise RuntimeError("the TrialReporter is closed")
            full = len(self._queue) >= self._most or self._bytes + len(report.value) > self._most_bytes
            if full and self._queue:
                return False
            self._queue.append(_Queued(report, settled))
            self._bytes += len(report.value)
            self._changed.notify_all()
        return True

    def serve(self, timeout_s: float) -> None:
        with self._changed:
            before = self._answered
            self._changed.wait_for(lambda: self._answered != before or self._closed, timeout_s)

    def settle(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._queue, timeout_s)

    def _run(self) -> None:
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._queue))
                batch = self._next()
            if batch and not self._sent(batch):
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, self._pause_s)
        self._poster.close()

    def _next(self) -> list[_Queued]:
        """What goes into one request; it stays in the queue until it is answered."""
        batch: list[_Queued] = []
        size = 0
        for queued in self._queue:
            size += len(queued.report.value) + 1
            if batch and (size > _BATCH_BYTES or not queued.report.single):
                break
            batch.append(queued)
            if not queued.report.single or self._alone or len(batch) == _BATCH:
                break
        return batch

    def _sent(self, batch: Sequence[_Queued]) -> bool:
        """As `_send`; what nobody has thought of is an outage too, since nobody else would send what is queued."""
        try:
            return self._send(batch)
        except Exception as error:  # noqa: BLE001
            return self._wait(f"a request could not be sent: {type(error).__name__}", None)

    def _send(self, batch: Sequence[_Queued]) -> bool:
        """One request. False where it has to be sent again after a pause, as a whole or in part."""
        body, kind = _body_of(batch)
        times = ",".join(str(queued.report.timestamp_ms) for queued in batch)
        try:
            answer = self._poster.post(PATH, body, {**self._headers, "Content-Type": kind, TIMES: times})
        except UnreachableError as error:
            return self._wait(f"{self._where}: {error}", None)
        is_connected(self)
        verdicts = _verdicts(answer, len(batch) if batch[0].report.single else None)
        if verdicts is None and answer.status in _OF_THE_REPORT:
            if len(batch) > 1:  # one of them is at fault, and the answer does not say which
                self._alone = len(batch)
                return True
            verdicts = [{"status": "rejected", "details": _words(answer)}]
        if verdicts is None:
            # nearly always a URL that has the path in it already
            asked = f" to POST {self._where}{PATH}" if answer.status == 404 else ""
            return self._wait(f"the gateway answers {answer.status}{asked}: {_words(answer)}", answer.retry_after)
        return self._settle(batch, verdicts, answer)

    def _settle(self, batch: Sequence[_Queued], verdicts: Sequence[dict[str, Any]], answer: Answer) -> bool:
        """Each report has its verdict; those that Kafka has not confirmed stay, in their order."""
        again = []
        for queued, verdict in zip(batch, verdicts, strict=True):
            if verdict["status"] == "unconfirmed":
                again.append(queued)
                continue
            said = ": ".join(str(verdict[name]) for name in ("reason", "path", "details") if verdict.get(name))
            queued.settled(None if verdict["status"] == "accepted" else Trouble(f"refused: {said}", True))
        with self._changed:
            for queued in batch:
                self._queue.popleft()
                self._bytes -= len(queued.report.value)
            self._queue.extendleft(reversed(again))
            self._bytes += sum(len(queued.report.value) for queued in again)
            self._answered += 1
            self._alone = max(0, self._alone - len(batch))
            self._changed.notify_all()
        if again:
            return self._wait("Kafka has not confirmed", answer.retry_after)
        if self.said:
            log.info("the gateway takes reports again")
        self.said, self._pause_s = "", 0.0
        return True

    def _wait(self, why: str, retry_after: str | None) -> bool:
        """Longer each time, with some chance in it, and at least as long as the gateway asks for; told once."""
        if not self.said and not self._closed:
            log.warning("gateway: %s; reports wait, and are sent again", why)
        self.said = why
        longer = min(max(_PAUSE_S, 2 * self._pause_s), _LONGEST_PAUSE_S) * random.uniform(0.8, 1.2)
        asked = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
        self._pause_s = min(max(longer, asked), 2 * _LONGEST_PAUSE_S)
        return False

    def close(self) -> None:
        is_connected(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._poster.interrupt()
        self._thread.join(_JOIN_S)

    def abandon(self) -> None:
        """The thread and its connection are the parent's; this copy of the socket closes without a word to anybody."""


def _checked(token: str) -> str:
    """Raises `ValueError` for what can't be in a header, without a character of it."""
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ValueError("the token holds a line feed, a blank or a letter outside ASCII: is it the token alone?")
    return token


def _body_of(batch: Sequence[_Queued]) -> tuple[bytes, str]:
    values = [queued.report.value for queued in batch]
    if batch[0].report.single:
        return b"[" + b",".join(values) + b"]", "application/json"
    return values[0], "avro/binary" if values[0].startswith(_AVRO) else "application/json"


def _verdicts(answer: Answer, count: int | None) -> list[dict[str, Any]] | None:
    """The verdicts of `count` reports, None where the answer has not just as many.

    Without a count it is the one of a record that may hold several reports: the worst of theirs.
    """
    try:
        verdicts = json.loads(answer.body)["reports"]
        words = [verdict["status"] for verdict in verdicts]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not all(word in _WORST_FIRST for word in words):
        return None
    if count is not None:
        return list(verdicts) if len(verdicts) == count else None
    return [verdicts[words.index(word)] for word in _WORST_FIRST if word in words][:1] or None


def _words(answer: Answer) -> str:
    """What the gateway says of a request that it did not take."""
    try:
        said = json.loads(answer.body)
        return ": ".join(str(said[name]) for name in ("error", "details") if said.get(name))[:500]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return answer.body[:200].decode(errors="replace")
