"""Parcels -> Kafka, and the wait for its answers: one future a request, however many messages it has."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from processor.core.errors import TransientError
from processor.core.metrics import GATEWAY_UNCONFIRMED
from processor.gateway.values import Outcome, Parcel, Sender
from processor.kafka.confirmed import Failure, Receipt

log = structlog.get_logger(__name__)

LATE = Failure("not confirmed in time")
#: messages that are queued in a few milliseconds; then others have their turn in the loop
AT_ONCE = 200


class _Shipment:
    """The messages of one request: `left` of them are without an answer."""

    __slots__ = ("done", "left", "outcomes")

    def __init__(self, messages: int, done: asyncio.Future[None]) -> None:
        self.outcomes: list[Outcome] = [LATE] * messages
        self.left, self.done = messages, done


class Dispatch:
    """Sends and waits; to be made in the event loop that its `send` is awaited in."""

    def __init__(self, sender: Sender, *, delivery_s: float) -> None:
        self._sender, self._delivery_s = sender, delivery_s
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._finished: deque[_Shipment] = deque()
        self._woken = False
        self._latest_ms = 0
        self.in_outage = False
        self.confirmed_at = float("-inf")  # monotonic second

    async def send(self, parcels: Sequence[Parcel]) -> list[Outcome]:
        """What became of each, in their order. `Failure`: not confirmed, though it may arrive all the same.

        1. all are queued, each at the time that its caller names, or else at one for all: this machine's clock, kept
        from running backwards; 2. Kafka confirms each, or the delivery time is over; 3. only then is anybody told.
        """
        if not parcels:
            return []
        shipment = _Shipment(len(parcels), self._loop.create_future())
        now = self._latest_ms = max(self._latest_ms, time.time_ns() // 1_000_000)
        for number, parcel in enumerate(parcels):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            settle = partial(self._settle, shipment, number)
            try:
                at = now if parcel.reported_ms is None else parcel.reported_ms
                self._sender.send(parcel.key, parcel.value, at, parcel.headers, settle)
            except TransientError as error:
                self._give_up(shipment, number, Failure(str(error)))
                break
        try:
            async with asyncio.timeout(self._delivery_s):
                await shipment.done
        except TimeoutError:
            pass
        outcomes = list(shipment.outcomes)  # later answers change nothing
        self._tell(outcomes)
        return outcomes

    def _give_up(self, shipment: _Shipment, number: int, failure: Failure) -> None:
        """This message and those behind it are not even queued."""
        unsent = len(shipment.outcomes) - number
        shipment.outcomes[number:] = [failure] * unsent
        with self._lock:
            shipment.left -= unsent
            finished = shipment.left == 0
        if finished:
            shipment.done.set_result(None)

    def _settle(self, shipment: _Shipment, number: int, outcome: Outcome) -> None:
        """In the sender's thread. One wake-up serves all that has been settled until the loop gets to it."""
        with self._lock:
            shipment.outcomes[number] = outcome
            shipment.left -= 1
            if shipment.left:
                return
            self._finished.append(shipment)
            if self._woken:
                return
            self._woken = True
        _call(self._loop, self._wake)

    def _wake(self) -> None:
        with self._lock:
            self._woken = False
            finished, self._finished = self._finished, deque()
        for shipment in finished:
            if not shipment.done.done():
                shipment.done.set_result(None)

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        failure = next((one for one in outcomes if isinstance(one, Failure) and not one.forever), None)
        if failure is not None:
            self.begin_outage(failure.words)
        elif any(isinstance(one, Receipt) for one in outcomes):
            self.confirmed_at = time.monotonic()
            self.end_outage()

    def begin_outage(self, cause: str) -> None:
        """Kafka does not confirm, or does not answer when it is asked. Any thread may say so; one line says it."""
        with self._lock:
            began, self.in_outage = not self.in_outage, True
        if began:
            GATEWAY_UNCONFIRMED.set(1)
            log.warning("kafka_unconfirmed", cause=cause)

    def end_outage(self) -> None:
        """Kafka confirms again, or at least answers when it is asked. Any thread may say so; one line says it."""
        with self._lock:
            ended, self.in_outage = self.in_outage, False
        if ended:
            GATEWAY_UNCONFIRMED.set(0)
            log.info("kafka_back")


def _call(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(work)
