"""Pages of trials, of one run or across all; one trial with what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from processor.core.errors import TransientError, Trouble
from processor.core.fields import COMPLETE, FAILED
from processor.core.text import natural_order, storable
from processor.dashboard.filters.text import called
from processor.dashboard.filters.tree import EVERYTHING, Path
from processor.dashboard.queries.assembling import Assembly, Scope, fetch
from processor.dashboard.queries.columns import known_runs
from processor.dashboard.queries.portions import Portion, read_portion
from processor.dashboard.queries.sorting import (
    NEWEST,
    PLAIN,
    Cursor,
    Sort,
    assemble,
    cursor_of,
    numbers_alone,
    write_cursor,
)
from processor.events.headers import event_id
from processor.store.pool import Pool

PAGE, MOST = 50, 500
#: counted exactly up to here
COUNTED = 10_000
#: a count is beside the page, not what it is for: it may take so long
COUNT_MS = 150
#: trials at either end of a scope that an estimate is made from
SAMPLED = 2500
#: an order is walked for so long in search of a page's trials. Of what no index tells the planner thinks that a two
#: hundredth is so, and would rather sort all that is left; mostly it is far more, and a page is found at once
WALK_MS, WALKED = 200, {"enable_sort": "off"}
#: trials that are looked at to choose columns
LOOKED_AT = 1000
#: of trials with very many names, as many as take so many bytes: some 1,500 with a hundred names each. A report may
#: have 30,000, and 300 such trials took longer than a page may
LOOKED_BYTES = 2**22
#: and so many of the newest of the runs, of so many runs
NEWEST_TOO, NEWEST_OF = 500, 50
_NEWEST = "select one.* from cerebros_model_trials one order by one.inserted_at desc, one.id desc limit {limit}"
_NEWEST_OF_EACH = (
    "select each.* from unnest({runs}) as wanted (id), lateral (select one.* from cerebros_model_trials one "
    "where one.model_run_id = wanted.id order by one.inserted_at desc, one.id desc limit {limit}) as each"
)
#: metrics and parameters that are told at the most, those that most trials have
MOST_KEYS = 500
#: any so many will do: a bitmap would gather all trials of a run before the first of them
STREAMED = {"enable_bitmapscan": "off"}


class TrialPage(msgspec.Struct, frozen=True):
    """Rows in order, and the cursors (`after`) of the pages beside it; None where there is none.

    `cut`: the page ends before its limit, since its trials are as large as a page may be.
    """

    rows: tuple[dict[str, Any], ...]
    previous: str | None
    next: str | None
    cut: bool = False


class Count(msgspec.Struct, frozen=True):
    """How many trials a filter holds: exactly, at least, or about."""

    count: int
    how: str


class Key(msgspec.Struct, frozen=True):
    """A metric or parameter: how many of the trials that were `looked` at have it, and with how many values.

    `keys` is its path: what stands in an object has one of several names. `nested`: how many are an object or an array
    that was not opened.
    `cut`: fewer were looked at than `LOOKED_AT`, since they have so many.
    """

    place: str
    keys: tuple[str, ...]
    trials: int
    values: int
    looked: int
    numbers: int
    nested: int
    cut: bool = False

    @property
    def in_all(self) -> bool:
        """Whether all trials were looked at."""
        return self.looked < LOOKED_AT and not self.cut

    @property
    def varies(self) -> bool:
        return self.values > 1 or self.trials < self.looked

    @property
    def path(self) -> Path:
        return Path(self.place, self.keys)

    @property
    def name(self) -> str:
        return called(self.path)


async def trial_page(
    pool: Pool, scope: Scope, sort: Sort = NEWEST, cursor: Cursor | None = None, limit: int = PAGE
) -> TrialPage:
    """At most `limit` trials (500 at the most) behind the cursor, or before it where it leads back."""
    limit = max(1, min(limit, MOST))
    keys = await _keys(pool, scope, sort, cursor, limit + 1)
    more, keys = len(keys) > limit, keys[:limit]
    rows, rest = await read_portion(pool, "trial_rows", [key["id"] for key in keys]) if keys else Portion([], [])
    if rest:
        more, keys = True, keys[: -len(rest)]
    back = cursor is not None and cursor.back
    if back:
        keys.reverse()
        rows.reverse()
    before = more if back else cursor is not None
    behind = True if back else more
    return TrialPage(
        tuple(rows),
        write_cursor(cursor_of(keys[0], back=True)) if keys and before else None,
        write_cursor(cursor_of(keys[-1], back=False)) if keys and behind else None,
        cut=bool(rest),
    )


async def _keys(pool: Pool, scope: Scope, sort: Sort, cursor: Cursor | None, limit: int) -> list[dict[str, Any]]:
    """In the order of a metric numbers come first, and are mostly enough: the rest is asked for where they are not."""
    served = scope.indexed.serving(sort.path)
    names = ["trial_ids_plain" if sort.path.place in PLAIN else "trial_ids"]
    if alone := numbers_alone(sort, cursor):
        names.insert(0, "trial_ids_numbers" if served is None else "trial_ids_indexed")
    keys: list[dict[str, Any]] = []
    for name in names:
        assembly = Assembly(name, scope)
        assemble(name, assembly, sort, cursor, limit, served)
        keys = await _fetch(pool, assembly, walks=_has_walk(name, sort, assembly))
        if len(keys) == limit or (alone and cursor is not None and cursor.back):
            break
    return keys


def _has_walk(name: str, sort: Sort, assembly: Assembly) -> bool:
    """Whether there is an index that has the order, and a choice whether to go by it or by the filter."""
    return name == "trial_ids_indexed" or (sort.path == NEWEST.path and assembly.served)


async def _fetch(pool: Pool, assembly: Assembly, *, walks: bool) -> list[dict[str, Any]]:
    """First along the order, for a moment; where that does not find them, as the planner would have it."""
    if walks:
        try:
            return await fetch(pool, assembly.query(), WALK_MS, WALKED)
        except TransientError as error:
            if error.trouble is not Trouble.WORK:
                raise
    return await fetch(pool, assembly.query())


async def count_trials(pool: Pool, scope: Scope, bound: int = COUNTED) -> Count:
    """`how` is exactly, at least (the bound was reached) or about (it took too long).

    Without a filter the count is known. What would take too long is the share that the newest and the oldest trials
    have of it, times the trials there are.
    """
    if scope.filter == EVERYTHING:
        return Count(await trials_at_most(pool, scope), "exactly")
    assembly = Assembly("trial_count", scope)
    assembly.put("limit", assembly.given(bound + 1, "integer"), "1")
    try:
        count = int((await fetch(pool, assembly.query(), COUNT_MS))[0]["count"])
    except TransientError:
        return Count(await _estimate(pool, scope), "about")
    return Count(min(count, bound), "exactly" if count <= bound else "at least")


async def trials_at_most(pool: Pool, scope: Scope) -> int:
    """Trials of the scope's runs, of which its filter may hold fewer."""
    runs = None if scope.runs is None else list(scope.runs)
    return int((await pool.fetch("trials_counted", storable(scope.run_id), runs))[0]["count"])


