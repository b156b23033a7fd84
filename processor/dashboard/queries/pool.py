"""Sessions of the dashboard: they can only read, and no question takes longer than a page may."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from processor.store.pool import Pool
from processor.store.queries import load_queries, read_queries

#: a person waits so long for a page; what takes longer is cut off and told
TIMEOUT_MS = 10_000
#: questions at once: more would not be answered sooner
CONNECTIONS = 4
#: keys are parameters: only a plan that is made for their values can use an index of one key
PLANNED_ANEW = {"plan_cache_mode": "force_custom_plan"}
#: of the store's own queries, those whose figures `processor status` has as well
OF_STATUS = ("dead_letter_reasons", "link_states", "mlflow_server")


@cache
def queries() -> Mapping[str, str]:
    """The dashboard's own queries (queries/sql) by name, and those that it shares with `processor status`."""
    shared = {name: load_queries()[name] for name in OF_STATUS}
    return {**shared, **read_queries(resources.files("processor.dashboard.queries") / "sql")}


def open_pool(url: str, *, timeout_ms: int = TIMEOUT_MS, most: int = CONNECTIONS) -> Pool:
    """An async context manager; the server refuses every write of its sessions."""
    return Pool(
        url,
        most=most,
        timeout_ms=timeout_ms,
        application="cerebros-dashboard",
        read_only=True,
        session=PLANNED_ANEW,
        queries=queries(),
    )
