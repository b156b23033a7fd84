"""The frozen values that a request becomes: body -> parcels and refusals -> verdicts -> an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from processor.core.messages import Headers
from processor.kafka.confirmed import Failure, Receipt


class Ids(NamedTuple):
    """Of one report; a run report has no trial, "" stands for it."""

    run_id: str
    trial_id: str


class Parcel(msgspec.Struct, frozen=True):
    """One Kafka message that the decoder takes whole: `place` is that of its first report among all of the request.

    Nearly always it holds one report. `reported_ms` is when it was made, None for now; `ahead`: its caller says that
    it was later. `event` is what an event calls itself, `line` the line it came on, from 1.
    """

    place: int
    value: bytes
    key: bytes
    ids: Sequence[Ids]
    headers: Headers = ()
    line: int | None = None
    event: str = ""
    correlation_id: str = ""
    reported_ms: int | None = None
    ahead: bool = False


class Refusal(msgspec.Struct, frozen=True):
    """A report that is not sent, because it would be a dead letter, or is no event as its endpoint wants it.

    `error` is the code, `details` what people read (a list where several things are wrong), `path` the place in the
    report. `whole`: not one report but all of the body.
    """

    place: int
    error: str
    details: str | list[str]
    reason: str = ""
    path: str = ""
    line: int | None = None
    whole: bool = False
    received: str | None = None


Judged = Parcel | Refusal
Outcome = Receipt | Failure


class Sender(Protocol):
    """What the gateway needs of Kafka; `kafka.confirmed.ConfirmedProducer` is one.

    `send` raises `TransientError` where its queue is full; else it calls `settle` once, from any thread.
    """

    topic: str

    def send(
        self, key: bytes, value: bytes, timestamp_ms: int, headers: Headers, settle: Callable[[Outcome], None]
    ) -> None: ...
