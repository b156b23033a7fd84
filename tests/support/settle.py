"""Waiting until the group has read everything and the outbox is empty."""

from __future__ import annotations

from collections.abc import Mapping

from processor.core.errors import ProcessorError
from processor.core.settings import Settings
from processor.kafka.offsets import Bounds, GroupOffsets
from processor.store.outbox import Outbox
from processor.store.session import Session
from tests.support.processes import wait_until


def lag(settings: Settings) -> int:
    return behind(GroupOffsets(settings, settings.raw_topic).bounds())


def has_read_all(settings: Settings) -> bool:
    """Also while servers come back."""
    try:
        return lag(settings) == 0
    except ProcessorError:
        return False


def behind(bounds: Mapping[int, Bounds]) -> int:
    """Not 0 either where a group stands beyond the end."""
    return sum(one.latest - (one.earliest if one.current is None else one.current) for one in bounds.values())


def outbox_messages(settings: Settings) -> int:
    with Session(settings.database_url.get_secret_value()) as store:
        return int(Outbox(store).depth()["messages"])


def wait_settled(settings: Settings, timeout_s: float = 120.0) -> None:
    """Fails the test with the last look at where the group stands and what the outbox holds."""
    seen: list[object] = []

    def settled() -> bool:
        seen.clear()
        try:
            bounds = GroupOffsets(settings, settings.raw_topic).bounds()
            seen.extend([bounds, outbox_messages(settings)])
        except ProcessorError as error:
            seen.append(error)
            return False
        return seen[1] == 0 and behind(bounds) == 0

    try:
        wait_until(settled, "lag 0 and an empty outbox", timeout_s)
    except AssertionError as error:
        raise AssertionError(f"{error}; last seen: {seen}") from None


def rows(settings: Settings) -> int:
    with Session(settings.database_url.get_secret_value()) as store:
        return int(store.fetch("status_rows")[0]["rows"])


def parked(settings: Settings) -> int:
    with Session(settings.database_url.get_secret_value()) as store:
        return int(store.fetch("outbox_depth")[0]["parked"])
