"""A schema -> a function that says what is wrong with a value; compiled once, because it runs for every report.

It judges the plain form: what `json.loads` returns (bytes and fixed: `bytes`), with no wrapper around union
branches, and records marked `unwrap` replaced by their value. It is strict at every depth. It differs from
fastavro's validate, its oracle, where fastavro takes what cannot be written: an integer beyond 64 bits is no
double, a double beyond 32 bits is no float; and only lists are arrays, only dicts are maps and records. A `Decimal` is
a double with more digits, or a larger exponent, than doubles have: a writer rounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from processor.contracts.avro.problem import Failure, Problem, describe
from processor.contracts.avro.schema import (
    INT_MAX,
    INT_MIN,
    LONG_MAX,
    LONG_MIN,
    Names,
    Parsed,
    Type,
    named,
    resolve,
    unwraps,
)

FLOAT_MAX = 3.4028235677973362e38  # the last double that rounds to a 32-bit float instead of overflowing
#: the types of the plain form, in the order in which a subclass looks for its own (a bool is an int)
PLAIN_TYPES = (type(None), bool, int, float, str, bytes, list, dict)
_NOT_FINITE = frozenset((float("inf"), float("-inf")))
_MISSING: Any = object()

Check = Callable[[Any], Failure | None]


class Rule(NamedTuple):
    """How a schema's type is checked, by the Python type of the value: most values cost one look-up, no call.

    A value of a type in `always` is valid; one of a type in `checks` is for that function to judge; any other for
    `otherwise`. Both are filled after the rule is made, so that a type that contains itself finds its own.
    """

    always: set[type]
    checks: dict[type, Check]
    otherwise: Check

    def check(self, value: Any) -> Failure | None:
        if type(value) in self.always:
            return None
        return self.checks.get(type(value), self.otherwise)(value)


def compile_validator(parsed: Parsed) -> Callable[[Any], Problem | None]:
    """The validator of a schema: None for a valid value, else the first problem. It raises nothing."""
    always, checks, otherwise = Rules(parsed.names).rule(parsed.root)

    def validate(value: Any) -> Problem | None:
        if type(value) in always:
            return None
        try:
            failure = checks.get(type(value), otherwise)(value)
        except RecursionError:
            return Problem("", "nested too deep", "too_deep")
        return None if failure is None else Problem(failure.path(), failure.message)

    return validate


class Rules:
    """The rules of one schema's types, each made once."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[int, Rule] = {}

    def rule(self, type_: Type) -> Rule:
        kind, definition = resolve(type_, self._names)
        if kind == "record" and unwraps(definition):
            return self.rule(definition["fields"][0]["type"])
        if kind in _SCALARS:
            return _SCALARS[kind]
        if id(definition) not in self._known:
            compile_: Callable[[Any], Rule] = getattr(self, f"_{kind}")
            return compile_(definition)
        return self._known[id(definition)]

    def _new(self, definition: Any, expected: str, checks: dict[type, Check]) -> Rule:
        """Makes the rule known before the caller compiles what the type contains."""
        rule = self._known[id(definition)] = _make_rule(expected, [], checks)
        return rule

    def _enum(self, definition: Mapping[str, Any]) -> Rule:
        symbols = frozenset(definition["symbols"])
        expected = "one of " + ", ".join(definition["symbols"])

        def check(value: str) -> Failure | None:
            return None if value in symbols else _not(expected, value)

        return self._new(definition, expected, {str: check})

    def _fixed(self, definition: Mapping[str, Any]) -> Rule:
        size = definition["size"]

        def check(value: bytes) -> Failure | None:
            return None if len(value) == size else Failure(f"must be {size} bytes, not {len(value)}")

        return self._new(definition, f"{size} bytes", {bytes: check})

    def _array(self, definition: Mapping[str, Any]) -> Rule:
        def check(value: list[Any]) -> Failure | None:
            if not value:  # most lists of warnings: spares setting up the loop
                return None
            for index, item in enumerate(value):
                if type(item) in always:
                    continue
                failure = checks.get(type(item), otherwise)(item)
                if failure is not None:
                    failure.steps.append(index)
                    return failure
            return None

        rule = self._new(definition, "a list", {list: check})
        always, checks, otherwise = self.rule(definition["items"])
        return rule

    def _map(self, definition: Mapping[str, Any]) -> Rule:
        def check(value: dict[Any, Any]) -> Failure | None:
            for key, item in value.items():
                if type(key) is not str and not isinstance(key, str):
                    return _not("an object whose names are strings", key)
                if type(item) in always:
                    continue
                failure = checks.get(type(item), otherwise)(item)
                if failure is not None:
                    failure.steps.append(key)
                    return failure
            return None

        rule = self._new(definition, "an object", {dict: check})
        always, checks, otherwise = self.rule(definition["values"])
        return rule

    def _record(self, definition: Mapping[str, Any]) -> Rule:
        fields: list[tuple[str, set[type], dict[type, Check], Check, bool]] = []
        gaps = dict.fromkeys((field["name"] for field in definition["fields"]), _MISSING)

        def check(value: dict[Any, Any]) -> Failure | None:
            try:
                for name, always, checks, otherwise, has_default in fields:
                    item = value[name]
                    if type(item) in always:
                        continue
                    if item is _MISSING:
                        if has_default:
                            continue
                        return Failure("is missing", name)
                    failure = checks.get(type(item), otherwise)(item)
                    if failure is not None:
                        failure.steps.append(name)
                        return failure
            except KeyError:  # rare: most data has every field, and subscription is quicker than get
                return check(gaps | value)
            return None

        rule = self._new(definition, "an object", {dict: check})
        fields += [(f["name"], *self.rule(f["type"]), "default" in f) for f in definition["fields"]]
        return rule

    def _union(self, branches: list[Type]) -> Rule:
        rule = self._new(branches, " or ".join(named(branch, self._names) for branch in branches), {})
        for branch in branches:
            always, checks, _ = self.rule(branch)
            rule.always.update(always)
            for type_, check in checks.items():
                known = rule.checks.get(type_)
                rule.checks[type_] = check if known is None else _either(known, check, rule.otherwise)
        return rule


