"""Messages that the broker will never take: they are set aside, in the order of their trial, and all others go on."""

from __future__ import annotations

import pytest

from processor.core import metrics
from processor.core.messages import Destination, Outgoing, Packet
from processor.relay.parking import without_value
from tests.unit.relay.fakes import Fate, World, event, letter, packet, relay_of

LARGE = 101
SURE = {"size": 100}  # so large that a packet of two needs to be looked at, and each is taken


def parked(world: World) -> list[str]:
    return [message.id for message, _ in world.parked]


def published(world: World) -> list[str]:
    return [message.id for message in world.published]


@pytest.mark.parametrize(
    "packets",
    [
        [packet(event("b"), event("a", 1, LARGE), event("a", 2), event("b", 2))],
        [packet(event("b")), packet(event("a", 1, LARGE)), packet(event("a", 2), event("b", 2))],
    ],
    ids=["in one packet", "in several"],
)
def test_a_refused_event_is_parked_with_later_events_of_its_trial_and_all_others_go_on(packets: list[Packet]) -> None:
    world = World(*packets)
    relay_of(world).run()
    assert world.parked == [
        (event("a", 1, LARGE), "too large"),
        (event("a", 2), "behind a parked event of the same trial"),
    ]
    assert published(world) == ["run/b#1", "run/b#2"]
    assert world.waiting == []


@pytest.mark.parametrize(
    "packets",
    [
        [packet(event("a"), event("a", 2, LARGE), event("a", 3))],
        [packet(event("a")), packet(event("a", 2, LARGE)), packet(event("a", 3))],
    ],
    ids=["in one packet", "in several"],
)
def test_events_of_a_trial_before_the_refused_one_are_published_and_never_behind_it(packets: list[Packet]) -> None:
    world = World(*packets)
    relay_of(world).run()
    assert (published(world), parked(world)) == (["run/a#1"], ["run/a#2", "run/a#3"])
    world.largest = LARGE
    world.want_back()
    relay_of(world).run()
    assert published(world) == ["run/a#1", "run/a#2", "run/a#3"]


def test_events_that_come_after_their_trial_was_parked_wait_behind_it_also_for_the_next_relay() -> None:
    world = World(packet(event("a", 1, LARGE)))
    world.script = [lambda: world.waiting.append(packet(event("a", 2), event("b")))]
    relay_of(world).run()
    world.waiting.append(packet(event("b", 2), event("a", 3)))
    relay_of(world).run()
    assert parked(world) == ["run/a#1", "run/a#2", "run/a#3"]
    assert published(world) == ["run/b#1", "run/b#2"]


def test_what_a_topic_takes_is_asked_again_before_anything_is_parked() -> None:
    """A limit that was raised, or a topic that is back, is known without a new relay."""
    world = World(packet(event("b")))

    def raise_it() -> None:
        world.largest = LARGE
        world.waiting.append(packet(event("a", 1, LARGE)))

    world.script = [raise_it]
    relay_of(world).run()
    assert (published(world), parked(world)) == (["run/b#1", "run/a#1"], [])
    assert len(world.outlets) == 2


def test_a_refused_event_is_never_handed_to_the_broker_where_its_limit_is_known() -> None:
    world = World(packet(event("a", size=LARGE), event("b")))
    relay_of(world).run()
    assert world.did("rewrite", "publish", "look_for_topics") == ["rewrite", "publish"]


def test_what_is_large_only_together_is_published() -> None:
    world = World(packet(event("a", **SURE), event("b", **SURE)))
    relay_of(world).run()
    assert published(world) == ["run/a#1", "run/b#1"]
    assert world.did("rewrite") == []


def test_a_dead_letter_too_large_for_its_topic_goes_without_its_value_in_its_place() -> None:
    world = World(packet(letter(1), letter(2, LARGE), event("a")))
    relay_of(world).run()
    assert world.published == [letter(1), without_value(letter(2, LARGE)), event("a")]
    assert world.parked == []


def test_a_dead_letter_that_is_refused_without_its_value_too_is_parked() -> None:
    world = World(packet(letter(1), letter(2)))
    world.refuses = lambda message: message.id == "dead-letter/1"
    relay_of(world).run()
    assert world.parked == [(without_value(letter(1)), "refused")]
    assert world.published == [letter(2)]


