"""What becomes of a message that the broker will never take."""

from __future__ import annotations

import pytest

from processor.core.messages import Destination, OutboxMessage, Outgoing
from processor.relay.parking import OMITTED, may_go_without_value, trial_of, without_value
from tests.unit.relay.fakes import event, letter


def test_all_events_of_a_trial_have_one_name_and_every_other_message_its_own() -> None:
    assert {trial_of(event("a", revision)) for revision in (1, 2)} == {"run/a"}
    assert trial_of(letter(7)) == "dead-letter/7"


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
