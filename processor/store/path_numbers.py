"""The number at a path into `metrics` and `parameters` as SQL: what an index of the path holds.

Postgres uses such an index where a query says the very same, so both are written here. The number is a double, which
keeps the order of what is stored and may make neighbours equal: who needs them apart compares the jsonb itself beside
it. An expression that no value can make fail: beyond a double's ends stands the end, below 1e-320 a zero, for the texts
Infinity and -Infinity those; null for all else.
"""

from __future__ import annotations

#: a double's end
_END = "1.7976931348623157e308"
#: a short text of a number is neither beyond a double's ends nor below its least, and is cast as it is
_NUMBER = (
    "case when jsonb_typeof({value}) = 'number' then "
    "case when octet_length({text}) < 300 then {text}::float8 else {double} end "
    "when {value} = '\"Infinity\"'::jsonb then 'Infinity'::float8 "
    "when {value} = '\"-Infinity\"'::jsonb then '-Infinity'::float8 end"
)


def jsonb_at(place: str, step: str, *, many: bool, table: str = "trial.", text: bool = False) -> str:
    """The jsonb at a path, or its text; `step` is the key as SQL, or where there are `many` an array of them."""
    operator = ("#>" if many else "->") + (">" if text else "")
    if place == "either":
        return f"coalesce({table}metrics {operator} {step}, {table}parameters {operator} {step})"
    return f"({table}{place} {operator} {step})"


def number_at(place: str, step: str, *, many: bool, table: str = "trial.") -> str:
    """The number at a path; the arguments are those of `jsonb_at`."""
    value, text = (jsonb_at(place, step, many=many, table=table, text=one) for one in (False, True))
    return f"({_NUMBER.format(value=value, text=text, double=double_of(f'{value}::numeric'))})"


def double_of(number: str) -> str:
    """A numeric that is finite as a double, in the order of `number_at`."""
    return f"round(least(greatest({number}, -{_END}), {_END}), 320)::float8"
