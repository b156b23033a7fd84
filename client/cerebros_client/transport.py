"""What carries reports away: one small protocol, behind it Kafka (`kafka`) or the gateway (`gateway`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

RAW_TOPIC = "cerebros.trials.raw"


class Report(NamedTuple):
    """One record to be: `timestamp_ms` is when it was reported, `single` that `value` is one JSON object."""

    run_id: str
    trial_id: str
    value: bytes
    timestamp_ms: int
    single: bool


class Trouble(NamedTuple):
    """Why a report was not taken; `final`: it never will be, as it is."""

    reason: str
    final: bool


#: called once for each report that was offered, by whatever thread: None once it is confirmed
Settled = Callable[[Trouble | None], None]


class Transport(Protocol):
    """One connection, used by the process that made it. Any thread may call it."""

    said: str
    """Why reports wait, "" where nothing is known to be wrong."""

    def offer(self, report: Report, settled: Settled) -> bool:
        """Queues the report; False where there is no room now, and then `settled` is not called."""
        ...

    def serve(self, timeout_s: float) -> None:
        """Has confirmations handed to `settled`, and returns after the first ones, or after the time."""
        ...

    def close(self) -> None:
        """Drops what is queued and ends the connection."""
        ...

    def abandon(self) -> None:
        """In a child after a fork: the connection is the parent's. Nothing of it is closed, flushed or freed."""
        ...


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where reports go; `options` are librdkafka's properties, `token` is the gateway's."""

    url: str
    topic: str = RAW_TOPIC
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    queue_max_reports: int = 10_000
    queue_max_kib: int = 64 * 1024

    @property
    def over_http(self) -> bool:
        return self.url.startswith(("http://", "https://"))

    @property
    def name(self) -> str:
        """What a spool remembers it by: no secret, and the same for each process that reports there."""
        return self.url if self.over_http else f"{self.url}/{self.topic}"


def shown(url: str) -> str:
    """As a message may have it: without a user and a password."""
    return re.sub(r"(^|//).*@", r"\1***@", url)


def connected(target: Target) -> Transport:
    """Connects in the background. Raises `ValueError` for a URL or an option that makes no sense."""
    from cerebros_client.forking import Unconnected, is_stuck

    if is_stuck():
        return Unconnected()
    if target.over_http:
        from cerebros_client.gateway import GatewayTransport

        return GatewayTransport(target)
    from cerebros_client.kafka import KafkaTransport

    return KafkaTransport(target)
