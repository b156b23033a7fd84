"""The comparison of arms for a filter: which other parameters are looked at, and the figures, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from processor.core.errors import UsageError
from processor.dashboard.filters.paths import path_of
from processor.dashboard.filters.tokens import tokenize
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.samples import MOST_PARAMETERS, read_sample
from processor.dashboard.queries.trials import Key, trial_keys
from processor.dashboard.statistics.compare import compare
from processor.dashboard.statistics.results import Better, Comparison, Validity
from processor.store.pool import Pool


def read_path(text: str) -> Path:
    """`accuracy`, `metrics.loss`, `parameters."layer 1".units`, `spectral_norm`. Raises `UsageError`."""
    tokens = tokenize(text)
    if len(tokens) != 2 or tokens[0].kind != "word":
        raise UsageError(f"{text or 'nothing'} is no name of a column, a metric or a parameter")
    return path_of(tokens[0])


async def compare_arms(
    pool: Pool,
    scope: Scope,
    *,
    parameter: str = "spectral_norm",
    metric: str,
    better: Better | None = None,
    reference: str | None = None,
    leave_out_defaulted: bool = False,
    validity: Validity = "fixed",
    keys: Sequence[Key] | None = None,
) -> Comparison:
    """The arms of `parameter` by `metric` among the trials of a filter; the arguments are `statistics.compare`'s.

    `keys` are those of the filter (`trial_keys`), where they are known.

    Raises `UsageError` for a name that is none, an arm that is not there, and more trials than can be read.
    """
    arm, value = read_path(parameter), read_path(metric)
    others = _others(await trial_keys(pool, scope) if keys is None else keys, arm)
    sample = await read_sample(pool, scope, arm, value, others)
    # numpy lets others run meanwhile for the most part; the loop must not wait for what it does not
    return await asyncio.to_thread(
        compare,
        sample,
        parameter=parameter,
        metric=metric,
        better=better,
        reference=reference,
        leave_out_defaulted=leave_out_defaulted,
        validity=validity,
    )


def _others(keys: Sequence[Key], arm: Path) -> list[tuple[str, Path, bool]]:
    """The parameters that vary, the most frequent first; one that is nested or is the arm itself is none of them."""
    found = [
        (key.key, key.path, key.numbers == key.trials)
        for key in keys
        if key.place == "parameters" and key.varies and not key.nested and key.key not in (arm.place, *arm.keys[:1])
    ]
    return found[:MOST_PARAMETERS]
