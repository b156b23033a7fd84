"""What becomes of a message that the broker will never take; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from processor.core.messages import Destination, Event, OutboxMessage, Outgoing, Packet
from processor.relay.ports import Outlet

OMITTED = ("dead_letter_value", b"omitted: see the stored dead letter")


def refusal(outlet: Outlet, message: Outgoing, behind: Mapping[tuple[str, str], int]) -> str | None:
    """Why it can't be published now; `behind`: the first parked revision of its trial, by run and trial."""
    if isinstance(message, Event) and message.revision > behind.get(message.owner, message.revision):
        return "behind a parked event of the same trial"
    return outlet.refuses(message)


def known_refusals(outlet: Outlet, packet: Packet, behind: dict[tuple[str, str], int]) -> dict[int, str]:
    """By its place in the packet: why a message can't be published; adds to `behind` what has to be parked for it."""
    refused: dict[int, str] = {}
    for place, message in enumerate(packet.messages):
        why = refusal(outlet, message, behind)
        if why is not None:
            refused[place] = why
            if isinstance(message, Event):
                behind[message.owner] = min(message.revision, behind.get(message.owner, message.revision))
    return refused


def may_go_without_value(message: Outgoing) -> TypeGuard[OutboxMessage]:
    is_letter = message.destination is Destination.DEAD_LETTERS
    return is_letter and message.value is not None


def without_value(message: OutboxMessage) -> OutboxMessage:
    """A dead letter too large for its topic: what it says, and where the stored one is, without the bytes."""
    headers = tuple(header for header in message.headers if header[0].startswith("dead_letter_"))
    return OutboxMessage(message.destination, message.id, message.key, None, (*headers, OMITTED))
