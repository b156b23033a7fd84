"""A value that holds many reports -> values that hold one each, so that one may be refused and the others sent; pure.

Nothing is read that need not be: each part is the text it came as.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from processor.contracts.frames import is_framed
from processor.core.numbers import to_json
from processor.core.text import TooDeep, storable
from processor.decode.decoder import MAX_COMMAS
from processor.decode.envelope import COPIES
from processor.decode.rawjson import UNREADABLE
from processor.decode.refused import Refused
from processor.decode.split import MAX_REPORTS, TooMany, check_number, split_leniently

#: values that one report may have: a list of many more is taken apart piece by piece, since reading it in one go stops
#: every other thread for as long as that takes, 60 ns a value
_VALUES_A_REPORT = 24
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def take_apart(value: bytes, max_report_bytes: int, most: int = MAX_REPORTS) -> list[bytes] | None:
    """The parts of a list or an envelope, in order, each a record's value that is decoded as the report in it would be.

    None where there is nothing to take apart: one report, Avro, what is no JSON, or more than may be held at once;
    the decoder says which. An envelope's own fields stand around each of its parts. Raises `TooMany` for more than
    `most`, and what that costs is bounded by it.
    """
    if not value or is_framed(value):
        return None
    if value.lstrip(b" \t\r\n")[:1] != b"[" and b'"trials"' not in value:
        return None
    at_once = value.count(b",") <= min(MAX_COMMAS, _VALUES_A_REPORT * (most + 1))
    split = _split_quickly(value, most) if at_once else None
    if split is None:
        try:
            found = split_leniently(value, max_report_bytes, most)
        except TooMany:
            raise
        except Refused:
            return None
        if found is None or found.reports is None:
            return None
        try:
            split = {name: to_json(storable(held)) for name, held in found.fields.items()}, found.reports
        except TooDeep:
            return None
    return _with_envelope(*split, max_report_bytes)


def _split_quickly(value: bytes, most: int) -> tuple[Mapping[str, bytes], Sequence[bytes]] | None:
    try:
        if value.lstrip(b" \t\r\n")[:1] == b"[":
            fields, reports = {}, _read_list(value)
        else:
            fields = {name: bytes(held) for name, held in _read_fields(value).items()}
            reports = _read_list(fields.pop("trials"))
    except (*UNREADABLE, KeyError):
        return None
    check_number(len(reports), most)
    return fields, list(map(bytes, reports))


def _with_envelope(fields: Mapping[str, bytes], reports: Sequence[bytes], max_report_bytes: int) -> list[bytes] | None:
    if not fields:
        return list(map(_as_record, reports))
    head = b"{" + b"".join(msgspec.json.encode(name) + b":" + held + b"," for name, held in fields.items())
    head += b'"trials":['
    if len(head) * len(reports) > COPIES * max_report_bytes:
        return None
    return [head + report + b"]}" for report in reports]


def _as_record(report: bytes) -> bytes:
    """In a list of its own where it would be taken for something else without one: for an envelope, or no report."""
    may_be_other = report[:1] != b"{" or b'"trials"' in report or b"\\u" in report
    return b"[" + report + b"]" if may_be_other else report
