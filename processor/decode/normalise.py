"""A report's fields -> the content of the latest schema, by the rule of each field; pure.

Nothing is lost on the way: what was bent to a default, and what no schema knows, is `extra`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from processor.contracts.catalogue import Catalogue
from processor.core.fields import ID_NAMES, LIFE, TRIAL, Kind
from processor.core.messages import read_text
from processor.core.text import storable
from processor.decode.boxes import unboxed
from processor.decode.endings import ended_without_status, says_something, stopped_without_state
from processor.decode.fast import column_defaults
from processor.decode.refused import DEFAULT, Refused
from processor.decode.rules import KINDS, Rule, aliases_of, rules_of

_MISSING: Any = object()
#: what Optuna calls a trial's objectives: they become metrics of the same name
_OBJECTIVES = ("value", "values")
Aliases = Sequence[tuple[str, Rule]]
#: (fields, what the event says) -> what a field is that is not there; None: what the plan has for it
Find = Callable[[Mapping[str, Any], str | None], str | None]


def _refuse_missing(rule: str) -> Find:
    """For a field whose rule refuses null, and which a schema of two kinds has to leave optional."""
    return lambda _fields, _event: KINDS[rule].bend(None)


#: by rule
_FINDS: dict[str, Find] = {
    "status": ended_without_status,
    "run_end": stopped_without_state,
    "metric_name": _refuse_missing("metric_name"),
    "metric_value": _refuse_missing("metric_value"),
}
_NOTHING = (_MISSING, None)


class Normal(NamedTuple):
    """`content` as in `TrialReport`; `bent` names the fields that were changed; `kept` is left over, and those of the
    `strange` fields, which no schema knows, that were not `used`.
    """

    content: dict[str, Any]
    bent: list[str]
    strange: list[str]
    used: set[str]
    kept: dict[str, Any]


class Normaliser:
    """The rules of one kind's fields."""

    def __init__(self, catalogue: Catalogue, kind: Kind) -> None:
        subject = kind.subject
        defaults, aliases = catalogue.defaults(subject), aliases_of(kind.fields)
        self.rules = rules = rules_of(kind.fields)
        finds = {field.name: _FINDS.get(field.rule) for field in kind.fields}
        #: name, the rule's parts, default, and what looks elsewhere for a field that is not there
        self._plan = [
            (name, *rules[name], default, finds[name], aliases[name])
            for name, default in column_defaults(catalogue, subject, rules).items()
        ]
        self._has_objectives = kind is TRIAL
        #: fields whose text can be passed on as it is: any object is valid there
        self.texts = frozenset(
            name
            for name, plain, *_ in self._plan
            if plain is dict and catalogue.fast_type(subject, name) is msgspec.Raw
        )
        # fields of later schemas have no column: a default that everybody has is not worth storing, and a row written
        # before the field existed must still equal its report
        others = {field.name for one in (TRIAL, *LIFE) if one.subject == subject for field in one.fields} - rules.keys()
        self._known = frozenset(catalogue.fields(subject)) - others
        self._later = [(name, defaults.get(name, _MISSING)) for name in self._known - {*rules, *ID_NAMES}]

    def mended(self, fields: Mapping[str, Any], raw: Mapping[str, Any]) -> list[str]:
        """The names of the fields that differ from what came."""
        if fields is raw:
            return []
        given = raw.get
        return [
            name
            for name, *_ in self._plan
            if (came := given(name)) is not None and (new := fields[name]) is not came and new != came
        ]

    def __call__(self, ids: Mapping[str, str], fields: Mapping[str, Any], event: str | None, bent: list[str]) -> Normal:
        """`bent` names the fields that were changed before. Raises `Refused`, which names the field."""
        known = self._known
        strange = [name for name in fields if name not in known]
        normal = Normal(dict(ids), bent, strange, set(), {})
        content, get, name = normal.content, fields.get, ""
        try:
            for name, plain, bend, _, scalar, default, find, aliases in self._plan:
                value = get(name, _MISSING)
                kind = type(value)
                if kind is plain or kind is msgspec.Raw:
                    content[name] = value
                    continue
                if value is _MISSING:
                    content[name] = default
                elif kind is list and scalar:
                    self._bend(name, name, self.rules[name], value, default, normal)
                elif (new := bend(value)) is value:
                    content[name] = value
                else:
                    self._set(name, name, value, new, default, normal)
                if find is not None and unboxed(value) in _NOTHING:
                    self._find(name, find(fields, event), normal)
                elif aliases and strange and unboxed(value) in _NOTHING:
                    self._find_alias(name, aliases, fields, normal)
        except Refused as refused:
            raise refused.at(refused.path or name) from None
        for name, default in self._later:
            value = get(name, default)
            if value is not _MISSING and value != default:
                content[name] = value
        if strange and self._has_objectives:
            self._add_objectives(fields, normal)
        return normal

    def extra(self, fields: Mapping[str, Any], normal: Normal) -> dict[str, Any] | None:
        """What the report holds beyond the schema, and what was bent to a default, as it came."""
        left = {name: fields[name] for name in normal.strange if name not in normal.used}
        return {**left, **normal.kept} or None

    def _bend(self, name: str, place: str, rule: Rule, value: Any, default: Any, normal: Normal) -> None:
        """The value that stands at `place` becomes the field's."""
        held = unboxed(value) if rule.scalar else value
        new = held if type(held) is rule.plain else rule.bend(held)
        self._set(name, place, value, new, default, normal)

    def _set(self, name: str, place: str, value: Any, new: Any, default: Any, normal: Normal) -> None:
        if new is DEFAULT:
            new, normal.kept[place] = default, storable(value)
        normal.content[name] = new
        if new is not value:
            _note(name, normal)

    def _find(self, name: str, found: str | None, normal: Normal) -> None:
        if found is not None:
            normal.content[name] = found
            _note(name, normal)

    def _find_alias(self, name: str, aliases: Aliases, fields: Mapping[str, Any], normal: Normal) -> None:
        """The first other name of the field that is there says what it would."""
        for alias, rule in aliases:
            value = fields.get(alias)
            if unboxed(value) is None or (name == "error_message" and not says_something(value)):
                continue
            normal.used.add(alias)
            try:
                self._bend(name, alias, rule, value, normal.content[name], normal)
            except Refused as refused:
                raise refused.at(alias) from None
            _note(name, normal)
            return

    def _add_objectives(self, fields: Mapping[str, Any], normal: Normal) -> None:
        found = [name for name in _OBJECTIVES if fields.get(name) is not None]
        metrics = read_text(normal.content["metrics"]) if found else {}
        found = [name for name in found if name not in metrics]
        if found:
            normal.content["metrics"] = {**metrics, **{name: fields[name] for name in found}}
            normal.used.update(found)
            _note("metrics", normal)


def _note(name: str, normal: Normal) -> None:
    if name not in normal.bent:
        normal.bent.append(name)
