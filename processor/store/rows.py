"""TrialReport -> what Postgres is given: an element of a JSON document, or a line of COPY; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import msgspec

from processor.events import timestamp_text
from processor.messages import TrialReport

#: what JSON text of rows one statement gets at the most; Postgres needs several times as much memory to take it apart
MAX_STATEMENT_BYTES = 16 * 1024 * 1024
#: the columns of a report's content, as two reports are compared
CONTENT_COLUMNS = (
    "status", "metrics", "parameters", "spectral_norm", "mlflow_run_id", "artifact_uri", "duration_ms", "rank",
    "warnings", "candidate_id", "pulse_id", "bridge_payload",
)  # fmt: skip
COPY_COLUMNS = (
    "model_run_id", "trial_id", *CONTENT_COLUMNS, "content_digest", "schema_version", "revision", "source_topic",
    "source_partition", "source_offset", "source_index", "source_timestamp", "inserted_at", "updated_at",
)  # fmt: skip
_NAMED = frozenset(CONTENT_COLUMNS) - {"bridge_payload"} | {"run_id", "trial_id"}
T = TypeVar("T")
_NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_encode = msgspec.json.Encoder().encode


class CopyRow(NamedTuple):
    """A report's content as COPY takes it, and the digest of just that text."""

    report: TrialReport
    content: str
    digest: str


def copy_row(report: TrialReport) -> CopyRow:
    content = content_text(report)
    return CopyRow(report, content, digest_of(content))


def content_text(report: TrialReport) -> str:
    """The values of `CONTENT_COLUMNS` in COPY's text format: no two different contents have the same text."""
    content = report.content
    duration, rank = content["duration_ms"], content["rank"]
    payload = payload_of(report)
    fields: list[str | None] = [
        content["status"],
        json_text(content["metrics"]),
        json_text(content["parameters"]),
        "t" if content["spectral_norm"] else "f",
        content["mlflow_run_id"],
        content["artifact_uri"],
        None if duration is None else str(duration),
        None if rank is None else str(rank),
        _array(content["warnings"]) if content["warnings"] else "{}",
        content["candidate_id"],
        content["pulse_id"],
        _encode(payload).decode() if payload else "{}",
    ]
    text = "\t".join([_NULL if field is None else field for field in fields])
    # most content needs no escape: looking at all of it at once is cheaper than at each field
    if text.count("\\") == fields.count(None) and text.count("\t") == 11 and "\n" not in text and "\r" not in text:
        return text
    return "\t".join([_NULL if field is None else field.translate(_ESCAPES) for field in fields])


def json_text(value: Any) -> str:
    return str(value if type(value) is msgspec.Raw else _encode(value), "utf-8")


def digest_of(content: str) -> str:
    """32 hexadecimal digits. Equal digests mean equal content; unequal ones that somebody has to compare."""
    return blake2b(content.encode(), digest_size=16).hexdigest()


def copy_line(row: CopyRow, model_run_id: str, now: str) -> str:
    """A whole new row, revision 1, in the order of `COPY_COLUMNS`."""
    report, record = row.report, row.report.record
    return (
        f"{model_run_id}\t{report.trial_id.translate(_ESCAPES)}\t{row.content}\t{row.digest}\t{report.schema_version}\t1\t"
        f"{record.topic}\t{record.partition}\t{record.offset}\t{report.index}\t{timestamp_text(record.timestamp_ms)}\t"
        f"{now}\t{now}\n"
    )


def _array(items: Sequence[str]) -> str:
    """A text[] literal."""
    quoted = ['"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items]
    return "{" + ",".join(quoted) + "}"


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
    return _encode(
        {
            **report.content,
            "bridge_payload": payload_of(report),
            "content_digest": digest_of(content_text(report)),
            "schema_version": report.schema_version,
            "source_topic": record.topic,
            "source_partition": record.partition,
            "source_offset": record.offset,
            "source_index": report.index,
            "source_timestamp_ms": record.timestamp_ms,
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
    return in_parts(((report, row_json(report)) for report in reports), lambda pair: len(pair[1]))


def in_parts(items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in their order, in parts of at most `MAX_STATEMENT_BYTES` (one always fits)."""
    part: list[T] = []
    size = 0
    for item in items:
        more = size_of(item)
        if part and size + more > MAX_STATEMENT_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield part
