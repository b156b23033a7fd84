"""Where trials are in MLflow."""

from __future__ import annotations

from typing import Any

from processor.core.text import storable
from processor.store.mlflow_links import LINKS_COUNTED
from processor.store.pool import Pool


async def mlflow_links(pool: Pool, run_id: str, trial_id: str) -> list[dict[str, Any]]:
    """state, detail, experiment_id, mlflow_run_id, reported, synced_revision, updated_at and tracking_uri; none where
    no mirror has seen the trial."""
    return await pool.fetch("mlflow_links_of_trial", storable(run_id), storable(trial_id))


async def mlflow_health(pool: Pool) -> dict[str, Any] | None:
    """tracking_uri and last_seen of the server that answered last, its links by state (`trials`, `runs`, changed_at; of
    very many `about` so many, and no changed_at), and how many servers were mirrored into before.

    None where no mirror has ever run.
    """
    servers = await pool.fetch("mlflow_server")
    if not servers:
        return None
    states = await pool.fetch("link_states", servers[0]["server"], LINKS_COUNTED)
    return {**servers[0], "states": states}
