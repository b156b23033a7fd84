"""What becomes of a message that the broker will never take."""

from __future__ import annotations

import pytest

from processor.core.messages import Destination, Event, OutboxMessage, Outgoing
from processor.relay.parking import OMITTED, may_go_without_value, refusal, without_value
from tests.unit.relay.fakes import OURS, FakeOutlet, World, event, letter, packet, relay_of


def test_only_later_revisions_of_a_trial_are_behind_a_parked_one() -> None:
    outlet = FakeOutlet(World(), OURS, one_by_one=False)
    behind = {("run", "a"): 2}
    refused = [refusal(outlet, event("a", revision), behind) is not None for revision in (1, 2, 3)]
    assert (refused, refusal(outlet, event("b", 9), behind)) == ([False, False, True], None)


@pytest.mark.parametrize(
    ("message", "may"),
    [
        (letter(1), True),
        (without_value(letter(1)), False),
        (event("a"), False),
        (OutboxMessage(Destination.EVENTS, "another", None, b"value", ()), False),
    ],
)
def test_only_a_dead_letter_that_still_has_its_value_may_go_without_it(message: Outgoing, may: bool) -> None:
    assert may_go_without_value(message) is may


def test_a_dead_letter_without_its_value_says_what_it_was_and_where_the_value_is() -> None:
    """The headers that came with the record go too: they may be what is too large."""
    whole = letter(7, size=1000)
    assert without_value(whole) == OutboxMessage(
        Destination.DEAD_LETTERS, whole.id, whole.key, None, (("dead_letter_id", b"7"), OMITTED)
    )


def test_a_trial_whose_name_reads_like_that_of_a_parked_one_is_not_behind_it() -> None:
    parked = Event("team/a", "b", 1, "ml.trial.complete", 0, b"x" * 101)
    others = [
        Event("team", "a/b", 2, "ml.trial.complete", 0, b"x"),
        Event("team/a/b", "", 3, "ml.run.complete", 0, b"x"),
    ]
    world = World(packet(parked, *others))
    world.script = [lambda: world.waiting.append(packet(*others))]
    relay_of(world).run()
    assert [message for message, _ in world.parked] == [parked]
    assert world.published == [*others, *others]
