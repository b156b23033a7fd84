"""An outbox and a Kafka in memory: they do what the docstrings of the two protocols promise, and nothing more."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from processor.core.errors import TransientError, Unpublishable
from processor.core.messages import Destination, Event, Identity, OutboxMessage, Outgoing, Packet
from processor.core.stopping import Stop
from processor.relay.relay import Relay

#: what becomes of one call: it works, or fails before or after it took effect, and whether the process dies of it
Fate = Literal["works", "fails before", "fails after", "dies before", "dies after"]
MOST_CALLS = 3000
OURS, THEIRS = Identity("ours", "events", "letters"), Identity("theirs", "events", "letters")
_numbers = itertools.count()


class Killed(BaseException):
    """The process is gone at this point."""


def event(trial: str, revision: int = 1, size: int = 1) -> Event:
    return Event("run", trial, revision, "ml.trial.complete", 0, b"x" * size)


def letter(number: int, size: int = 1) -> OutboxMessage:
    headers = (("traceparent", b"00"), ("dead_letter_id", b"%d" % number))
    return OutboxMessage(Destination.DEAD_LETTERS, f"dead-letter/{number}", b"run", b"x" * size, headers)


def packet(*messages: Outgoing) -> Packet:
    return Packet(f"packet-{next(_numbers)}", messages, sum(len(message.value or b"") for message in messages))


class World:
    """What is durable in Postgres and in Kafka, what they refuse, and what goes wrong when."""

    def __init__(self, *packets: Packet) -> None:
        self.waiting = list(packets)
        self.parked: list[tuple[Outgoing, str]] = []
        self.wanted = 0  # how many of them a person wants back: those that were parked first
        self.identity: Identity | None = None  # as whom the outbox was published
        self.published: list[Outgoing] = []  # as a read_committed consumer sees it
        self.remembered: Sequence[str] = ()  # by Kafka: the packets of its last transaction
        self.largest = 100  # bytes of a message that the topics take, as everybody can ask
        self.gone: set[Destination] = set()
        self.refuses: Callable[[Outgoing], bool] = lambda _: False  # by the broker, nobody knows why
        self.takes_batches = True
        self.leads: Callable[[], bool] = lambda: True
        self.calls: list[str] = []
        self.on: dict[str, Callable[[], Any]] = {}  # is called whenever that step begins
        self.script: list[Callable[[], Any]] = []  # one is called each time when the relay has nothing to do
        self.outlets: list[FakeOutlet] = []
        self.owner: FakeOutlet | None = None  # the one that took over last: Kafka fences all others
        self._fates: dict[str, list[Fate]] = {}
        self._thread: threading.Thread | None = None

    def plan(self, step: str, *fates: Fate) -> None:
        """The first calls of the step end so; later ones work."""
        self._fates[step] = list(fates)

    def fail(self, step: str, times: int) -> None:
        """So many calls of the step fail, without any effect."""
        self._fates[step] = ["fails before"] * times

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._thread = self._thread or threading.current_thread()
        assert threading.current_thread() is self._thread
        self.calls.append(name)
        assert len(self.calls) < MOST_CALLS, f"for ever: {Counter(self.calls)}"
        self.on.get(name, lambda: None)()
        fates = self._fates.get(name, [])
        how, _, when = (fates.pop(0) if fates else "works").partition(" ")
        error = Killed(name) if how == "dies" else TransientError(f"{name} {how}")
        if when == "before":
            raise error
        yield
        if when == "after":
            raise error

    def did(self, *names: str) -> list[str]:
        """The calls of these steps, in their order."""
        return [call for call in self.calls if call in names]

    def want_back(self) -> None:
        """What `processor parked publish` does: it marks what is parked now."""
        self.wanted = len(self.parked)

    def never_takes(self, message: Outgoing) -> bool:
        large = len(message.value or b"") > self.largest
        return large or message.destination in self.gone or self.refuses(message)


class FakeOutbox:
    """Of one process. With nothing to do it goes on with the world's script, then stops the relay."""

    def __init__(self, world: World) -> None:
        self._world, self.stop = world, Stop()

    def try_lead(self) -> bool:
        with self._world.step("try_lead"):
            return self._world.leads()

    def wait(self, timeout_s: float) -> None:
        with self._world.step("wait"):
            (self._world.script.pop(0) if self._world.script else partial(self.stop.set, "done"))()

    def claim(self, max_messages: int, max_bytes: int) -> Sequence[Packet]:
        with self._world.step("claim"):
            claimed: list[Packet] = []
            messages = size = 0
            for one in self._world.waiting:
                messages, size = messages + len(one.messages), size + one.bytes
                if claimed and (messages > max_messages or size > max_bytes):
                    break
                claimed.append(one)
            return claimed

    def delete(self, packet_ids: Sequence[str]) -> None:
        with self._world.step("delete"):
            assert self._forget(packet_ids) == len(packet_ids)

    def _forget(self, packet_ids: Sequence[str]) -> int:
        before = len(self._world.waiting)
        self._world.waiting = [one for one in self._world.waiting if one.id not in packet_ids]
        return before - len(self._world.waiting)

    def identity(self) -> Identity | None:
        with self._world.step("identity"):
            return self._world.identity

    def settle(self, published: Sequence[str], identity: Identity) -> int:
        with self._world.step("settle"):
            self._world.identity = identity
            return self._forget(published)

    def rewrite(self, packet_id: str, kept: Sequence[Outgoing], parked: Sequence[tuple[Outgoing, str]]) -> None:
        with self._world.step("rewrite"):
            [place] = [place for place, one in enumerate(self._world.waiting) if one.id == packet_id]
            size = sum(len(message.value or b"") for message in kept)
            self._world.waiting[place : place + 1] = [Packet(packet_id, tuple(kept), size)] if kept else []
            self._world.parked += parked

    def first_parked(self, trials: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        with self._world.step("first_parked"):
            events = [message for message, _ in self._world.parked if isinstance(message, Event)]
            found = sorted(((one.owner, one.revision) for one in events if one.owner in trials), reverse=True)
            return dict(found)

    def restore(self) -> int:
        """In front of all that waits, the events of a trial in the order of their revisions."""
        with self._world.step("restore"):
            wanted = [message for message, _ in self._world.parked[: self._world.wanted]]
            del self._world.parked[: self._world.wanted]
            self._world.wanted = 0
            wanted.sort(key=lambda one: one.revision if isinstance(one, Event) else 0)
            self._world.waiting[:0] = [packet(message) for message in wanted]
            return len(wanted)

    def depth(self) -> Mapping[str, Any]:
        with self._world.step("depth"):
            messages = sum(len(one.messages) for one in self._world.waiting)
            return {"messages": messages, "oldest_age_s": messages / 2, "parked": len(self._world.parked)}


class FakeOutlet:
    """One producer. After a failure it may only be closed, and one that took over later fences it."""

    def __init__(self, world: World, identity: Identity, one_by_one: bool) -> None:
        self._world, self.identity, self.one_by_one = world, identity, one_by_one
        self._gone: set[Destination] = set()
        self._largest = world.largest
        self.broken = self.closed = False
        with world.step("open"):
            pass
        world.outlets.append(self)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        assert (self.broken, self.closed) == (False, False)
        try:
            with self._world.step(name):
                yield
        except TransientError:
            self.broken = True
            raise

    def take_over(self) -> Sequence[str]:
        with self._step("take_over"):
            self._world.owner = self
            return list(self._world.remembered)

    def publish(self, messages: Sequence[Outgoing], packet_ids: Sequence[str]) -> None:
        with self._step("publish"):
            if self._world.owner is not self:
                raise TransientError("fenced")
            too_many = len(messages) > 1 and not (self._world.takes_batches or self.one_by_one)
            if too_many or any(map(self._world.never_takes, messages)):
                raise Unpublishable("some are refused")
            self._world.published += messages
            self._world.remembered = list(packet_ids)

    def try_out(self, messages: Sequence[Outgoing]) -> dict[int, str]:
        with self._step("try_out"):
            return {place: "refused" for place, one in enumerate(messages) if self._world.never_takes(one)}

    def ask(self) -> None:
        with self._step("ask"):
            pass

    def look_for_topics(self) -> None:
        with self._step("look_for_topics"):
            self._gone = set(self._world.gone)

    def has_changed(self) -> bool:
        with self._step("has_changed"):
            gone, self._gone = self._gone, set(self._world.gone)
            return not gone <= self._gone or self._largest != self._world.largest

    def is_gone(self, destination: Destination) -> bool:
        return destination in self._gone

    def takes_all_of(self, packet_bytes: int) -> bool:
        return not self._gone and packet_bytes <= self._largest

    def refuses(self, message: Outgoing) -> str | None:
        if message.destination in self._gone:
            return "the topic is gone"
        return "too large" if len(message.value or b"") > self._largest else None

    def close(self) -> None:
        self._world.calls.append("close")
        self.closed = True


class StoppableRelay(Relay):
    def stop(self) -> None:
        self._stopping.set("asked to")


def relay_of(
    world: World, *, max_messages: int = 100, max_bytes: int = 1000, identity: Identity = OURS
) -> StoppableRelay:
    """A process of its own; the world may have several, one after the other or side by side."""
    outbox = FakeOutbox(world)
    opener = partial(FakeOutlet, world)
    return StoppableRelay(outbox, opener, identity, max_messages=max_messages, max_bytes=max_bytes, stop=outbox.stop)
