"""The normalisation rules of raw reports, one function a kind of field; pure.

A rule takes what the report holds under a field and returns what the schema wants, the very same object where
nothing had to be bent. What no rule can bend is `Refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from processor.contracts.catalogue import NO_NEEDS, Needs
from processor.core.fields import FIELDS, Field
from processor.core.messages import Reason
from processor.core.text import UNSTORABLE, TooDeep, as_text, brief, kind_of, storable
from processor.decode.endings import STATUSES as STATUSES
from processor.decode.endings import ended_as, stopped_as, under_way
from processor.decode.numeric import count, finite, metric_value, number_in, seconds, small_count, step
from processor.decode.refused import DEFAULT, Refused

#: longer ones MLflow takes no more, and no key of a table of all steps should hold
LONGEST_METRIC_NAME = 250
_TRUE, _FALSE = frozenset(("true", "yes", "on", "t", "y")), frozenset(("false", "no", "off", "f", "n"))


class Rule(NamedTuple):
    """How a field is normalised: a value whose type is exactly `plain` needs no bending at all.

    What the schema allows and `needs` does too is left as it is: the short way of decode does not ask the rule then.
    A value of a `scalar` may come in a box.
    """

    plain: type | None
    bend: Callable[[Any], Any]
    needs: Needs = NO_NEEDS
    scalar: bool = True


def identifier(value: Any) -> str:
    """A string, or an integer in decimal; never empty, never with NUL or half a surrogate pair."""
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise Refused(Reason.INVALID_ID, f"an id is a string or an integer, not {kind_of(value)}: {brief(value)}")
    if not value:
        raise Refused(Reason.INVALID_ID, "an id must not be empty")
    if UNSTORABLE.search(value):
        raise Refused(Reason.INVALID_ID, f"an id must not hold NUL or half a surrogate pair: {brief(value)}")
    return value


def loose_boolean(value: Any) -> Any:
    """true and false, 1 and 0 in any numeric form, and the words for them in any case."""
    if type(value) is bool:
        return value
    if value is None:
        return False
    if type(value) is str:
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        value = number_in(word)
    return value == 1 if type(value) in (int, float, Decimal) and value in (0, 1) else DEFAULT


def mlflow_run_id(value: Any) -> Any:
    if value is None or (type(value) is str and value):
        return value
    if value == "" and type(value) is str:
        return DEFAULT
    raise Refused(Reason.INVALID_TYPE, f"an MLflow run id is a string or null, not {kind_of(value)}: {brief(value)}")


def json_map(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if type(value) is dict:
        return value
    raise Refused(Reason.NOT_A_MAP, f"must be an object, not {kind_of(value)}: {brief(value)}")


def warnings(value: Any) -> list[str]:
    if value is None:
        return []
    if type(value) is not list:
        return [_as_text(value)]
    return value if all(type(item) is str for item in value) else [_as_text(item) for item in value]


def _as_text(value: Any) -> str:
    try:
        return as_text(value)
    except TooDeep as error:
        raise Refused(Reason.TOO_DEEP, str(error)) from None


def metric_name(value: Any) -> str:
    """A text that names something, or an integer in decimal."""
    name = str(value) if type(value) is int else value
    if name is None or name == "":
        raise Refused(Reason.MISSING_METRIC, "ml.run.metric needs the metric's name")
    if type(name) is not str:
        raise Refused(Reason.INVALID_TYPE, f"a metric's name is a string, not {kind_of(value)}: {brief(value)}")
    if len(name) > LONGEST_METRIC_NAME:
        raise Refused(Reason.TOO_LARGE, f"a metric's name has at most {LONGEST_METRIC_NAME} characters: {brief(name)}")
    return name


def told_boolean(value: Any) -> Any:
    """As `loose_boolean`, but what is not told stays untold."""
    return None if value is None else loose_boolean(value)


def any_json(value: Any) -> Any:
    """Whatever it is; a bare number is mended here, because the names that have a rule are left to it."""
    return storable(value) if type(value) in (int, float) else value


def optional_text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise Refused(Reason.INVALID_TYPE, f"must be a string, an integer or null, not {kind_of(value)}: {brief(value)}")


def free_text(value: Any) -> str | None:
    """What somebody says: a text, or the JSON of whatever it is; saying it in another form rejects nothing."""
    return None if value is None else _as_text(value)


#: by the name that `core.fields` uses
KINDS: dict[str, Rule] = {
    "status": Rule(None, ended_as),
    "loose_boolean": Rule(bool, loose_boolean),
    "mlflow_run_id": Rule(None, mlflow_run_id, Needs(length=1)),
    "json_map": Rule(dict, json_map, scalar=False),
    "warnings": Rule(None, warnings, scalar=False),
    "count": Rule(None, count, Needs(least=0)),
    "seconds": Rule(None, seconds),
    "optional_text": Rule(str, optional_text),
    "free_text": Rule(str, free_text),
    "told_boolean": Rule(bool, told_boolean),
    "under_way": Rule(None, under_way),
    "run_end": Rule(None, stopped_as),
    "small_count": Rule(None, small_count),
    "finite": Rule(None, finite),
    "any_json": Rule(None, any_json, scalar=False),
    "metric_name": Rule(None, metric_name),
    "metric_value": Rule(float, metric_value),
    "step": Rule(None, step),
}


def rules_of(fields: Sequence[Field]) -> dict[str, Rule]:
    """By field of a kind of report; a field that is not in its table needs none: it is validated as it came."""
    return {field.name: KINDS[field.rule] for field in fields}


def aliases_of(fields: Sequence[Field]) -> dict[str, list[tuple[str, Rule]]]:
    """By field: the names that stand in for it where it is missing, each with its rule."""
    return {field.name: [(alias, KINDS[rule]) for alias, rule in field.aliases] for field in fields}


#: of a trial report
RULES = rules_of(FIELDS)
