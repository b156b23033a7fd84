"""What becomes of a message that the broker will never take; pure."""

from __future__ import annotations

from typing import TypeGuard

from processor.core.messages import Destination, Event, OutboxMessage, Outgoing

OMITTED = ("dead_letter_value", b"omitted: see the stored dead letter")


def trial_of(message: Outgoing) -> str:
    """run_id/trial_id of an event; the whole name of anything else."""
    return message.subject if isinstance(message, Event) else message.id


def may_go_without_value(message: Outgoing) -> TypeGuard[OutboxMessage]:
    is_letter = message.destination is Destination.DEAD_LETTERS
    return is_letter and message.value is not None


def without_value(message: OutboxMessage) -> OutboxMessage:
    """A dead letter too large for its topic: what it says, and where the stored one is, without the bytes."""
    headers = tuple(header for header in message.headers if header[0].startswith("dead_letter_"))
    return OutboxMessage(message.destination, message.id, message.key, None, (*headers, OMITTED))
