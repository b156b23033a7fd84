"""Callers over HTTP as cheap as they can be in Python, in a process of their own: each sends as soon as it is answered.

    python -m benchmarks.callers PORT PATH TYPE STATUS REPORTS CONNECTIONS SECONDS < bodies

Bodies come as lines, sent in turn. Printed as JSON: requests accepted, reports in them, seconds, latencies in ms. An
answer counts where it has the status and names no `error_code` (so the Kafka bridge says what Kafka refused).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Caller(asyncio.Protocol):
    """One connection: a request, its answer, the next."""

    def __init__(self, requests: Iterator[bytes], status: bytes, until: float) -> None:
        self._requests, self._status, self._until = requests, b" " + status + b" ", until
        self._answer = b""
        self._began = 0.0
        self.latencies: list[float] = []
        self.refused = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        asyncio.get_running_loop().call_soon(self._next)  # uvloop waits for ever for what is closed in here

    def _next(self) -> None:
        self._began = time.perf_counter()
        if self._began > self._until:
            self._transport.close()
        else:
            self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._answer, 0, end)
        assert length, self._answer[:500]
        if len(self._answer) < end + 4 + int(length[1]):
            return
        if self._status in self._answer[:20] and b'"error_code"' not in self._answer:
            self.latencies.append(time.perf_counter() - self._began)
        else:
            self.refused += 1
        self._answer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def call(port: int, requests: list[bytes], status: bytes, connections: int, seconds: float) -> list[Caller]:
    loop, turns, until = asyncio.get_running_loop(), itertools.cycle(requests), time.perf_counter() + seconds
    callers = [
        (await loop.create_connection(lambda: Caller(turns, status, until), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(one.done for one in callers))
    return callers


def request(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def main() -> None:
    port, path, kind, status, reports, connections, seconds = sys.argv[1:]
    requests = [request(path, kind, line.rstrip(b"\n")) for line in sys.stdin.buffer]
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        callers = runner.run(call(int(port), requests, status.encode(), int(connections), float(seconds)))
    took = time.perf_counter() - began
    latencies = sorted(1000 * one for caller in callers for one in caller.latencies)
    print(
        json.dumps(
            {
                "requests": len(latencies),
                "reports": len(latencies) * int(reports),
                "refused": sum(one.refused for one in callers),
                "seconds": round(took, 3),
                "reports_per_s": round(len(latencies) * int(reports) / took),
                "p50_ms": round(latencies[len(latencies) // 2], 2) if latencies else None,
                "p99_ms": round(latencies[len(latencies) * 99 // 100], 2) if latencies else None,
            }
        )
    )


if __name__ == "__main__":
    main()
