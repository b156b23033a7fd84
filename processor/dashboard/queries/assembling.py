"""Queries whose filter and order are chosen by a page: text of ours, and parameters; never a value in the text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from processor.core.errors import UsageError
from processor.core.text import storable
from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.indexed import NOTHING, Indexed
from processor.dashboard.filters.sql import Condition, compile_filter, jsonb_of, number_of
from processor.dashboard.filters.tree import EVERYTHING, Node, Path
from processor.dashboard.queries.pool import queries
from processor.store.pool import Pool

#: 1.8e308 is a double's end, and what is below 1e-320 is 0: a cast of such a number would be refused. Nearly all are
#: short, can be neither, and are cast as they are: as text, which is what a cast of a numeric goes by as well
_NUMBER = (
    "case jsonb_typeof({value}) when 'number' then case when octet_length({text}) < 300 then {text}::float8 "
    "when {value}::numeric not between -1.7976931348623157e308 and 1.7976931348623157e308 then 'NaN'::float8 "
    "else round({value}::numeric, 320)::float8 end "
    "when 'string' then case when {value} in ('\"NaN\"'::jsonb, '\"Infinity\"'::jsonb, '\"-Infinity\"'::jsonb) "
    "then 'NaN'::float8 end end"
)


_OF_RUN = "trial.model_run_id = (select one.id from cerebros_model_runs one where one.run_id = {run})"
_SET = "select set_config(name, value, true) from unnest($1::text[], $2::text[]) as given (name, value)"


class Query(NamedTuple):
    sql: str
    args: tuple[Any, ...]


class Scope(NamedTuple):
    """The trials that a page is about: of a run, or of all, as far as a filter holds them.

    `runs` are ids of runs, where those are known by them (see `queries.columns`); None: whichever.
    `indexed` changes no answer, only how it is found.
    """

    run_id: str | None = None
    filter: Node = EVERYTHING
    runs: tuple[str, ...] | None = None
    indexed: Indexed = NOTHING


class Assembly:
    """A named query, its marks filled in one by one while parameters are counted."""

    def __init__(self, name: str, scope: Scope) -> None:
        self._text = queries()[name]
        self._args: list[Any] = []
        self._put: list[str] = []
        #: whether an index may tell some of the filter
        self.served = False
        self.put("filter", self.condition(scope), "true")

    def condition(self, scope: Scope) -> str:
        """The run is looked up once, before its trials: an index that begins with it then has them in its order."""
        found: Condition = compile_filter(scope.filter, len(self._args) + 1, scope.indexed)
        self._args += found.args
        self.served |= found.served
        if scope.runs is not None:
            return f"(trial.model_run_id = any({self.given(list(scope.runs), 'uuid[]')}) and {found.sql})"
        if scope.run_id is None:
            return found.sql
        return f"({_OF_RUN.replace('{run}', self.given(storable(scope.run_id), 'text'))} and {found.sql})"

    def given(self, value: Any, kind: str) -> str:
        self._args.append(value)
        return f"${len(self._args)}::{kind}"

    def put(self, mark: str, text: str, held: str) -> None:
        """Puts `text` in the place of a mark, and of what stands behind it for the sake of whoever reads the file."""
        before, found, after = self._text.partition(f"/*{mark}*/ {held}".rstrip() if held else f"/*{mark}*/")
        if not found:
            raise KeyError(mark)
        self._text = before + text + after
        self._put.append(text)

    def names(self, table: str) -> bool:
        """Whether a column of this table, by its name in the query, stands in what was put so far."""
        return any(f"{table}." in text for text in self._put)

    def query(self) -> Query:
        return Query(self._text, tuple(self._args))


def value_sql(assembly: Assembly, path: Path) -> str:
    """The jsonb at a path; keys are parameters."""
    return jsonb_of(assembly.given, path)


def text_sql(assembly: Assembly, path: Path) -> str:
    """The same as text: a string without its quotes."""
    return jsonb_of(assembly.given, path, text=True)


def indexed_sql(assembly: Assembly, path: Path) -> str:
    """The number at a path as its index has it."""
    return number_of(assembly.given, path)


def number_sql(value: str, text: str) -> str:
    """A jsonb's number as a double, NaN where it is not finite, null where it is none; `text` is the jsonb as text."""
    return _NUMBER.replace("{value}", value).replace("{text}", text)


def number_at(assembly: Assembly, path: Path) -> str:
    """A path as a double: of a column, or of a jsonb. Raises `UsageError` for a column that is no number."""
    if path.place not in COLUMNS:
        return number_sql(value_sql(assembly, path), text_sql(assembly, path))
    if COLUMNS[path.place].kind != "number":
        raise UsageError(f"{path.place} is no number: choose a metric, a parameter or a column that is one")
    return f"{COLUMNS[path.place].sql}::float8"


async def fetch(
    pool: Pool, query: Query, timeout_ms: int | None = None, settings: Mapping[str, str] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """The rows; with `timeout_ms` the question is given up earlier than others, by a `TransientError`.

    `settings` of the session are for this question alone.
    """
    if timeout_ms is not None:
        settings = {**settings, "statement_timeout": str(timeout_ms)}

    async def work(connection: Any) -> list[dict[str, Any]]:
        if not settings:
            return [dict(row) for row in await connection.fetch(query.sql, *query.args)]
        async with connection.transaction():
            await connection.execute(_SET, list(settings), list(settings.values()))
            return [dict(row) for row in await connection.fetch(query.sql, *query.args)]

    return await pool.run(work)
