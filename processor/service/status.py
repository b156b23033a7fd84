"""What `processor status` shows; reads only."""

from __future__ import annotations

from typing import Any

from processor.core.errors import TransientError
from processor.core.settings import StatusSettings
from processor.kafka.offsets import GroupOffsets, troubles_of
from processor.kafka.topics import compaction_warning, is_compacted
from processor.service.wiring import mlflow_group, open_migrated
from processor.store.dead_letters import DeadLetters
from processor.store.errors import place
from processor.store.mlflow_links import mlflow_status
from processor.store.outbox import Outbox


def collect_status(settings: StatusSettings) -> dict[str, Any]:
    """One document: addresses, lag and what is gone by partition, rows, runs by state, outbox, dead letters.

    What a server that is down would have said is missing in it, and a sentence in `problems` says so: the other half is
    what one needs then. Raises where a person has to act (`SetupError`).
    """
    document: dict[str, Any] = {
        "kafka": settings.kafka_bootstrap_servers,
        "postgres": place(settings.database_url.get_secret_value()),
        "group": settings.group_id,
        "problems": [],
    }
    for part in (_group, _tables, lambda settings: _mirror(settings, document)):
        try:
            document.update(part(settings))
        except TransientError as error:
            document["problems"].append(str(error))
    return document


def _group(settings: StatusSettings) -> dict[str, Any]:
    group = GroupOffsets(settings, settings.raw_topic)
    bounds = group.bounds()
    lag = {str(one): bound.lag for one, bound in bounds.items()}
    warnings = troubles_of(bounds)
    if is_compacted(settings, settings.raw_topic):
        warnings.append(compaction_warning(settings.raw_topic))
    return {
        "members": group.members(),
        "lag": lag,
        "lag_total": sum(lag.values()),
        "gone": {str(one): bound.gone for one, bound in bounds.items() if bound.gone},
        "warnings": warnings,
    }


def _tables(settings: StatusSettings) -> dict[str, Any]:
    with open_migrated(settings, "cerebros-status") as store:
        letters = DeadLetters(store).reasons()
        return {
            **store.fetch("status_rows")[0],
            "runs_by_state": {row["state"]: row["count"] for row in store.fetch("status_runs")},
            "outbox": Outbox(store).depth(),
            "dead_letters": {row["reason"]: row["count"] for row in letters},
            "dead_letters_about": [row["reason"] for row in letters if row["about"]],
            "mlflow": mlflow_status(store),
        }


def _mirror(settings: StatusSettings, document: dict[str, Any]) -> dict[str, Any]:
    """How far the mirror is behind, where there is one."""
    if not document.get("mlflow"):
        return {}
    group = settings.model_copy(update={"group_id": mlflow_group(settings.group_id, document["mlflow"]["server"])})
    bounds = GroupOffsets(group, settings.events_topic).bounds()
    return {"mlflow_lag": sum(bound.lag for bound in bounds.values())}
