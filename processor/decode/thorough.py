"""The thorough way through decode, for what the fast way does not take; pure, and total.

Whatever has to be mended or bent is, what can't be is a rejection that names the place, and nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from processor.contracts.catalogue import Catalogue, Problem
from processor.contracts.frames import FramedReader, WriterSchemas, is_framed
from processor.core.fields import ID_NAMES
from processor.core.messages import Outcome, RawRecord, Reason, Rejection, TrialReport
from processor.core.text import TooDeep, kind_of, storable
from processor.decode.digest import Digests
from processor.decode.envelope import COPIES, NO_ENVELOPE, Envelope, stored_bytes
from processor.decode.fast import column_defaults
from processor.decode.identity import find_run_id, identify
from processor.decode.rawjson import UNREADABLE, may_need_mending, read_leniently, read_strictly
from processor.decode.refused import Refused
from processor.decode.rules import RULES

#: what makes an object's fields storable: `as_it_is` or `mend`, as its bytes demand
Mend = Callable[[Mapping[str, Any]], Mapping[str, Any]]
#: a valid report's fields -> the schema version that wrote it, and the digest of what it was made from
Source = Callable[[Mapping[str, Any]], tuple[int, str]]

_MISSING: Any = object()
_PROBLEM_REASONS = {
    "unknown_schema": Reason.AVRO_UNKNOWN_SCHEMA,
    "unreadable": Reason.AVRO_UNREADABLE,
    "too_deep": Reason.TOO_DEEP,
}


class ThoroughReader:
    """Turns any record into reports and rejections. Raises `TransientError` only, for a registry that is down."""

    def __init__(
        self,
        catalogue: Catalogue,
        subject: str,
        digests: Digests,
        max_report_bytes: int,
        writer_schemas: WriterSchemas | None,
    ) -> None:
        self._digests, self._max_report_bytes = digests, max_report_bytes
        self._validate = catalogue.validator(subject)
        self._avro = FramedReader(catalogue, subject, writer_schemas)
        self._catalogue, self._subject = catalogue, subject
        defaults = catalogue.defaults(subject)
        self._plan = [(name, RULES[name], default) for name, default in column_defaults(catalogue, subject).items()]
        # fields of later schemas have no column: a default that everybody has is not worth storing, and a row written
        # before the field existed must still equal its report
        self._known = frozenset(catalogue.fields(subject))
        self._later = [(name, defaults.get(name, _MISSING)) for name in self._known - {*RULES, *ID_NAMES}]

    def record(self, record: RawRecord) -> list[Outcome]:
        """All reports of a record."""
        value = record.value
        try:
            if not value:
                raise Refused(Reason.EMPTY_VALUE, "the record has no value")
            return self._avro_report(record, value) if is_framed(value) else self._json_reports(record, value)
        except Refused as refused:
            return [refused.rejection(record, -1)]

    def part(self, record: RawRecord, index: int, value: bytes, envelope: Envelope) -> Outcome:
        """One report of an envelope that was taken apart before. Raises `Refused` where it is no JSON."""
        report, mend = _read(value)
        return self._json_report(record, index, report, mend, envelope)

    def has_room(self, kept: Mapping[str, Any], reports: int) -> bool:
        """Whether what an envelope holds may be stored with each of its reports."""
        return stored_bytes(kept) * reports <= COPIES * self._max_report_bytes

    def _json_reports(self, record: RawRecord, value: bytes) -> list[Outcome]:
        document, mend = _read(value)
        report = self._measured_report if len(value) > self._max_report_bytes else self._json_report
        if type(document) is dict and "trials" not in document:
            if len(value) > self._max_report_bytes:
                raise self._too_large(len(value))
            return [report(record, 0, document, mend, NO_ENVELOPE)]
        if type(document) is dict:
            reports = document["trials"]
            if type(reports) is not list:
                raise Refused(Reason.TRIALS_NOT_LIST, f"must be a list, not {kind_of(reports)}", "trials")
            envelope = self._envelope(document, len(reports), mend, self._digests.of(value))
        elif type(document) is list:
            reports, envelope = document, Envelope({}, {}, self._digests.of(value))
        else:
            raise Refused(Reason.NOT_OBJECT, f"the value is {kind_of(document)}, not an object or a list")
        return [report(record, index, one, mend, envelope) for index, one in enumerate(reports)]

    def _envelope(self, document: Mapping[str, Any], reports: int, mend: Mend, digest: str) -> Envelope:
        fields = {name: value for name, value in document.items() if name != "trials"}
        kept = mend(fields)
        if not self.has_room(kept, reports):
            size, limit = stored_bytes(kept), COPIES * self._max_report_bytes
            detail = f"the envelope's own fields, {size} bytes with each of {reports} reports, exceed {limit} bytes"
            raise Refused(Reason.TOO_LARGE, detail)
        return Envelope(fields, kept, digest)

    def _measured_report(self, record: RawRecord, index: int, report: Any, mend: Mend, envelope: Envelope) -> Outcome:
        """`_json_report` in a record that is larger than a report may be."""
        try:
            if type(report) is dict:
                self._check_size(report)
        except Refused as refused:
            return refused.rejection(record, index)
        return self._json_report(record, index, report, mend, envelope)

    def _json_report(self, record: RawRecord, index: int, report: Any, mend: Mend, envelope: Envelope) -> Outcome:
        if type(report) is not dict:
            detail = f"the report is {kind_of(report)}, not an object"
            return Rejection(record, index, Reason.REPORT_NOT_OBJECT, detail)
        return self._outcome(record, index, report, mend, envelope, partial(self._json_source, record, index, envelope))

    def _json_source(
        self, record: RawRecord, index: int, envelope: Envelope, fields: Mapping[str, Any]
    ) -> tuple[int, str]:
        whole = envelope.digest
        digest = self._digests.of_part(whole, index) if whole else self._digests.of(record.value or b"")
        return self._catalogue.version_of(self._subject, fields.keys()), digest

    def _avro_report(self, record: RawRecord, value: bytes) -> list[Outcome]:
        if len(value) > self._max_report_bytes:
            raise self._too_large(len(value))
        read = self._avro.read(value)
        if isinstance(read, Problem):
            raise _refusal(read)
        fields, version = read

        def source(_fields: Mapping[str, Any]) -> tuple[int, str]:
            # what Avro's bytes mean is said by a schema that may lie in a registry, which may be set right
            return version, self._digests.of(msgspec.msgpack.encode(fields))

        return [self._outcome(record, 0, fields, _mend, NO_ENVELOPE, source)]

    def _outcome(
        self,
        record: RawRecord,
        index: int,
        raw: Mapping[str, Any],
        mend: Mend,
        envelope: Envelope,
        source_of: Source,
    ) -> Outcome:
        """One report as it came.

        1. whose it is; 2. what Postgres can hold; 3. the rule of each field; 4. the schema; 5. what is left over;
        6. by which version, and from what, it was made.
        """
        try:
            trial_id = _trial_id(raw)
            run_id, place, found = find_run_id(record, raw, envelope.fields)
            fields = mend(raw)
            bent = [] if trial_id is raw["trial_id"] else ["trial_id"]
            if run_id is not found:
                bent.append("run_id")
            if fields is not raw:
                bent += [name for name, _, _ in self._plan if name in raw and fields[name] != raw[name]]
            content = self._normalise(trial_id, run_id, fields, bent)
            problem = self._validate(content)
            if problem is not None:
                raise _refusal(problem)
        except Refused as refused:
            return refused.rejection(record, index)
        extra, rest = self._extra(fields, place), envelope.rest(run_id)
        version, digest = source_of(fields)
        return TrialReport(record, index, run_id, trial_id, content, version, extra, rest, tuple(bent), digest)

    def _normalise(self, trial_id: str, run_id: str, fields: Mapping[str, Any], bent: list[str]) -> dict[str, Any]:
        """The content of the latest schema; `bent` gets the names of the fields that had to be changed."""
        content: dict[str, Any] = {"trial_id": trial_id, "run_id": run_id}
        get, name = fields.get, ""
        try:
            for name, (plain, bend, _), default in self._plan:
                value = get(name, _MISSING)
                if value is _MISSING:
                    content[name] = default
                elif type(value) is plain:
                    content[name] = value
                else:
                    content[name] = new = bend(value)
                    if new is not value and name not in bent:
                        bent.append(name)
        except Refused as refused:
            raise refused.at(name) from None
        for name, default in self._later:
            value = get(name, default)
            if value is not _MISSING and value != default:
                content[name] = value
        return content

    def _extra(self, fields: Mapping[str, Any], place: str) -> dict[str, Any] | None:
        """What the report holds beyond the schema."""
        if fields.keys() <= self._known:
            return None
        used = "model_run_id" if place == "report.model_run_id" else None
        return {name: fields[name] for name in fields if name not in self._known and name != used} or None

    def _check_size(self, report: Mapping[str, Any]) -> None:
        try:
            size = len(msgspec.json.encode(report))
        except (ValueError, OverflowError, RecursionError):  # what only the lenient reader takes
            size = len(msgspec.json.encode(_mend(report)))
        if size > self._max_report_bytes:
            raise self._too_large(size)

    def _too_large(self, size: int) -> Refused:
        limit = self._max_report_bytes
        return Refused(Reason.TOO_LARGE, f"the report has {size} bytes; MAX_REPORT_BYTES allows {limit}")


def _read(value: bytes) -> tuple[Any, Mend]:
    """The JSON value, and what its objects need to be storable. Raises `Refused` where it is no JSON at all."""
    try:
        return read_strictly(value), _mend if may_need_mending(value) else _as_it_is
    except UNREADABLE:
        return read_leniently(value), _mend


def _trial_id(report: Mapping[str, Any]) -> str:
    trial_id = report.get("trial_id")
    if trial_id is None or trial_id == "":
        raise Refused(Reason.MISSING_TRIAL_ID, "the report has no trial_id", "trial_id")
    return identify(trial_id, "trial_id")


def _refusal(problem: Problem) -> Refused:
    reason = _PROBLEM_REASONS.get(problem.kind, Reason.SCHEMA_MISMATCH)
    return Refused(reason, problem.message, problem.path)


def _as_it_is(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return fields


def _mend(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields as Postgres can hold them; the report (or the envelope) itself is no level of nesting.

    A bare number under a name that has a rule is left to the rule: a long id is not to become a double, nor NaN a text.
    """
    mended = {}
    for name, value in fields.items():
        name = storable(name)
        ruled = type(value) in (int, float) and name in RULES
        try:
            mended[name] = value if ruled else storable(value)
        except TooDeep as error:
            raise Refused(Reason.TOO_DEEP, str(error), name[:200]) from None
    return mended
