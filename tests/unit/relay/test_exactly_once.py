"""One property of the whole relay: whatever fails, and whenever it dies, each message is published once, in order."""

from __future__ import annotations

from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.core.messages import Destination, Event, Outgoing, Packet
from processor.relay.parking import without_value
from tests.unit.relay.fakes import Fate, Killed, World, event, letter, packet, relay_of

STEPS = [
    *("try_lead", "open", "identity", "take_over", "settle", "restore", "first_parked", "depth", "claim", "publish"),
    *("look_for_topics", "try_out", "rewrite", "delete", "wait"),
]
SIZES = st.sampled_from([1, 1, 1, 60, 101])  # the last is refused, two of the one before need to be looked at


@st.composite
def outboxes(draw: st.DrawFn) -> list[Packet]:
    """Packets with the revisions of a few trials in order, and dead letters."""
    revisions, letters = dict.fromkeys("abc", 0), 0
    packets = []
    for number in draw(st.lists(st.integers(1, 4), max_size=6)):
        messages: list[Outgoing] = []
        for _ in range(number):
            trial = draw(st.sampled_from(["a", "b", "c", None]))
            if trial is None:
                letters += 1
                messages.append(letter(letters, draw(SIZES)))
            else:
                revisions[trial] += 1
                messages.append(event(trial, revisions[trial], draw(SIZES)))
        packets.append(packet(*messages))
    return packets


def expected(world: World, packets: list[Packet]) -> tuple[list[Outgoing], set[str]]:
    """What is published, and the names of what is parked."""
    published: list[Outgoing] = []
    parked: set[str] = set()
    held: set[str] = set()
    for message in (message for one in packets for message in one.messages):
        if isinstance(message, Event) and (message.subject in held or world.never_takes(message)):
            held.add(message.subject)
            parked.add(message.id)
        elif not world.never_takes(message):
            published.append(message)
        elif not isinstance(message, Event) and message.destination not in world.gone:
            published.append(without_value(message))
        else:
            parked.add(message.id)
    return published, parked


@settings(max_examples=400, deadline=None)
@given(
    outboxes(),
    st.dictionaries(st.sampled_from(STEPS), st.lists(st.sampled_from(get_args(Fate)), max_size=4), max_size=6),
    st.integers(1, 8),
    st.sets(st.sampled_from(["run/a#1", "run/a#2", "run/b#1", "run/b#3", "dead-letter/1"])),
    st.sampled_from([set[Destination](), {Destination.DEAD_LETTERS}, {Destination.EVENTS}]),
    st.booleans(),
)
def test_whatever_fails_and_whenever_it_dies_each_message_is_published_once_in_order_or_parked(
    packets: list[Packet],
    fates: dict[str, list[Fate]],
    max_messages: int,
    refused: set[str],
    gone: set[Destination],
    takes_batches: bool,
) -> None:
    world = World(*packets)
    world.gone, world.takes_batches = gone, takes_batches
    world.refuses = lambda message: message.id in refused and message.value is not None
    for step, planned in fates.items():
        world.plan(step, *planned)
    ended = False
    while not ended:
        try:
            relay_of(world, max_messages=max_messages).run()
            ended = True
        except Killed:  # the next process goes on
            continue
    published, parked = expected(world, packets)
    assert world.published == published
    assert sorted(message.id for message, _ in world.parked) == sorted(parked)
    assert world.waiting == []
