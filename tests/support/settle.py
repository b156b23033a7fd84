"""Waiting until the group has read everything and the outbox is empty."""

from __future__ import annotations

from processor.core.errors import ProcessorError
from processor.core.settings import Settings
from processor.kafka.offsets import GroupOffsets
from processor.store.outbox import Outbox
from processor.store.session import Session
from tests.support.processes import wait_until


def lag(settings: Settings) -> int:
    bounds = GroupOffsets(settings, settings.raw_topic).bounds().values()
    return sum(bound.latest - (bound.earliest if bound.current is None else bound.current) for bound in bounds)


def outbox_messages(settings: Settings) -> int:
    with Session(settings.database_url.get_secret_value()) as store:
        return int(Outbox(store).depth()["messages"])


def wait_settled(settings: Settings, timeout_s: float = 120.0) -> None:
    def settled() -> bool:
        try:
            return lag(settings) == 0 and outbox_messages(settings) == 0
        except ProcessorError:
            return False

    wait_until(settled, "lag 0 and an empty outbox", timeout_s)


def rows(settings: Settings) -> int:
    with Session(settings.database_url.get_secret_value()) as store:
        return int(store.fetch("status_rows")[0]["rows"])


def parked(settings: Settings) -> int:
    with Session(settings.database_url.get_secret_value()) as store:
        return int(store.fetch("outbox_depth")[0]["parked"])
