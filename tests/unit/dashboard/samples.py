"""Trials for tests of figures, made from fixed seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from processor.dashboard.statistics.sample import Sample


def sample(arm: Any, value: Any, **columns: Any) -> Sample:
    """Trials that succeeded, of one run unless told otherwise, in the order in which they are given."""
    arm, value = np.asarray(arm, dtype=np.int64), np.asarray(value, dtype=float)
    count = len(arm)
    run = np.asarray(columns.pop("run", np.zeros(count)), dtype=np.int64)
    given: dict[str, Any] = {
        "arms": ("false", "true"),
        "runs": tuple(f"run-{code}" for code in range(int(run.max(initial=0)) + 1)),
        "has_value": np.ones(count, dtype=bool),
        "ending": np.zeros(count, dtype=np.int64),
        "order": np.arange(count, dtype=float),
        "defaulted": np.zeros(count, dtype=bool),
        **columns,
    }
    return Sample(arm=arm, run=run, value=value, **given)
