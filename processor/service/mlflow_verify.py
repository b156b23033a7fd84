"""`processor mlflow verify`: the tables and the tracking server compared, and what is missing mended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from processor.core.settings import MlflowSettings
from processor.mlflow.experiments import identify
from processor.mlflow.memory import Memory
from processor.mlflow.verify import Verification
from processor.service.mlflow import APPLICATION, open_mirror, open_tracking, wants
from processor.service.wiring import open_migrated
from processor.store.mlflow_links import MlflowLinks

Meter = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def verify_mlflow(settings: MlflowSettings, meter: Meter, *, mend: bool) -> dict[str, Any]:
    """What differs; with `mend` trials without a run, or behind, are mirrored from the tables, and doubles deleted.

    Raises `TransientError` where a server is down; the same call goes on where it was, as what is done is done.
    """
    tracking = open_tracking(settings)
    server = identify(tracking)
    with open_migrated(settings, APPLICATION) as store:
        rows, total = MlflowLinks(store, server), int(store.fetch("trials_to_mirror_count")[0]["number"])
        with (
            open_mirror(settings, tracking, Memory(rows)) as (mirror, _),
            meter("mlflow verify", total) as tell,
        ):
            apply = mirror.apply if mend else None
            verification = Verification(tracking, rows, wants(settings), mend=apply, tell=tell)
            findings = verification.run()
    return {
        "where": tracking.where,
        "server": server,
        "trials": findings.trials,
        "runs": findings.runs,
        "differences": findings.kinds.total(),
        "kinds": dict(findings.kinds),
        "mended": mend,
        "shown": [one._asdict() for one in findings.shown],
    }
