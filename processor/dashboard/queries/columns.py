"""All trials of a filter as arrays, one a column: what comparisons and charts are made from.

Columns come packed, the binary form of their values one after the other, so that a million trials are one row and a few
arrays, and no Python value is made for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.core.errors import UsageError
from processor.core.text import storable
from processor.dashboard.filters.terms import joined
from processor.dashboard.filters.tree import Among, And, Compare, Node
from processor.dashboard.queries.assembling import Assembly, Scope, fetch
from processor.store.pool import Pool

#: trials that are read into memory for one page: about 100 bytes each
MOST_TRIALS = 2_000_000
#: what the planner has to know to share the reading among workers, beside which run it is (`queries.pool` has every
#: question planned by its values): that rows which workers hand on are few bytes here. For one transaction
SHARED = {"parallel_tuple_cost": "0"}
_FORMS = {"smallint": ("int2send", ">i2"), "bigint": ("int8send", ">i8"), "double": ("float8send", ">f8"),
          "uuid": ("uuid_send", "V16"), "time": ("timestamptz_send", ">i8")}  # fmt: skip


#: a run's index has its trials by time, which is nearly how the table has them: the planner looks at the run alone, and
#: would rather read all of a table, ten times as many, than so many pages in what it takes for no order. Half of its
#: default; an index is then taken for up to a fifth of the table
_IN_ORDER = {"random_page_cost": "2"}
#: a hash table that is probed for each of a million trials
_RUNS = "join cerebros_model_runs run on run.id = trial.model_run_id"
#: the columns of a `Choice` in one, and whether a trial has them
_SOME, _CHOSEN = "some_of_them", "chosen"


class TooMany(UsageError):  # noqa: N818 - as what it is a kind of is used: told, not mended
    """The filter holds `MOST_TRIALS` or more: a part of them would not stand for the rest."""


class Packing(NamedTuple):
    """An expression over `trial`, never null, and its form: smallint, bigint, double, uuid, or time in microseconds."""

    sql: str
    form: str


class Columns(NamedTuple):
    """How many trials there are, and an array of so many for each column, in the same order; the order says nothing.

    `chosen` says which of them are those of a `Choice`, whose columns are shorter by the others; without one, all are.
    """

    trials: int
    arrays: Mapping[str, Any]
    chosen: NDArray[np.bool_]


class Choice(NamedTuple):
    """Columns, one at least, that are read of some trials alone: `sql` says whether of a trial."""

    sql: str
    packed: Mapping[str, Packing]


async def read_columns(
    pool: Pool, assembly: Assembly, packed: Mapping[str, Packing], choice: Choice | None = None
) -> Columns:
    """`assembly` is one of `packed_columns`, in which the packings' parameters are. Raises `TooMany`."""
    columns = {name: (one.sql, *_FORMS[one.form]) for name, one in packed.items()}
    if choice is not None:
        # as one column: whether a trial is chosen is asked once, not for each of a dozen
        joined = " || ".join(f"{_FORMS[one.form][0]}({one.sql})" for one in choice.packed.values())
        columns[_SOME] = (f"case when {choice.sql} then {joined} end", "", "")
        columns[_CHOSEN] = (f"({choice.sql})::integer::smallint", *_FORMS["smallint"])
    assembly.put("columns", ", ".join(f"{sql} as {name}" for name, (sql, *_) in columns.items()), "null as nothing")
    sent = (f", string_agg({send}({name}), ''::bytea) as {name}" for name, (_, send, _) in columns.items())
    assembly.put("packed", "".join(sent), "")
    assembly.put("joined", _RUNS if assembly.names("run") else "", _RUNS)
    for _ in range(2):
        assembly.put("most", assembly.given(MOST_TRIALS, "bigint"), "1")
    rows = await fetch(pool, assembly.query(), settings=SHARED | _IN_ORDER)
    if not rows:
        raise TooMany(f"the filter holds {MOST_TRIALS:,} trials or more: narrow it, by a run or by time")
    return await asyncio.to_thread(_unpacked, rows.pop(), packed, choice)


def _unpacked(row: dict[str, Any], packed: Mapping[str, Packing], choice: Choice | None) -> Columns:
    """Each column is let go of as bytes once it is an array."""
    arrays = {name: _array(row.pop(name), _FORMS[one.form][1]) for name, one in packed.items()}
    chosen = np.ones(row["count"], dtype=np.bool_)
    if choice is not None:
        chosen = _array(row.pop(_CHOSEN), _FORMS["smallint"][1]) == 1
        kinds = np.dtype([(name, _FORMS[one.form][1]) for name, one in choice.packed.items()])
        some = np.frombuffer(row.pop(_SOME) or b"", dtype=kinds)
        arrays |= {name: some[name].astype(some[name].dtype.newbyteorder("=")) for name in choice.packed}
    return Columns(row["count"], arrays, chosen)


def _array(packed: bytes | None, kind: str) -> NDArray[Any]:
    """Columns in network order, as arrays of this machine; without trials there is nothing packed."""
    found = np.frombuffer(packed or b"", dtype=kind)
    return found if found.dtype.kind == "V" else found.astype(found.dtype.newbyteorder("="))


async def known_runs(pool: Pool, scope: Scope) -> tuple[Scope, list[str]]:
    """The scope with the ids of its runs in place of their names, and these runs; none where it names no run.

    A join would hide from the planner which run it is, and so that it is worth sharing the work.
    """
    named, others = _names(scope)
    if named is None:
        return scope, []
    rows = await pool.fetch("runs_by_name", sorted(named))
    ids = tuple(row["id"] for row in rows)
    return scope._replace(run_id=None, filter=others, runs=ids), [row["run_id"] for row in rows]


def _names(scope: Scope) -> tuple[set[str] | None, Node]:
    """Names of the runs to which all its trials belong, None where there are none; and what else is asked of them."""
    terms = list(joined(scope.filter))
    told = [set(names) for names in map(_names_of, terms) if names is not None]
    if scope.run_id is not None:
        told.append({storable(scope.run_id)})
    if not told:
        return None, scope.filter
    return set.intersection(*told), And(tuple(one for one in terms if _names_of(one) is None))


def _names_of(term: Node) -> Sequence[str] | None:
    match term:
        case Compare(path, "=", str() as name) if path.place == "run_id":
            return [name]
        case Among(path, values) if path.place == "run_id":
            return [one for one in values if isinstance(one, str)]
        case _:
            return None
