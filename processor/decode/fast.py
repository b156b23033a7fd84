"""The fast way through decode: reports that need no mending, read at once into a type compiled from the schema; pure.

msgspec compares names, types and bounds with the schema while it reads, in a third of the thorough way's time. What it
refuses is no error: None, and `thorough` looks at it, which says what is wrong or bends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from processor.contracts.catalogue import NO_NEEDS, Catalogue, Needs
from processor.core.fields import ID_NAMES
from processor.core.messages import read_text
from processor.core.numbers import read_exactly
from processor.decode.rawjson import UNREADABLE
from processor.decode.rules import RULES, Rule

#: (content as in `TrialReport`, schema version, whether spectral_norm was reported); its `run_id` is `msgspec.UNSET`
#: where the report itself names none
Decoded = tuple[dict[str, Any], int, bool]
_UNSET: Any = msgspec.UNSET
_BRACE = ord("{")
_as_dict = msgspec.structs.asdict


def column_defaults(catalogue: Catalogue, subject: str, rules: Mapping[str, Rule] = RULES) -> dict[str, Any]:
    """What a report without the field has in the field's column; shared by all, so never to be changed."""
    defaults = catalogue.defaults(subject)
    return {
        name: defaults[name] if name in defaults else rules[name].bend(None)
        for name in catalogue.fields(subject)
        if name in rules
    }


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    trials: list[msgspec.Raw]
    run_id: Any = _UNSET
    model_run_id: Any = _UNSET


class FastReader:
    """Reads one report, or takes an envelope apart, where nothing has to be bent; None wherever that is not sure.

    For bytes of which `may_need_mending` said no.
    """

    def __init__(self, catalogue: Catalogue, subject: str) -> None:
        self._catalogue, self._subject = catalogue, subject
        columns = column_defaults(catalogue, subject)
        self._status = columns.get("status")
        varying = catalogue.varying(subject)
        schema_defaults = catalogue.defaults(subject)
        types = {name: _type_of(catalogue, subject, name) for name in catalogue.fields(subject)}
        usable = all(types[name] is not None for name in (*ID_NAMES, *columns))
        fields: list[Any] = [("trial_id", types["trial_id"])]
        self._texts: list[str] = []
        #: (its bit, name, default, whether content holds the default too) of the fields that tell the version
        self._telling: list[tuple[int, str, Any, bool]] = []
        for name, type_ in types.items():
            if name == "trial_id" or type_ is None:  # a report with a field of no plain type goes the thorough way
                continue
            if type_ is msgspec.Raw:
                self._texts.append(name)
            if name in columns and name not in varying and name != "status":
                fields.append((name, type_, msgspec.Raw(b"{}") if type_ is msgspec.Raw else columns[name]))
                continue
            fields.append((name, type_ | msgspec.UnsetType, _UNSET))
            if name not in ("run_id", "status"):
                default = columns[name] if name in columns else schema_defaults.get(name, _UNSET)
                self._telling.append((1 << len(self._telling), name, default, name in columns))
        self._spectral_norm = sum(bit for bit, name, *_ in self._telling if name == "spectral_norm")
        self._versions: dict[int, int] = {}
        report = msgspec.defstruct("FastReport", fields if usable else [], forbid_unknown_fields=True, gc=False)
        self._read = msgspec.json.Decoder(report).decode
        self._read_envelope = msgspec.json.Decoder(_Envelope).decode
        self._read_texts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode

    def read(self, value: bytes | msgspec.Raw) -> Decoded | None:
        """One report; None where the fast way does not lead through."""
        try:
            content = _as_dict(self._read(value))
        except UNREADABLE:
            return None
        for name in self._texts:
            held = content[name]
            if held is not _UNSET and memoryview(held)[0] != _BRACE:
                return None
        present = 0  # the bits of the telling fields that are there
        if content["status"] is _UNSET:
            if content.get("error_message", _UNSET) not in (None, _UNSET):
                return None  # an error without a status says how the trial ended
            content["status"] = self._status
        for bit, name, default, has_column in self._telling:
            held = content[name]
            if held is not _UNSET:
                present |= bit
                if has_column or read_text(held) != default:
                    continue
            if has_column:
                content[name] = default
            else:  # a default that everybody has is not worth storing
                del content[name]
        version = self._versions.get(present) or self._version(present)
        return content, version, present & self._spectral_norm != 0

    def _version(self, present: int) -> int:
        names = [name for bit, name, _, _ in self._telling if present & bit]
        version = self._versions[present] = self._catalogue.version_of(self._subject, names)
        return version

    def split(self, value: bytes, max_open_bytes: int) -> tuple[Mapping[str, Any], list[msgspec.Raw]] | None:
        """(fields of the envelope besides its trials, reports yet to be read) of a list or an envelope.

        What is larger than `max_open_bytes` may have no fields but ids: a list of all others could be large.
        """
        try:
            if value[:1] == b"[":
                return {}, self._read_list(value)
            envelope = self._read_envelope(value)
        except UNREADABLE:
            return self._split_open(value) if len(value) <= max_open_bytes else None
        fields = {"run_id": envelope.run_id, "model_run_id": envelope.model_run_id}
        return {name: held for name, held in fields.items() if held is not _UNSET}, envelope.trials

    def _split_open(self, value: bytes) -> tuple[Mapping[str, Any], list[msgspec.Raw]] | None:
        try:
            fields = self._read_texts(value)
            trials = self._read_list(fields.pop("trials"))
            return {name: read_exactly(held) for name, held in fields.items()}, trials
        except (*UNREADABLE, KeyError):
            return None


def _type_of(catalogue: Catalogue, subject: str, name: str) -> Any | None:
    """The type whose values the schema and the field's rule both leave as they are."""
    rule = RULES.get(name)
    needs = Needs(length=1) if name in ID_NAMES else rule.needs if rule is not None else NO_NEEDS
    type_ = catalogue.fast_type(subject, name, needs)
    if rule is not None and get_origin(type_) is Literal and any(rule.bend(one) != one for one in get_args(type_)):
        return None
    return type_
