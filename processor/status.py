"""What `processor status` shows; reads only."""

from __future__ import annotations

from typing import Any

from processor.errors import TransientError
from processor.replay import GroupOffsets
from processor.service import open_store
from processor.settings import Settings
from processor.store import Outbox, check_migrated
from processor.store.connection import place


def collect_status(settings: Settings) -> dict[str, Any]:
    """One document: addresses, lag by partition, rows, outbox, dead letters.

    What a server that is down would have said is missing in it, and a sentence in `problems` says so: the other half is
    what one needs then. Raises where a person has to act (`SetupError`).
    """
    document: dict[str, Any] = {
        "kafka": settings.kafka_bootstrap_servers,
        "postgres": place(settings.database_url.get_secret_value()),
        "group": settings.group_id,
        "problems": [],
    }
    for part in (_group, _tables):
        try:
            document.update(part(settings))
        except TransientError as error:
            document["problems"].append(str(error))
    return document


def _group(settings: Settings) -> dict[str, Any]:
    group = GroupOffsets(settings)
    lag = {str(one): bound.lag for one, bound in group.bounds().items()}
    return {"members": group.members(), "lag": lag, "lag_total": sum(lag.values())}


def _tables(settings: Settings) -> dict[str, Any]:
    with open_store(settings, "cerebros-status") as store:
        check_migrated(store)
        letters = store.fetch("status_dead_letters")
        return {
            **store.fetch("status_rows")[0],
            "outbox": Outbox(store).depth(),
            "dead_letters": {row["reason"]: row["count"] for row in letters},
        }
