"""Which run and trial a report belongs to: the places where an id may stand, in the order that the design fixes; pure.

Where the ids are found depends on the record's key and headers, but what a report of that run and trial then holds must
not: its digest is of the record's value alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from processor.core.messages import RawRecord, Reason
from processor.core.numbers import read_exactly
from processor.decode.boxes import unboxed
from processor.decode.rawjson import UNREADABLE
from processor.decode.refused import Refused
from processor.decode.rules import identifier
from processor.decode.wrappers import name_object

_PLACES = ("run_id", "model_run_id")
#: what Optuna calls a run, looked at last; `number` is the trial's id there
_ALIASES = ("study_name", "study_id")


class RunId(NamedTuple):
    """The run's id, the place where it was found, and the value that stood there."""

    id: str
    source: str
    found: Any


def find_run_id(record: RawRecord, report: Mapping[str, Any], envelope: Mapping[str, Any]) -> RunId:
    """Raises `Refused` where there is none, or where the first one found is no id."""
    found = _in_fields(report, envelope, _PLACES) or _around_the_value(record) or _in_fields(report, envelope, _ALIASES)
    if found is None:
        raise Refused(
            Reason.MISSING_RUN_ID,
            "no run_id in the report, its envelope, the record's headers or its key",
            "run_id",
        )
    return found


def find_trial_id(report: Mapping[str, Any]) -> str | None:
    """The trial's own id, None where it may be numbered. Raises `Refused` where it is neither, or the id is none."""
    held = unboxed(report.get("trial_id"))
    if held is not None and held != "":
        return identify(held, "trial_id")
    if _number_of(report) is None:
        named = name_object(report)
        detail = f"the report has no trial_id; it looks like {named}" if named else "the report has no trial_id"
        raise Refused(Reason.MISSING_TRIAL_ID, detail, "trial_id")
    return None


def number_in_study(report: Mapping[str, Any], envelope: Mapping[str, Any], run_id: str) -> str:
    """Optuna's number of a trial, which is its id within its study: so the study must be the run. Raises `Refused`."""
    study = unboxed(report.get("study_name") or envelope.get("study_name"))
    if type(study) not in (str, int) or str(study) != run_id:
        detail = "the report has no trial_id, and its number is one only where its study_name is the run"
        raise Refused(Reason.MISSING_TRIAL_ID, detail, "trial_id")
    return identify(_number_of(report), "number")


def _number_of(report: Mapping[str, Any]) -> Any:
    held = unboxed(report.get("number"))
    return None if held == "" else held


def _in_fields(report: Mapping[str, Any], envelope: Mapping[str, Any], names: tuple[str, ...]) -> RunId | None:
    for place, holder in (("report", report), ("envelope", envelope)):
        for name in names:
            value = holder.get(name)
            if value is not None and value != "" and (held := unboxed(value)) is not None and held != "":
                run_id = identify(held, name if place == "report" else f"envelope.{name}")
                return RunId(run_id, f"{place}.{name}", value)
    return None


def _around_the_value(record: RawRecord) -> RunId | None:
    """The id in the record's headers, else in its key."""
    for name, header in record.headers:
        if name == "run_id" and header and (found := _named(header, "headers.run_id", "header")):
            return found
    return _named(record.key, "key", "key") if record.key else None


def _named(raw: bytes, path: str, source: str) -> RunId | None:
    """The id that the bytes are: text, or JSON's string of it, as serializers of JSON write keys; its null is none."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        detail = f"a run id must be UTF-8, not the bytes {raw[:30].hex()}"
        raise Refused(Reason.INVALID_ID, detail, path) from None
    said: Any = text
    if text == "null" or (text[0] == text[-1] == '"' and len(text) > 1):
        try:
            said = read_exactly(text)
        except UNREADABLE:
            said = text
    return RunId(identify(said, path), source, text) if said else None


def identify(value: Any, path: str) -> str:
    """`rules.identifier`, which names the place where it refuses."""
    try:
        return identifier(value)
    except Refused as refused:
        raise refused.at(path) from None