def _make_rule(expected: str, always: Iterable[type], checks: dict[type, Check]) -> Rule:
    valid = set(always)

    def otherwise(value: Any) -> Failure | None:
        """A type of its own: an IntEnum, a StrEnum, an OrderedDict is as good as what it derives from."""
        base = next((base for base in PLAIN_TYPES if isinstance(value, base)), type(value))
        if base in valid:
            return None
        if base in checks and base is not type(value):
            return checks[base](value)
        return _not(expected, value)

    return Rule(valid, checks, otherwise)


def _not(expected: str, value: Any) -> Failure:
    return Failure(f"must be {expected}, not {describe(value)}")


def _either(first: Check, second: Check, neither: Check) -> Check:
    def check(value: Any) -> Failure | None:
        if first(value) is None or second(value) is None:
            return None
        return neither(value)

    return check


def _number(expected: str, low: float, high: float, types: tuple[type, ...], *always: type) -> Rule:
    def check(value: Any) -> Failure | None:
        if low <= value <= high or value != value or value in _NOT_FINITE:
            return None
        return _not(expected, value)

    return _make_rule(expected, always, dict.fromkeys(types, check))


_SCALARS = {
    "null": _make_rule("null", [type(None)], {}),
    "boolean": _make_rule("a boolean", [bool], {}),
    "string": _make_rule("a string", [str], {}),
    "bytes": _make_rule("bytes", [bytes], {}),
    "int": _number("a 32-bit integer", INT_MIN, INT_MAX, (int,)),
    "long": _number("a 64-bit integer", LONG_MIN, LONG_MAX, (int,)),
    "float": _number("a 32-bit number", -FLOAT_MAX, FLOAT_MAX, (int, float)),
    "double": _number("a 64-bit number", LONG_MIN, LONG_MAX, (int,), float, Decimal),
}
