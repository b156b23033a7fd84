"""The comparison of arms for a filter: which other parameters are looked at, and the figures, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from processor.core.errors import UsageError
from processor.dashboard.filters.paths import path_of
from processor.dashboard.filters.text import called
from processor.dashboard.filters.tokens import tokenize
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.samples import MOST_PARAMETERS, read_sample
from processor.dashboard.queries.trials import Key, trial_keys
from processor.dashboard.statistics.compare import compare
from processor.dashboard.statistics.results import Better, Comparison, Validity
from processor.store.pool import Pool

SPECTRAL_NORM = Path("spectral_norm")
UNSEEN = (
    "whether the arms are alike in {names} is not looked at: lists and what is deeper have no value to compare, and "
    "of the others the most frequent are taken"
)
NOTHING_DEFAULTED = (
    "trials that did not say are not left out: only spectral_norm has a default, and the arms are of {parameter}; who "
    "wants out those that did not say spectral_norm filters by spectral_norm_reported = true"
)
LOOKED = "which other parameters vary is told by {trials} of these trials, the newest among them"
#: names that a note says; of the rest, how many
_SAID = 10


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
    keys = await trial_keys(pool, scope) if keys is None else keys
    others, unseen = _others(keys, arm, value)
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
        told=_told(keys, unseen) + _not_left_out(arm, leave_out_defaulted),
    )


def _others(keys: Sequence[Key], arm: Path, metric: Path) -> tuple[list[tuple[str, Path, bool]], list[str]]:
    """The parameters that vary, the most frequent first, and the names of those that are not looked at.

    The one that is compared is none of them: trials that are alike in it have no difference. One is numeric that is
    mostly a number: a null or an "auto" among numbers is a value that is missing. What is nested is no value that could
    be compared. `spectral_norm` is a parameter like others where it is not the arm: the column, also where reports say
    it among their parameters too.
    """
    compared = metric.keys if _is_parameter(metric, keys) else None
    column = (SPECTRAL_NORM.place,)
    left = ((arm.place,), arm.keys, compared, column)
    varying = [key for key in keys if key.place == "parameters" and key.varies and key.keys not in left]
    found = [(key.name, key.path, 2 * key.numbers > key.trials) for key in varying if not key.nested]
    if column not in ((arm.place,), arm.keys):
        found = [(SPECTRAL_NORM.place, SPECTRAL_NORM, False), *found]
    unseen = [key.name for key in varying if key.nested] + [name for name, _, _ in found[MOST_PARAMETERS:]]
    return found[:MOST_PARAMETERS], unseen


def _is_parameter(metric: Path, keys: Sequence[Key]) -> bool:
    """Whether its values are a parameter's: a name without its place is a metric first."""
    is_metric = any(key.place == "metrics" and key.keys == metric.keys for key in keys)
    return metric.place == "parameters" or (metric.place == "either" and not is_metric)


def _told(keys: Sequence[Key], unseen: Sequence[str]) -> list[str]:
    notes = []
    if unseen:
        rest = f" and {len(unseen) - _SAID} more" if len(unseen) > _SAID else ""
        notes.append(UNSEEN.replace("{names}", ", ".join(unseen[:_SAID]) + rest))
    if keys and not keys[0].in_all:
        notes.append(LOOKED.replace("{trials}", f"{keys[0].looked:,}"))
    return notes


def _not_left_out(arm: Path, leave_out_defaulted: bool) -> list[str]:
    """What was asked for and can't be done is said."""
    if not leave_out_defaulted or arm.place == SPECTRAL_NORM.place:
        return []
    return [NOTHING_DEFAULTED.replace("{parameter}", called(arm))]
