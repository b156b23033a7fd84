"""What `processor status` shows; reads only."""

from __future__ import annotations

from typing import Any

from processor.replay import GroupOffsets
from processor.service import open_store
from processor.settings import Settings
from processor.store import Outbox, check_migrated


def collect_status(settings: Settings) -> dict[str, Any]:
    """One document: addresses, lag by partition, rows, outbox, dead letters. Raises when a server can't be asked."""
    group = GroupOffsets(settings)
    bounds = group.bounds()
    lag = {str(one): bound.lag for one, bound in bounds.items()}
    with open_store(settings, "cerebros-status") as store:
        check_migrated(store)
        counts = store.fetch("status_rows")[0]
        outbox = Outbox(store).depth()
        dead_letters = {row["reason"]: row["count"] for row in store.fetch("status_dead_letters")}
        where = store.where
    return {
        "kafka": settings.kafka_bootstrap_servers,
        "postgres": where,
        "group": settings.group_id,
        "members": group.members(),
        "lag": lag,
        "lag_total": sum(lag.values()),
        **counts,
        "outbox": outbox,
        "dead_letters": dead_letters,
    }