async def _estimate(pool: Pool, scope: Scope) -> int:
    assembly = Assembly("trial_share", scope)
    for _ in range(2):
        assembly.put("scope", assembly.condition(scope._replace(filter=EVERYTHING)), "true")
        assembly.put("limit", assembly.given(SAMPLED, "integer"), "1")
    (found,) = await fetch(pool, assembly.query())
    return int(await trials_at_most(pool, scope) * found["count"] / max(1, found["looked"]) + 0.5)


async def trial_keys(pool: Pool, scope: Scope, timeout_ms: int | None = None) -> list[Key]:
    """The metrics and parameters of some of the filter's trials, the most frequent first; at most `MOST_KEYS`."""
    scope, _ = await known_runs(pool, scope)
    return await _keys_of(pool, Assembly("trial_keys", scope), scope, timeout_ms)


async def newest_keys(pool: Pool, scope: Scope) -> list[Key]:
    """Those of its newest trials. Raises `TransientError` where that takes longer than a count may."""
    assembly = Assembly("trial_keys", scope)
    assembly.put("order", "order by trial.inserted_at desc, trial.id desc", "")
    return await _keys_of(pool, assembly, scope, COUNT_MS)


async def _keys_of(pool: Pool, assembly: Assembly, scope: Scope, timeout_ms: int | None = None) -> list[Key]:
    assembly.put("limit", assembly.given(LOOKED_AT, "integer"), "1")
    assembly.put("newest", _newest(assembly, (scope.runs or ())[:NEWEST_OF]), "select * from cerebros_model_trials")
    assembly.put("again", assembly.condition(scope), "true")
    for _ in range(2):
        assembly.put("bytes", assembly.given(LOOKED_BYTES, "bigint"), "1")
    assembly.put("most", assembly.given(MOST_KEYS, "integer"), "1")
    rows = await fetch(pool, assembly.query(), timeout_ms, STREAMED)
    keys = [Key(**{**row, "keys": tuple(row["keys"])}) for row in rows]
    return sorted(keys, key=lambda key: (-key.trials, key.place, [natural_order(one) for one in key.keys]))


def _newest(assembly: Assembly, runs: Sequence[str]) -> str:
    """The newest trials of each of these runs, or of all: as many rows are read, whatever a filter holds of them."""
    limit = assembly.given(max(1, NEWEST_TOO // max(1, len(runs))), "integer")
    if not runs:
        return _NEWEST.format(limit=limit)
    return _NEWEST_OF_EACH.format(runs=assembly.given(list(runs), "uuid[]"), limit=limit)


async def trial_with_all(pool: Pool, run_id: str, trial_id: str) -> dict[str, Any] | None:
    """The row of a trial under `trial`, its event's id and type under `event`, None where it has none, and under
    `letters` what else of its record was rejected, the first 100 of them and `letters_left` more. None: there is no
    such trial.

    What earlier revisions held is in the events topic alone, under ids that can be told (`events.headers.event_id`),
    for as long as the topic keeps them: the row is the newest.
    """
    rows = await pool.fetch("trial_by_name", storable(run_id), storable(trial_id))
    if not rows:
        return None
    (trial,) = rows
    letters: list[dict[str, Any]] = []
    if trial["source_topic"] is not None:
        position = [trial[f"source_{name}"] for name in ("topic", "partition", "offset", "timestamp")]
        letters = await pool.fetch("letters_of_record", *position)
    left = letters[0]["in_all"] - len(letters) if letters else 0
    letters = [{name: held for name, held in one.items() if name != "in_all"} for one in letters]
    return {"trial": trial, "event": _event(trial), "letters": letters, "letters_left": left}


def _event(trial: dict[str, Any]) -> dict[str, str] | None:
    """That of the revision which the row holds; rows from before the processor have none."""
    kinds = {"succeeded": COMPLETE, "failed": FAILED}
    if not trial["revision"] or trial["status"] not in kinds:
        return None
    identity = event_id(trial["run_id"], trial["trial_id"], trial["revision"])
    return {"id": identity, "type": kinds[trial["status"]]}