def test_a_dead_letter_whose_topic_is_gone_is_parked_as_it_is_and_events_go_on() -> None:
    world = World(packet(letter(1), event("a")))
    world.gone = {Destination.DEAD_LETTERS}
    world.script = [lambda: world.waiting.append(packet(event("b"), letter(2, LARGE)))]
    relay_of(world).run()
    assert world.parked == [(letter(1), "the topic is gone"), (letter(2, LARGE), "the topic is gone")]
    assert published(world) == ["run/a#1", "run/b#1"]


def test_a_topic_that_is_gone_is_looked_for_before_anything_is_tried_out() -> None:
    world = World(packet(event("a"), letter(1)), packet(event("b")))
    world.gone = {Destination.EVENTS}
    relay_of(world).run()
    steps = world.did("publish", "look_for_topics", "rewrite", "try_out")
    assert steps == ["publish", "look_for_topics", "rewrite", "rewrite", "publish"]
    assert parked(world) == ["run/a#1", "run/b#1"]
    assert world.published == [letter(1)]


def test_what_the_broker_refuses_for_reasons_of_its_own_is_found_by_trying_out() -> None:
    world = World(packet(event("a"), event("b")), packet(event("b", 2), event("c")))
    world.refuses = lambda message: message.id == "run/b#1"
    relay_of(world).run()
    steps = world.did("publish", "look_for_topics", "rewrite", "try_out", "delete")
    tried = ["publish", "look_for_topics", "try_out", "rewrite", "try_out"]
    assert steps == [*tried, "rewrite", "publish", "delete"]  # the last rewriting: what is behind it
    assert world.parked == [
        (event("b"), "refused"),
        (event("b", 2), "behind a parked event of the same trial"),
    ]
    assert published(world) == ["run/a#1", "run/c#1"]


def test_messages_that_are_refused_only_together_are_produced_one_by_one() -> None:
    world = World(packet(event("a"), event("b")))
    world.takes_batches = False
    world.script = [lambda: world.waiting.append(packet(event("c"), event("d")))]
    relay_of(world).run()
    assert [outlet.one_by_one for outlet in world.outlets] == [False, True]
    assert published(world) == ["run/a#1", "run/b#1", "run/c#1", "run/d#1"]
    assert world.parked == []


@pytest.mark.parametrize("fate", ["fails before", "fails after"])
@pytest.mark.parametrize("step", ["look_for_topics", "try_out", "rewrite"])
def test_an_outage_while_messages_are_set_aside_parks_and_publishes_each_once(step: str, fate: Fate) -> None:
    world = World(packet(event("a"), event("b")), packet(event("a", 2)), packet(event("c"), event("a", 3)))
    world.refuses = lambda message: message.id == "run/a#1"
    world.plan(step, fate)
    relay_of(world).run()
    assert parked(world) == ["run/a#1", "run/a#2", "run/a#3"]
    assert published(world) == ["run/b#1", "run/c#1"]


def test_parked_events_that_a_person_puts_back_come_before_later_ones_of_their_trial_that_wait() -> None:
    """The later one was claimed already when the earlier ones came back in front of it."""

    def mend() -> None:
        del world.on["claim"]
        world.largest = LARGE
        world.want_back()

    def claim() -> None:
        world.waiting.append(packet(event("a", 3), event("b")))
        world.on["claim"] = lambda: world.on.update(first_parked=put_back)

    def put_back() -> None:
        del world.on["first_parked"]
        mend()

    world = World(packet(event("a", 1, LARGE), event("a", 2)))
    world.script = [claim]
    relay_of(world).run()
    assert published(world) == ["run/a#1", "run/a#2", "run/a#3", "run/b#1"]
    assert world.parked == []


def test_a_trial_that_was_put_back_is_published_again() -> None:
    def mend() -> None:
        world.largest = LARGE
        world.want_back()

    def go_on() -> None:
        world.waiting.append(packet(event("a", 2)))

    world = World(packet(event("a", 1, LARGE)))
    world.script = [mend, go_on]
    relay_of(world).run()
    assert published(world) == ["run/a#1", "run/a#2"]


def test_parked_messages_are_counted() -> None:
    def count() -> float:
        return metrics.REGISTRY.get_sample_value("processor_parked_total") or 0.0

    before, messages = count(), list[Outgoing]([event("a", 1, LARGE), event("a", 2), letter(1, LARGE), event("b")])
    relay_of(World(packet(*messages))).run()
    assert count() - before == 2
