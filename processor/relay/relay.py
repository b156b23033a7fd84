"""Outbox -> Kafka, exactly once: a process of its own.

The durable steps of one round, in this order:

1. claim     read the oldest packets from Postgres; nothing is marked
2. produce   all their messages, in one Kafka transaction
3. remember  in the same transaction: the ids of the packets, as offset metadata of the relay's group
4. commit    the Kafka transaction; now a read_committed consumer sees messages and memory together
5. delete    the packets from Postgres

Killed before 4, the transaction is aborted (by the successor's `init_transactions`, which also fences a relay that only
seemed dead) and the packets are claimed again. Killed between 4 and 5, the successor reads the memory before it claims
anything and deletes those packets. Only the last transaction can be in doubt, because 5 comes before the next 1.
Fence and memory have a name, which settings may change: the name and topics used last are written beside the outbox,
and a relay of another name takes over by that one first.
Nothing relies on the order of sequence numbers: a packet is published because it is there, and gone once it was.

A message that the broker will never take does not block the others: it is parked in Postgres, and so are later events
of its trial, until a person has mended the cause and runs `processor parked publish`. That only marks it: the relay
alone puts it back, between two rounds, or a later event that it holds in hand would be parked before it.

One relay leads, held by an advisory lock of its Postgres session; the others stand by and look every half second.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from processor.core import metrics
from processor.core.checkpoints import reach
from processor.core.errors import SetupError, TransientError, Unpublishable
from processor.core.messages import Event, Identity, Outgoing, Packet
from processor.core.outages import Outage
from processor.core.stopping import Stop
from processor.core.times import Backoff
from processor.relay.parking import known_refusals, may_go_without_value, refusal, without_value
from processor.relay.ports import Outbox, Outlet

log = structlog.get_logger(__name__)

STANDBY_SECONDS = 0.5
DEPTH_SECONDS = 5.0
ASK_SECONDS = 5.0  # Kafka that was not heard of for so long is asked: nothing to publish would hide that it is away
IDLE_SECONDS = 1.0  # a NOTIFY wakes us at once; this is for one that was lost with its connection


class Relay:
    """Publishes until it is told to stop."""

    def __init__(
        self,
        outbox: Outbox,
        open_outlet: Callable[[Identity, bool], Outlet],
        identity: Identity,
        *,
        max_messages: int,
        max_bytes: int,
        stop: Stop,
    ) -> None:
        """`open_outlet` is told as whom and whether to produce one by one; `identity` is ours by the settings.

        `stop` is how we are told to finish and return.
        """
        self._outbox, self._open_outlet, self._identity = outbox, open_outlet, identity
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._stopping = stop
        self._one_by_one = False
        self._outdated = False  # the outlet: its topics take other sizes by now, or are there again
        self._anything_parked = True  # until it was looked at
        self._depth_at = self._ask_at = 0.0
        self.last_round = time.monotonic()
        self._backoff = Backoff()
        self._outage = Outage("relay")

    def run(self) -> None:
        """Returns when stopped; raises `SetupError` when a person has to act."""
        while not self._stopping.is_set():
            try:
                outlet = self._lead()
                if outlet is None:
                    break
                self._serve(outlet)
            except TransientError as error:
                self._note_outage(error)
                with contextlib.suppress(TransientError):  # the outbox grows just now
                    self._measure_depth()
                self._stopping.wait(self._backoff.next_s())
            finally:
                metrics.RELAY_ACTIVE.set(0)
        self._stopping.tell()

    def _note_outage(self, error: TransientError) -> None:
        """It lasts until a whole round has worked: who can take over may still not be able to publish."""
        self.last_round = time.monotonic()
        if self._outage.note(error):
            log.warning("waiting", cause=str(error))

    def _note_round(self) -> None:
        """A round worked, whether there was something to publish or not."""
        self._backoff.reset()
        if (after_s := self._outage.end()) is not None:
            log.info("publishing_again", after_s=after_s)

    @property
    def in_outage(self) -> bool:
        return self._outage.lasts

    def _lead(self) -> Outlet | None:
        """Waits for the lead, then settles what the predecessor left in doubt."""
        standing_by = False
        while not self._outbox.try_lead():
            if not standing_by:
                log.info("standing_by")
                standing_by = True
                self._note_round()  # nothing is wrong with one that has nothing to do
            self.last_round = time.monotonic()
            self._measure_depth()
            if self._stopping.wait(STANDBY_SECONDS):
                return None
        settled = self._settle_former()
        outlet = self._open_outlet(self._identity, self._one_by_one)
        try:
            settled += self._outbox.settle(outlet.take_over(), self._identity)
        except BaseException:
            outlet.close()
            raise
        reach("relay.after_identity")
        self._anything_parked, self._outdated = True, False
        log.info("leading", settled_packets=settled)
        metrics.RELAY_ACTIVE.set(1)
        return outlet

    def _settle_former(self) -> int:
        """Ends what was begun under another name or to other topics; may be done again and again."""
        former = self._outbox.identity()
        if former is None or former == self._identity:
            return 0
        log.warning("identity_changed", former=list(former), now=list(self._identity))
        try:
            outlet = self._open_outlet(former, self._one_by_one)
            try:
                settled = self._outbox.settle(outlet.take_over(), former)
            finally:
                outlet.close()
        except SetupError as error:
            raise SetupError(
                f"{error}; this outbox was published as {former.transactional_id} to {former.events_topic} before, "
                "and what was begun so has to be ended first (table relay_identity)"
            ) from error
        reach("relay.after_former")
        return settled

    def _serve(self, outlet: Outlet) -> None:
        try:
            while not (self._stopping.is_set() or self._outdated):
                self.last_round = time.monotonic()
                self._measure_depth()
                self._restore()
                packets = self._outbox.claim(self._max_messages, self._max_bytes)
                if packets:
                    reach("relay.after_claim")
                    self._publish(outlet, packets)
                else:
                    self._ask(outlet)
                self._note_round()
                if not packets:
                    self._outbox.wait(IDLE_SECONDS)
        finally:
            outlet.close()

    def _ask(self, outlet: Outlet) -> None:
        if time.monotonic() > self._ask_at:
            outlet.ask()
            self._ask_at = time.monotonic() + ASK_SECONDS

    def _restore(self) -> bool:
        """True where parked messages that somebody wants are back in the outbox: they come first."""
        if not self._anything_parked or not (number := self._outbox.restore()):
            return False
        log.info("messages_unparked", number=number)
        reach("relay.after_restore")
        return True

    def _publish(self, outlet: Outlet, packets: Sequence[Packet]) -> None:
        messages = [message for packet in packets for message in packet.messages]
        behind = self._parked_before(messages)
        if behind and self._restore():
            return
        small = all(outlet.takes_all_of(packet.bytes) for packet in packets)  # no message of them is too large
        if (behind or not small) and any(refusal(outlet, message, behind) for message in messages):
            self._outdated = any(map(outlet.refuses, messages)) and outlet.has_changed()
            if self._outdated:
                return
            self._set_aside(outlet, packets, lambda packet: known_refusals(outlet, packet, behind))
            return
        with metrics.PUBLISH_SECONDS.time():
            try:
                outlet.publish(messages, [packet.id for packet in packets])
            except Unpublishable as problem:
                log.warning("messages_refused", cause=str(problem))
                outlet.look_for_topics()
                if self._set_aside(outlet, packets, lambda packet: known_refusals(outlet, packet, behind)):
                    return
                if not self._set_aside(outlet, packets, lambda packet: outlet.try_out(packet.messages)):
                    self._one_by_one = True  # each alone is taken: it is their batches that are too large
                    raise TransientError(f"refused together, taken one by one: {problem}") from problem
                return
        self._ask_at = time.monotonic() + ASK_SECONDS
        reach("relay.after_kafka_commit")
        self._outbox.delete([packet.id for packet in packets])
        reach("relay.after_mark")
        for destination, number in Counter([message.destination for message in messages]).items():
            metrics.PUBLISHED.labels(destination.value).inc(number)

    def _parked_before(self, messages: Sequence[Outgoing]) -> dict[tuple[str, str], int]:
        """Of the messages' trials those with a parked event, by run and trial: the lowest revision of them."""
        if not self._anything_parked:
            return {}
        return dict(self._outbox.first_parked({one.owner for one in messages if isinstance(one, Event)}))

    def _measure_depth(self) -> None:
        if time.monotonic() > self._depth_at:
            self._depth_at = time.monotonic() + DEPTH_SECONDS
            depth = self._outbox.depth()
            metrics.OUTBOX_MESSAGES.set(depth["messages"])
            metrics.OUTBOX_AGE.set(depth["oldest_age_s"])
            metrics.PARKED_MESSAGES.set(depth["parked"])
            self._anything_parked = depth["parked"] > 0  # only we park anything meanwhile

    def _set_aside(
        self, outlet: Outlet, packets: Sequence[Packet], refusals: Callable[[Packet], dict[int, str]]
    ) -> bool:
        """Parks events that will never be taken, sends dead letters without their value; False where there was none."""
        found = False
        for packet in packets:
            refused = refusals(packet)
            if not refused:
                continue
            found = True
            kept: list[Outgoing] = []
            parked: list[tuple[Outgoing, str]] = []
            for place, message in enumerate(packet.messages):
                if place not in refused:
                    kept.append(message)
                elif may_go_without_value(message) and not outlet.is_gone(message.destination):
                    kept.append(without_value(message))
                else:
                    parked.append((message, refused[place]))
            self._outbox.rewrite(packet.id, kept, parked)
            self._anything_parked = self._anything_parked or bool(parked)
            metrics.PARKED.inc(len(parked))
            for message, why in parked:
                log.error("message_parked", message=message.id, cause=why)
        return found
