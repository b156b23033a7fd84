"""TrialReport -> what Postgres is given: an element of a JSON document, or a line of COPY; pure."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, cast

import msgspec

from processor.core.fields import FIELDS, ID_NAMES, NAMES
from processor.core.messages import TrialReport
from processor.core.numbers import to_json
from processor.core.parts import in_parts
from processor.core.times import timestamp_text

#: what JSON text of rows one statement gets at the most; Postgres needs several times as much memory to take it apart
MAX_STATEMENT_BYTES = 16 * 1024 * 1024
#: so much content is sent at once: Postgres stores it while the next is made, and neither side holds much
COPY_PIECE_BYTES = 192 * 1024
#: the columns of a report's content, as two reports are compared
CONTENT_COLUMNS = (*NAMES, "bridge_payload")
COPY_COLUMNS = (
    "id", "model_run_id", "trial_id", *CONTENT_COLUMNS, "schema_version", "revision", "source_topic",
    "source_partition", "source_offset", "source_index", "source_timestamp", "source_digest", "spectral_norm_reported",
)  # fmt: skip
_NAMED = frozenset((*NAMES, *ID_NAMES))
_fields = itemgetter(*NAMES)
#: stands for null until the text is whole: no content holds a NUL
_NONE = "\0"
_NULL = "\\N"
_TOLD = {True: "t", False: "f", None: _NONE}
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _array(items: Sequence[str]) -> str:
    """A text[] literal."""
    if not items:
        return "{}"
    quoted = ['"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items]
    return "{" + ",".join(quoted) + "}"


def _json(value: Any) -> str:
    return str(value if type(value) is msgspec.Raw else to_json(value), "utf-8")


#: by the type of a column: the expression of its value's text in COPY's format, with NUL for null
_FORMS = {
    "text": "_NONE if {0} is None else {0}",
    "bigint": "_NONE if {0} is None else str({0})",
    "boolean": "'t' if {0} else 'f'",
    "text[]": "_array({0})",
    "jsonb": "_json({0})",
}


def _compiled() -> Callable[..., Sequence[str]]:
    """Values of `NAMES` -> their texts: one expression made from the table of fields, as dataclasses make `__init__`.

    A loop that looks at the type of each value takes 0.4 us longer, of the 25 us that a report takes in all.
    """
    values = [f"v{place}" for place in range(len(FIELDS))]
    texts = [_FORMS[field.type].format(value) for field, value in zip(FIELDS, values, strict=True)]
    return cast("Callable[..., Sequence[str]]", eval(f"lambda {', '.join(values)}: ({', '.join(texts)})", globals()))


_texts = _compiled()


def content_text(report: TrialReport) -> str:
    """trial_id and the values of `CONTENT_COLUMNS` in COPY's text format, but with NUL for null."""
    payload = payload_of(report)
    columns = (report.trial_id, *_texts(*_fields(report.content)), _json(payload) if payload else "{}")
    text = "\t".join(columns)
    # most content needs no escape: looking at all of it at once is cheaper than at each field
    if "\\" not in text and text.count("\t") == len(CONTENT_COLUMNS) and "\n" not in text and "\r" not in text:
        return text
    return "\t".join([column.translate(_ESCAPES) for column in columns])


def copy_pieces(
    reports: Sequence[TrialReport], model_run_ids: Mapping[str, str]
) -> Iterator[tuple[bytes, list[TrialReport]]]:
    """Whole new rows, revision 1, as COPY takes them, and the reports they are of, in pieces of `COPY_PIECE_BYTES`.

    The columns are `COPY_COLUMNS`; both times are left to their default, now().
    """
    rows = ((report, content_text(report)) for report in reports)
    for piece in in_parts(rows, lambda row: len(row[1]), COPY_PIECE_BYTES):
        lines = [
            f"{row_id}\t{model_run_ids[report.run_id]}\t{content}\t{source_text(report)}\n"
            for row_id, (report, content) in zip(new_ids(len(piece)), piece, strict=True)
        ]
        yield "".join(lines).replace(_NONE, _NULL).encode(), [report for report, _ in piece]


def source_text(report: TrialReport) -> str:
    """schema_version, revision 1, and what else is known of where the report came from.

    The name of a topic needs no escape.
    """
    record = report.record
    return (
        f"{report.schema_version}\t1\t{record.topic}\t{record.partition}\t{record.offset}\t{report.index}\t"
        f"{timestamp_text(record.timestamp_ms)}\t{report.digest or _NONE}\t{_TOLD[report.spectral_norm_reported]}"
    )


def new_ids(number: int) -> list[str]:
    """So many UUIDv7 (RFC 9562, 5.7) in ascending order (up to 4096), which keeps their index dense.

    Made here because a Postgres built without OpenSSL opens /dev/urandom for each: 2.4 us a row, against 0.3.
    """
    milliseconds = f"{time.time_ns() // 1_000_000:012x}"
    head, random = f"{milliseconds[:8]}-{milliseconds[8:]}-7", os.urandom(8 * number).hex()
    return [
        f"{head}{place & 0xFFF:03x}-8{random[at : at + 3]}-{random[at + 3 : at + 15]}"
        for place, at in zip(range(number), range(0, 16 * number, 16), strict=True)
    ]


def payload_of(report: TrialReport) -> Mapping[str, Any]:
    """What goes into bridge_payload: nothing of a report is dropped."""
    extra = report.extra
    if len(report.content) != len(_NAMED):  # a later schema's field without a column of its own
        more = {name: value for name, value in report.content.items() if name not in _NAMED}
        extra = {**more, **(extra or {})}
    payload: dict[str, Any] = {}
    if extra:
        payload["extra"] = extra
    if report.envelope:
        payload["envelope"] = report.envelope
    return payload


def row_json(report: TrialReport) -> bytes:
    """One element of the parameter of `apply_reports`."""
    record = report.record
    return to_json(
        {
            **report.content,
            "bridge_payload": payload_of(report),
            "schema_version": report.schema_version,
            "source_topic": record.topic,
            "source_partition": record.partition,
            "source_offset": record.offset,
            "source_index": report.index,
            "source_timestamp_ms": record.timestamp_ms,
            "source_digest": report.digest or None,
            "spectral_norm_reported": report.spectral_norm_reported,
        }
    )


def split_into_waves(reports: Sequence[TrialReport]) -> list[Sequence[TrialReport]]:
    """The k-th wave holds the k-th report of each trial, in the batch's order."""
    if len({(report.run_id, report.trial_id) for report in reports}) == len(reports):
        return [reports] if reports else []
    waves: list[list[TrialReport]] = []
    seen: dict[tuple[str, str], int] = {}
    for report in reports:
        key = (report.run_id, report.trial_id)
        number = seen.get(key, 0)
        seen[key] = number + 1
        if number == len(waves):
            waves.append([])
        waves[number].append(report)
    return list(waves)


def split_by_size(reports: Sequence[TrialReport]) -> Iterator[list[tuple[TrialReport, bytes]]]:
    """The reports with their rows as JSON, in parts of at most `MAX_STATEMENT_BYTES` (one always fits)."""
    rows = ((report, row_json(report)) for report in reports)
    return in_parts(rows, lambda row: len(row[1]), MAX_STATEMENT_BYTES)
