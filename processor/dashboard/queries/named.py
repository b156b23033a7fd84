"""Trials by their names, whatever run they are of: as rows of a list, or what they have said where they have no row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from processor.core.errors import UsageError
from processor.core.text import storable
from processor.dashboard.queries.portions import read_portion
from processor.dashboard.queries.progress import Curves, trial_curves, trial_progress
from processor.store.pool import Pool


class Named(NamedTuple):
    """A trial: its row as a list has it, None where it has not ended; what it said before, its metrics by step."""

    run_id: str
    trial_id: str
    row: dict[str, Any] | None
    progress: dict[str, Any] | None
    curves: Curves


async def named_trials(pool: Pool, names: Sequence[tuple[str, str]], columns: int) -> list[Named]:
    """Those of these (run_id, trial_id), in their order; what is not there has neither a row nor progress.

    `columns` are those of a curve, as in `trial_curves`.

    Raises `UsageError` where they are too large to be in memory together.
    """
    names = [(str(storable(run_id)), str(storable(trial_id))) for run_id, trial_id in names]
    found = await pool.fetch("trials_named", *([one[place] for one in names] for place in (0, 1)))
    rows, rest = await read_portion(pool, "trial_rows", [row["id"] for row in found])
    if rest:
        raise UsageError("these trials are too large to be shown together: name fewer")
    held = {(row["run_id"], row["trial_id"]): row for row in rows}

    async def read(run_id: str, trial_id: str) -> Named:
        progress, curves = await asyncio.gather(
            trial_progress(pool, run_id, trial_id), trial_curves(pool, run_id, trial_id, columns)
        )
        return Named(run_id, trial_id, held.get((run_id, trial_id)), progress, curves)

    return [await read(*name) for name in names]
