"""Tree -> the condition of a `where`, with parameters. Every value and every key is one; the rest is text of ours.

A value's type decides, never a column's: each comparison asks for the type first, so that nothing that is stored can
make it fail. Where an index has a path's numbers (`indexed`), what those can tell stands beside the comparison: a
condition on doubles that holds wherever the comparison does, and never instead of it. What is unknown to SQL is not
true, and only `not` has to say so; conditions joined by `and` stay as they are, where an index can serve them. The rows
are `trial` (cerebros_model_trials) and `run` (cerebros_model_runs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, assert_never

from processor.dashboard.filters.fields import COLUMNS, SEARCHED, Kind
from processor.dashboard.filters.indexed import NOTHING, Indexed
from processor.dashboard.filters.tree import Among, And, Compare, Contains, Is, Node, Not, Or, Path, Scalar, Search
from processor.store.path_numbers import double_of, jsonb_at, number_at

_TYPES: dict[Kind, str] = {
    "text": "text",
    "texts": "text[]",
    "number": "numeric",
    "boolean": "boolean",
    "time": "timestamptz",
}
_STATES = {
    "nan": """('"NaN"'::jsonb, '"Infinity"'::jsonb, '"-Infinity"'::jsonb)""",
    "empty": """('""'::jsonb, '[]'::jsonb, '{}'::jsonb)""",
}


#: a value and its type -> the parameter that stands for it
Given = Callable[[Any, str], str]


def jsonb_of(given: Given, path: Path, *, text: bool = False) -> str:
    """The jsonb at a path into the maps, or its text; keys are parameters."""
    return jsonb_at(path.place, _step(given, path), many=len(path.keys) > 1, text=text)


def number_of(given: Given, path: Path) -> str:
    """The number at a path as an index of it has it."""
    return number_at(path.place, _step(given, path), many=len(path.keys) > 1)


def _step(given: Given, path: Path) -> str:
    return given(path.keys[0], "text") if len(path.keys) == 1 else given(list(path.keys), "text[]")


class Condition(NamedTuple):
    """`sql` has the parameters `$n` and following, whose values are `args`; `served`: an index may tell some of it."""

    sql: str
    args: tuple[Any, ...]
    served: bool = False


def compile_filter(node: Node, first: int = 1, indexed: Indexed = NOTHING) -> Condition:
    """`first` is the number of the first parameter that is free; `indexed` changes nothing that the filter holds."""
    compiler = _Compiler(first, indexed)
    return Condition(compiler.sql(node), tuple(compiler.args), compiler.served)


class _Compiler:
    def __init__(self, first: int, indexed: Indexed) -> None:
        self._first, self._indexed = first, indexed
        self.args: list[Any] = []
        self.served = False

    def _given(self, value: Any, kind: str) -> str:
        self.args.append(value)
        return f"${self._first + len(self.args) - 1}::{kind}"

    def sql(self, node: Node) -> str:
        match node:
            case And(terms):
                return f"({' and '.join(map(self.sql, terms))})" if terms else "true"
            case Or(terms):
                return f"({' or '.join(map(self.sql, terms))})"
            case Not(term):
                return f"({self.sql(term)}) is not true"
            case Compare():
                return self._compare(node)
            case Among():
                return self._among(node)
            case Contains():
                return self._contains(node)
            case Is():
                return self._is(node)
            case Search(text):
                wanted = self._lowered(self._given(text, "text"))
                return f"({' or '.join(_holding(COLUMNS[name].sql, wanted) for name in SEARCHED)})"
            case _:
                assert_never(node)

    def value(self, path: Path) -> str:
        """The jsonb at a path into the maps."""
        return jsonb_of(self._given, path)

    def _near(self, path: Path, operator: str, values: Sequence[Scalar]) -> str:
        """Of doubles, what holds wherever a value of the path stands so to one of `values`; empty without an index.

        A double and a number that round to the same are neither less nor greater, so it is never `<` alone. Infinity
        and -Infinity are texts that a comparison holds, and are in the index as what they say.
        """
        served = self._indexed.serving(path)
        if served is None or operator == "!=" or not all(isinstance(value, Decimal) for value in values):
            return ""
        self.served = True
        number = number_of(self._given, served)
        doubles = [double_of(self._given(value, "numeric")) for value in values]
        if len(doubles) > 1:
            return f" and {number} = any(array[{', '.join(doubles)}])"
        return f" and {number} {operator if operator == '=' else f'{operator[0]}='} {doubles[0]}"

    def _compare(self, node: Compare) -> str:
        exact, near = self._exactly(node), self._near(node.path, node.operator, (node.value,))
        return f"({exact}{near})" if near else exact

    def _exactly(self, node: Compare) -> str:
        if node.path.place in COLUMNS:
            column = COLUMNS[node.path.place]
            return f"{column.sql} {_sign(node.operator)} {self._given(node.value, _TYPES[column.kind])}"
        value = self.value(node.path)
        if node.operator == "=":
            return f"{value} = {self._literal(node.value)}"
        if node.operator == "!=":
            return f"({value} <> {self._literal(node.value)} and {value} <> 'null'::jsonb)"
        infinite = "Infinity" if node.operator in (">", ">=") else "-Infinity"
        return (
            f"case jsonb_typeof({value}) when 'number' then {value}::numeric {node.operator} "
            f"{self._given(node.value, 'numeric')} when 'string' then {value} = '\"{infinite}\"'::jsonb end"
        )

    def _literal(self, value: Scalar) -> str:
        kind = "boolean" if isinstance(value, bool) else "numeric" if isinstance(value, Decimal) else "text"
        return f"to_jsonb({self._given(value, kind)})"

    def _among(self, node: Among) -> str:
        if node.path.place in COLUMNS and COLUMNS[node.path.place].kind == "text":
            return f"{COLUMNS[node.path.place].sql} = any({self._given(list(node.values), 'text[]')})"
        each = " or ".join(self._exactly(Compare(node.path, "=", value)) for value in node.values)
        near = self._near(node.path, "=", node.values)
        return f"(({each}){near})" if near else f"({each})"

    def _lowered(self, text: str) -> str:
        """In collation C only ASCII letters have two cases: the same on every server."""
        return f'lower({text} collate "C")'

    def _contains(self, node: Contains) -> str:
        wanted = self._lowered(self._given(node.text, "text"))
        if node.path.place not in COLUMNS:
            value = self.value(node.path)
            return f"(jsonb_typeof({value}) = 'string' and {_holding(f'({value} #>> array[]::text[])', wanted)})"
        column = COLUMNS[node.path.place]
        if column.kind == "texts":
            return f"exists (select from unnest({column.sql}) as one where {_holding('one', wanted)})"
        return _holding(column.sql, wanted)

    def _is(self, node: Is) -> str:
        if node.path.place in COLUMNS:
            return _state_of_column(COLUMNS[node.path.place].sql, COLUMNS[node.path.place].kind, node.what)
        value = self.value(node.path)
        if node.what == "missing":
            return f"coalesce({value}, 'null'::jsonb) = 'null'::jsonb"
        if node.what == "finite":
            return f"jsonb_typeof({value}) = 'number'"
        return f"{value} in {_STATES[node.what]}"


def _state_of_column(column: str, kind: str, what: str) -> str:
    if kind == "texts":
        return f"cardinality({column}) = 0"
    if what == "empty":
        return f"{column} = ''"
    return {"missing": f"{column} is null", "finite": f"{column} is not null", "nan": "false"}[what]


def _holding(text: str, wanted: str) -> str:
    return f'strpos(lower({text} collate "C"), {wanted}) > 0'


def _sign(operator: str) -> str:
    return "<>" if operator == "!=" else operator
