"""A filter holds the same trials in Python and in a real Postgres, whatever it is and whatever they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.core.numbers import to_json
from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.indexed import NOTHING, Indexed
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.sql import compile_filter
from processor.dashboard.filters.tree import Node, Not, Or, Path
from processor.store.connection import prepare
from tests.support.holding import holds
from tests.unit.dashboard.filters import trees, trials

#: so many trials a tree, given as rows: no table has to be filled for an example
ROWS = 12
_TYPES = {"text": "text", "texts": "text[]", "number": "bigint", "boolean": "boolean", "time": "timestamptz"}
_SHAPE = ", ".join(
    [*(f"{name} {_TYPES[column.kind]}" for name, column in COLUMNS.items()), "metrics jsonb", "parameters jsonb"]
)
HELD = """
with given as (select ordinality as place, given.* from rows from (jsonb_to_recordset($1::jsonb) as ({shape}))
    with ordinality as given)
select place - 1 as place from given as trial cross join lateral (select trial.run_id) as run where {condition}
"""


@pytest.fixture(scope="module")
def ask(servers: Any) -> Iterator[Any]:
    """Runs a query on one connection, kept open over all examples."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(servers.database_url))
    loop.run_until_complete(prepare(connection, {}))
    yield lambda sql, *args: loop.run_until_complete(connection.fetch(sql, *args))
    loop.run_until_complete(connection.close())
    loop.close()


class EachIndexed(Indexed):
    """Every path has an index of its own."""

    def serving(self, path: Path) -> Path | None:
        return None if path.place in COLUMNS else path


class ShorthandIndexed(Indexed):
    """Every shorthand has an index, which serves the metrics as well."""

    def serving(self, path: Path) -> Path | None:
        return Path("either", path.keys) if path.place in ("either", "metrics") else None


def held_by_postgres(ask: Any, tree: Node, rows: list[Any], indexed: Indexed = NOTHING) -> set[int]:
    condition = compile_filter(tree, first=2, indexed=indexed)
    # the one column that stands in another table: what is asked of it is held to the same cases here
    asked = condition.sql.replace(COLUMNS["mlflow_state"].sql, "trial.mlflow_state")
    sql = HELD.replace("{shape}", _SHAPE).replace("{condition}", asked)
    return {row["place"] for row in ask(sql, to_json(rows), *condition.args)}


@pytest.mark.parametrize("indexed", [NOTHING, EachIndexed(), ShorthandIndexed()])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees, st.lists(trials, min_size=1, max_size=ROWS))
def test_a_filter_holds_the_same_trials_in_python_and_in_postgres(
    ask: Any, indexed: Indexed, tree: Node, rows: list[Any]
) -> None:
    expected = {place for place, trial in enumerate(rows) if holds(tree, trial)}
    assert held_by_postgres(ask, tree, rows, indexed) == expected
    assert held_by_postgres(ask, Not(tree), rows, indexed) == set(range(len(rows))) - expected
    assert held_by_postgres(ask, Or((tree, Not(tree))), rows, indexed) == set(range(len(rows)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accuracy > 0.5", {0, 3}),
        ("accuracy < 0.5", {1, 4}),
        ("accuracy is nan", {2, 3, 4}),
        ("accuracy is finite", {0, 1}),
        ("accuracy is missing", {6}),
        ("accuracy != 0.9", {1, 2, 3, 4, 5}),
        ("accuracy = high", {5}),
        ("not accuracy > 0.5", {1, 2, 4, 5, 6}),
        ("'; drop table cerebros_model_trials; --'", set()),
    ],
)
def test_values_that_are_no_numbers_are_compared_without_a_failure(ask: Any, text: str, expected: set[int]) -> None:
    values = [{"accuracy": one} for one in (0.9, 0.1, "NaN", "Infinity", "-Infinity", "high")]
    rows: list[Any] = [{"metrics": one, "parameters": {}} for one in [*values, {}]]
    assert held_by_postgres(ask, parse(text), rows) == expected
