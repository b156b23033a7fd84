"""The relay: its durable steps in order, what it does in an outage, and who leads."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from processor.core import metrics
from processor.core.errors import SetupError
from processor.core.times import Backoff
from processor.relay import relay as relay_module
from processor.relay.relay import Relay
from tests.support.processes import wait_until
from tests.unit.relay.fakes import OURS, THEIRS, Fate, World, event, letter, packet, relay_of

DURABLE = ("take_over", "settle", "claim", "publish", "delete")


def measured(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"processor_{name}", labels) or 0.0


def test_each_round_claims_then_publishes_then_deletes() -> None:
    first, second = packet(event("a"), letter(1)), packet(event("b"))
    world = World(first)
    world.script = [lambda: world.waiting.append(second)]
    relay_of(world).run()
    assert world.did(*DURABLE) == ["take_over", "settle", *["claim", "publish", "delete", "claim"] * 2]
    assert world.published == [*first.messages, *second.messages]
    assert world.waiting == []


def test_the_packets_of_one_round_are_remembered_in_the_transaction_that_publishes_them() -> None:
    world = World(packet(event("a")), packet(event("b")), packet(event("c")))
    first, second, third = (one.id for one in world.waiting)
    remembered = []
    world.on["delete"] = lambda: remembered.append(list(world.remembered))
    relay_of(world, max_messages=2).run()
    assert remembered == [[first, second], [third]]


@pytest.mark.parametrize(("limits", "rounds"), [({"max_messages": 2}, 3), ({"max_bytes": 20}, 3), ({}, 1)])
def test_a_round_takes_no_more_than_its_limits(limits: dict[str, Any], rounds: int) -> None:
    world = World(*(packet(event(f"t{number}", size=10)) for number in range(6)))
    relay_of(world, **limits).run()
    assert world.did("publish") == ["publish"] * rounds
    assert [message.id for message in world.published] == [f"run/t{number}#1" for number in range(6)]


def test_what_the_predecessor_published_is_deleted_before_anything_is_claimed() -> None:
    """It died between its Kafka transaction and the deletion."""
    done, waiting = packet(event("a")), packet(event("b"))
    world = World(done, waiting)
    world.published, world.remembered = list(done.messages), [done.id]
    relay_of(world).run()
    assert world.did(*DURABLE)[:3] == ["take_over", "settle", "claim"]
    assert world.published == [*done.messages, *waiting.messages]


def test_nothing_is_deleted_where_no_predecessor_left_a_memory() -> None:
    world = World()
    relay_of(world).run()
    assert world.did(*DURABLE) == ["take_over", "settle", "claim"]


def test_an_empty_outbox_does_not_hide_that_kafka_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    world = World()
    world.fail("ask", 2)
    before = measured("outages_total", where="relay")
    waiting = []
    world.on["try_lead"] = lambda: waiting.append(measured("outage", where="relay"))
    relay_of(world).run()
    assert world.did("take_over", "ask", "wait") == [*["take_over", "ask"] * 3, "wait"]
    assert measured("outages_total", where="relay") == before + 1
    assert waiting == [0, 1, 1]
    assert measured("outage", where="relay") == 0


@pytest.mark.parametrize("fate", ["fails before", "fails after"])
@pytest.mark.parametrize(
    "step",
    [
        "take_over",
        "settle",
        "claim",
        "publish",
        "delete",
    ],
)
def test_an_outage_at_any_step_takes_a_new_outlet_and_loses_and_doubles_nothing(step: str, fate: Fate) -> None:
    world = World(packet(event("a"), event("a", 2)), packet(letter(1)))
    everything = [message for one in world.waiting for message in one.messages]
    still_open: list[bool] = []
    world.plan(step, fate)
    world.on["open"] = lambda: still_open.extend(not outlet.closed for outlet in world.outlets)
    relay_of(world).run()
    assert still_open == [False]  # one before the second
    assert world.published == everything
    assert world.waiting == []


def test_packets_that_stay_after_a_failed_delete_are_not_published_again() -> None:
    """Kafka remembers them, however often Postgres fails to forget them."""
    world = World(packet(event("a")))
    world.fail("delete", 1)
    world.plan("settle", "works", "fails before", "fails before", "fails before", "fails before")
    relay_of(world).run()
    assert world.did("publish") == ["publish"]
    assert world.did("delete", "settle") == ["settle", "delete", *["settle"] * 5]
    assert (len(world.published), world.waiting) == (1, [])


def test_an_outlet_that_another_relay_fenced_publishes_nothing_more() -> None:
    world = World(packet(event("a")))

    def another_takes_over() -> None:
        world.on.clear()
        world.owner = None

    world.on["claim"] = another_takes_over
    relay_of(world).run()
    assert world.did("take_over", "publish") == ["take_over", "publish"] * 2
    assert len(world.published) == 1


def test_what_a_person_has_to_mend_ends_the_run_with_the_outlet_closed() -> None:
    def refuse() -> None:
        raise SetupError("the user may not use the topic")

    world = World(packet(event("a")))
    world.on["publish"] = refuse
    with pytest.raises(SetupError, match="may not use"):
        relay_of(world).run()
    assert [outlet.closed for outlet in world.outlets] == [True]
    assert (len(world.waiting), measured("relay_active")) == (1, 0)


@pytest.mark.parametrize("step", ["try_lead", "open", "take_over", "claim", "publish"])
def test_an_outage_is_told_once_and_ends_when_a_round_has_worked(step: str) -> None:
    """Who can take over may still not be able to publish."""

    def look() -> None:
        seen.append((relay.in_outage, measured("outage", where="relay")))

    seen: list[tuple[bool, float]] = []
    world, before = World(packet(event("a"))), measured("outages_total", where="relay")
    world.fail(step, 3)
    world.on = {step: look, "wait": look}
    relay = relay_of(world)
    relay.run()
    assert seen[:4] == [(False, 0), *[(True, 1)] * 3]
    assert seen[-1] == (False, 0)
    assert measured("outages_total", where="relay") - before == 1


def test_a_relay_that_stands_by_after_an_outage_is_in_none() -> None:
    """It has nothing to publish, and its Postgres answers."""
    world = World()
    world.fail("try_lead", 1)
    world.leads = iter([False, True]).__next__
    seen: list[bool] = []
    relay = relay_of(world)
    world.on["try_lead"] = lambda: seen.append(relay.in_outage)
    relay.run()
    assert seen == [False, True, False]


def test_each_attempt_in_an_outage_shows_that_the_relay_is_not_stuck() -> None:
    world, rounds = World(), list[float]()
    world.fail("try_lead", 3)
    relay = relay_of(world)
    world.on["try_lead"] = lambda: rounds.append(relay.last_round)
    relay.run()
    assert len(set(rounds)) == 4


def test_metrics_say_what_waits_what_was_published_and_whether_it_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> None:
        seen.append([measured(f"{name}") for name in names])

    names = ["relay_active", "outbox_messages", "outbox_age_seconds", "parked_messages"]
    published = [("events", 2.0), ("dead_letters", 1.0)]
    before = [measured("published_total", destination=destination) for destination, _ in published]
    monkeypatch.setattr(relay_module, "DEPTH_SECONDS", -1.0)  # at every round
    seen: list[list[float]] = []
    world = World(packet(event("a"), event("b"), letter(1)))
    world.parked = [(event("c"), "too large")]
    world.on = {"claim": look}
    relay_of(world).run()
    assert seen == [[1, 3, 1.5, 1], [1, 0, 0, 1]]
    after = [measured("published_total", destination=destination) for destination, _ in published]
    assert [now - then for now, then in zip(after, before, strict=True)] == [number for _, number in published]
    assert measured("relay_active") == 0


def test_a_relay_that_does_not_lead_publishes_nothing_until_it_does() -> None:
    def leads() -> bool:
        seen.append(measured("relay_active"))
        return len(seen) > 5

    seen: list[float] = []
    world = World(packet(event("a")))
    world.leads = leads
    relay_of(world).run()
    assert seen == [0] * 6
    assert world.did("try_lead", *DURABLE)[:7] == [*["try_lead"] * 6, "take_over"]
    assert len(world.published) == 1


def run_beside(relay: Relay) -> threading.Thread:
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    return thread


def test_a_relay_on_standby_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "STANDBY_SECONDS", 600.0)
    world = World(packet(event("a")))
    world.leads = lambda: False
    relay = relay_of(world)
    thread = run_beside(relay)
    wait_until(lambda: "try_lead" in world.calls, "it asks whether it leads")
    relay.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert (world.outlets, world.published) == ([], [])


def test_a_stop_in_an_outage_ends_the_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "Backoff", partial(Backoff, 600.0, 600.0))
    world = World(packet(event("a")))
    world.fail("publish", 1)
    relay = relay_of(world)
    thread = run_beside(relay)
    wait_until(lambda: relay.in_outage, "it waits")
    relay.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert (world.published, len(world.waiting)) == ([], 1)


def test_a_stop_in_the_middle_of_a_round_finishes_it() -> None:
    world = World(packet(event("a")), packet(event("b")))
    relay = relay_of(world, max_messages=1)
    world.on["publish"] = relay.stop
    relay.run()
    assert world.did(*DURABLE) == ["take_over", "settle", "claim", "publish", "delete"]
    assert [outlet.closed for outlet in world.outlets] == [True]


def test_what_was_published_under_another_name_is_settled_under_that_name_first() -> None:
    """Else the former relay would not be fenced, and what it published last would be published again."""
    done, waiting = packet(event("a")), packet(event("b"))
    world = World(done, waiting)
    world.published, world.remembered, world.identity = list(done.messages), [done.id], THEIRS
    relay_of(world).run()
    assert [outlet.identity for outlet in world.outlets] == [THEIRS, OURS]
    assert world.did(*DURABLE)[:5] == ["take_over", "settle", "take_over", "settle", "claim"]
    assert (world.published, world.identity) == ([*done.messages, *waiting.messages], OURS)


def test_an_outlet_that_can_not_take_over_is_closed_and_the_error_goes_on() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    world = World()
    world.on["take_over"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        relay_of(world).run()
    assert [outlet.closed for outlet in world.outlets] == [True]


def test_the_depth_of_the_outbox_is_measured_in_an_outage_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """And when that fails as well, nothing else does."""
    monkeypatch.setattr(relay_module, "DEPTH_SECONDS", -1.0)
    world = World(packet(event("a")))
    world.fail("try_lead", 2)
    world.fail("depth", 1)
    relay_of(world).run()
    assert world.did("try_lead", "depth")[:4] == ["try_lead", "depth"] * 2
    assert len(world.published) == 1
