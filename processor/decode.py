"""RawRecord -> list[TrialReport | Rejection]; pure, and total: whatever a record holds, nothing is raised for it.

Most reports take the short way (`plain`): read and checked at once. The thorough way is for what has to be mended or
bent, for what is wrong, and for what the short way does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from processor.catalogue import Catalogue, Problem
from processor.messages import RawRecord, Reason, Rejection, TrialReport
from processor.normalise import LONG_MAX, LONG_MIN, RULES, Refused, identifier, kind_of, storable
from processor.plain import ID_FIELDS, PlainReader, column_defaults
from processor.rawjson import may_need_mending, read_json, read_leniently

SUBJECT = "trial_report"
SINGLE_OBJECT_MARKER = b"\xc3\x01"  # Avro specification, "Single-object encoding"
CONFLUENT_MAGIC = 0
#: part of every report's digest. Raise it with any change of what the same bytes become (a test tells when): the rows
#: that are there are then compared with their reports by content, once read again
RULES_VERSION = 1

Outcome = TrialReport | Rejection
Decode = Callable[[RawRecord], Sequence[Outcome]]
#: schema id -> the writer's schema as JSON, None where the registry has none; raises TransientError when it is down
WriterSchemas = Callable[[int], Mapping[str, Any] | None]

_MISSING: Any = object()
_PROBLEM_REASONS = {
    "unknown_schema": Reason.AVRO_UNKNOWN_SCHEMA,
    "unreadable": Reason.AVRO_UNREADABLE,
    "too_deep": Reason.TOO_DEEP,
}
#: records that are looked through at once: as many as a depth of 200 allows reports with a dozen brackets each
_GROUP_RECORDS, _GROUP_BYTES = 16, 64 * 1024
#: an envelope's own fields are stored with each of its reports: together they may be this many times the largest report
_ENVELOPE_COPIES = 16


class Envelope(NamedTuple):
    """What stands around the reports of one record: `fields` as they came, `kept` as they can be stored.

    `digest` is the whole record's, "" where it is one report.
    """

    fields: Mapping[str, Any]
    kept: Mapping[str, Any]
    digest: str


_NO_ENVELOPE = Envelope({}, {}, "")


class Decoder:
    """Turns records into reports; holds nothing but the compiled schemas, so one serves any number of threads."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        max_report_bytes: int = 1024 * 1024,
        writer_schemas: WriterSchemas | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._validate = catalogue.validator(SUBJECT)
        self._max_report_bytes = max_report_bytes
        self._writer_schemas = writer_schemas
        self._plain = PlainReader(catalogue, SUBJECT)
        rules = msgspec.json.encode((RULES_VERSION, catalogue.latest(SUBJECT).definition), order="deterministic")
        self._begun_digest = blake2b(digest_size=16, person=blake2b(rules, digest_size=blake2b.PERSON_SIZE).digest())
        defaults = catalogue.defaults(SUBJECT)
        self._plan = [(name, RULES[name], default) for name, default in column_defaults(catalogue, SUBJECT).items()]
        # fields of later schemas have no column: a default that everybody has is not worth storing, and a row written
        # before the field existed must still equal its report
        self._known = frozenset(catalogue.fields(SUBJECT))
        self._later = [(name, defaults.get(name, _MISSING)) for name in self._known - {*RULES, *ID_FIELDS}]

    def __call__(self, record: RawRecord) -> list[Outcome]:
        """All reports of the record, each a `TrialReport` or a `Rejection`, in the record's order.

        Raises `TransientError` only, when a schema registry has to be asked and does not answer.
        """
        return self._outcomes(record, sound=False)

    def each(self, records: Sequence[RawRecord]) -> Iterator[list[Outcome]]:
        """What a call with each of the records returns (or raises), for a fifth less: most need no mending together."""
        for start in range(0, len(records), _GROUP_RECORDS):
            group = records[start : start + _GROUP_RECORDS]
            values = [record.value or b"" for record in group]
            sound = sum(map(len, values)) <= _GROUP_BYTES and not may_need_mending(b"\n".join(values))
            for record in group:
                yield self._outcomes(record, sound)

    def _outcomes(self, record: RawRecord, sound: bool) -> list[Outcome]:
        """`sound`: it is known that the value needs no mending."""
        value = record.value
        try:
            if not value:
                raise Refused(Reason.EMPTY_VALUE, "the record has no value")
            if value[0] == CONFLUENT_MAGIC or value[:2] == SINGLE_OBJECT_MARKER:
                return self._avro_report(record, value)
            sound = sound or not may_need_mending(value)
            if len(value) <= self._max_report_bytes:
                one = self._plain.read(value) if sound else None
                if one:
                    return [self._plain_report(record, 0, *one, _NO_ENVELOPE)]
                if one == ():
                    return self._json_reports(record, value, read_leniently(value), True)
                plain = self._plain_envelope(record, value)
                if plain is not None:
                    return plain
            return self._json_reports(record, value, *read_json(value, sound=sound))
        except Refused as refused:
            return [Rejection(record, -1, refused.reason, refused.detail, refused.path)]

    def _plain_envelope(self, record: RawRecord, value: bytes) -> list[Outcome] | None:
        """The short way for many reports in one record; None where it does not lead through."""
        if value[:1] != b"[" and b'"trials"' not in value:
            return None
        parts = self._plain.split(value)
        if parts is None or not self._is_plain_envelope(*parts):
            return None
        envelope = Envelope(parts[0], parts[0], self._digest(value))
        try:
            return [self._part(record, index, bytes(report), envelope) for index, report in enumerate(parts[1])]
        except Refused:  # a part is no JSON, so the record is none: the thorough way says where
            return None

    def _is_plain_envelope(self, fields: Mapping[str, Any], reports: Sequence[Any]) -> bool:
        """Whether the ids around the reports can be stored as they are, with each of the reports."""
        for value in fields.values():
            if type(value) is int and LONG_MIN <= value <= LONG_MAX:
                continue
            if type(value) is not str or storable(value) != value:
                return False
        return self._has_room(fields, len(reports))

    def _has_room(self, kept: Mapping[str, Any], reports: int) -> bool:
        """Whether what an envelope holds may be stored with each of its reports."""
        return not kept or len(msgspec.json.encode(kept)) * reports <= _ENVELOPE_COPIES * self._max_report_bytes

    def _part(self, record: RawRecord, index: int, value: bytes, envelope: Envelope) -> Outcome:
        sound = not may_need_mending(value)
        if sound and value[:1] == b"{":
            plain = self._plain.read(value)
            if plain:
                return self._plain_report(record, index, *plain, envelope)
        report, suspect = read_json(value, sound=sound)
        return self._outcome(record, index, report, envelope, suspect, None)

    def _plain_report(
        self, record: RawRecord, index: int, content: dict[str, Any], version: int, envelope: Envelope
    ) -> Outcome:
        run_id: Any = content["run_id"]
        bent: tuple[str, ...] = ()
        if run_id is msgspec.UNSET:
            try:
                run_id, _, found = _find_run_id(record, {}, envelope.fields)
            except Refused as refused:
                return Rejection(record, index, refused.reason, refused.detail, refused.path)
            content["run_id"] = run_id
            bent = () if found is run_id else ("run_id",)
        rest = self._leftovers({}, envelope.kept, "", run_id)[1] if envelope.fields else None
        digest = self._digest_of(record, index, envelope)
        return TrialReport(record, index, run_id, content["trial_id"], content, version, None, rest, bent, digest)

    def _digest(self, source: bytes) -> str:
        digest = self._begun_digest.copy()
        digest.update(source)
        return digest.hexdigest()

    def _digest_of(self, record: RawRecord, index: int, envelope: Envelope) -> str:
        """Of one report; where a record holds many, its bytes are gone through once for all of them."""
        return self._digest(f"{envelope.digest}/{index}".encode() if envelope.digest else record.value or b"")

    def _json_reports(self, record: RawRecord, value: bytes, document: Any, suspect: bool) -> list[Outcome]:
        oversized = len(value) > self._max_report_bytes
        if type(document) is dict and "trials" not in document:
            if oversized:
                raise self._too_large(len(value))
            return [self._outcome(record, 0, document, _NO_ENVELOPE, suspect, None)]
        if type(document) is dict:
            reports = document["trials"]
            if type(reports) is not list:
                raise Refused(Reason.TRIALS_NOT_LIST, f"must be a list, not {kind_of(reports)}", "trials")
            envelope = self._envelope(document, len(reports), suspect, self._digest(value))
        elif type(document) is list:
            reports, envelope = document, Envelope({}, {}, self._digest(value))
        else:
            raise Refused(Reason.NOT_OBJECT, f"the value is {kind_of(document)}, not an object or a list")
        return [
            self._outcome(record, index, report, envelope, suspect, None, measure=oversized)
            for index, report in enumerate(reports)
        ]

    def _envelope(self, document: dict[str, Any], reports: int, suspect: bool, digest: str) -> Envelope:
        fields = {name: value for name, value in document.items() if name != "trials"}
        kept = _mend(fields) if suspect else fields
        if not self._has_room(kept, reports):
            size, limit = len(msgspec.json.encode(kept)), _ENVELOPE_COPIES * self._max_report_bytes
            detail = f"the envelope's own fields, {size} bytes with each of {reports} reports, exceed {limit} bytes"
            raise Refused(Reason.TOO_LARGE, detail)
        return Envelope(fields, kept, digest)

    def _avro_report(self, record: RawRecord, value: bytes) -> list[Outcome]:
        if len(value) > self._max_report_bytes:
            raise self._too_large(len(value))
        read: tuple[dict[str, Any], int] | Problem
        if value[0] == CONFLUENT_MAGIC:
            read = self._read_confluent(value)
        else:
            read = self._catalogue.read_single_object(SUBJECT, value)
        if isinstance(read, Problem):
            reason = _PROBLEM_REASONS.get(read.kind, Reason.SCHEMA_MISMATCH)
            raise Refused(reason, read.message, read.path)
        fields, version = read
        return [self._outcome(record, 0, fields, _NO_ENVELOPE, True, version)]

    def _read_confluent(self, value: bytes) -> tuple[dict[str, Any], int] | Problem:
        if len(value) < 5:
            return Problem(path="", message="Avro ends before its 4-byte schema id", kind="unreadable")
        schema_id = int.from_bytes(value[1:5], "big")
        if self._writer_schemas is None:
            message = f"Avro with schema id {schema_id}, but no schema registry is set (SCHEMA_REGISTRY_URL)"
            return Problem(path="", message=message, kind="unknown_schema")
        writer = self._writer_schemas(schema_id)
        if writer is None:
            message = f"the schema registry knows no schema with id {schema_id}"
            return Problem(path="", message=message, kind="unknown_schema")
        return self._catalogue.read_confluent(SUBJECT, value, dict(writer))

    def _outcome(
        self,
        record: RawRecord,
        index: int,
        report: Any,
        envelope: Envelope,
        suspect: bool,
        version: int | None,
        measure: bool = False,
    ) -> Outcome:
        try:
            if type(report) is not dict:
                raise Refused(Reason.REPORT_NOT_OBJECT, f"the report is {kind_of(report)}, not an object")
            if measure:
                self._check_size(report)
            return self._report(record, index, report, envelope, suspect, version)
        except Refused as refused:
            return Rejection(record, index, refused.reason, refused.detail, refused.path)

    def _report(
        self,
        record: RawRecord,
        index: int,
        raw: dict[str, Any],
        envelope: Envelope,
        suspect: bool,
        version: int | None,
    ) -> TrialReport:
        trial_id: Any = raw.get("trial_id")
        run_id: Any = raw.get("run_id")
        source, found = "report.run_id", run_id
        # what is not suspect holds neither NUL nor half surrogates: a text that is there is an id
        if suspect or type(trial_id) is not str or not trial_id:
            if trial_id is None or trial_id == "":
                raise Refused(Reason.MISSING_TRIAL_ID, "the report has no trial_id", "trial_id")
            trial_id = _identify(trial_id, "trial_id")
        if suspect or type(run_id) is not str or not run_id:
            run_id, source, found = _find_run_id(record, raw, envelope.fields)
        fields = raw
        bent: list[str] = [] if trial_id is raw["trial_id"] else ["trial_id"]
        if found is not run_id:
            bent.append("run_id")
        if suspect:
            fields = _mend(raw)
            bent += [name for name, _, _ in self._plan if name in raw and fields[name] != raw[name]]
        content = self._normalise(trial_id, run_id, fields, bent)
        problem = self._validate(content)
        if problem is not None:
            reason = _PROBLEM_REASONS.get(problem.kind, Reason.SCHEMA_MISMATCH)
            raise Refused(reason, problem.message, problem.path)
        if version is None:
            version = self._catalogue.version_of(SUBJECT, fields.keys())
            digest = self._digest_of(record, index, envelope)
        else:  # what Avro's bytes mean is said by a schema that may lie in a registry, which may be set right
            digest = self._digest(msgspec.msgpack.encode(raw))
        extra, rest = self._leftovers(fields, envelope.kept, source, run_id)
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
            raise Refused(refused.reason, refused.detail, name) from None
        for name, default in self._later:
            value = get(name, default)
            if value is not _MISSING and value != default:
                content[name] = value
        return content

    def _leftovers(
        self, fields: Mapping[str, Any], envelope: Mapping[str, Any], source: str, run_id: str
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """What the report and its envelope hold beyond the schema: nothing is dropped."""
        extra = None
        if not fields.keys() <= self._known:
            used = "model_run_id" if source == "report.model_run_id" else None
            extra = {name: fields[name] for name in fields if name not in self._known and name != used}
        rest = None
        if envelope:
            ids = ("run_id", "model_run_id")
            rest = {name: envelope[name] for name in envelope if name not in ids or envelope[name] != run_id}
        return extra or None, rest or None

    def _check_size(self, report: dict[str, Any]) -> None:
        try:
            size = len(msgspec.json.encode(report))
        except (ValueError, OverflowError, RecursionError):  # what only the lenient reader takes
            size = len(msgspec.json.encode(_mend(report)))
        if size > self._max_report_bytes:
            raise self._too_large(size)

    def _too_large(self, size: int) -> Refused:
        limit = self._max_report_bytes
        return Refused(Reason.TOO_LARGE, f"the report has {size} bytes; MAX_REPORT_BYTES allows {limit}")


def _identify(value: Any, path: str) -> str:
    try:
        return identifier(value)
    except Refused as refused:
        raise Refused(refused.reason, refused.detail, path) from None


def _mend(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as Postgres can hold them; the report (or the envelope) itself is no level of nesting.

    A bare number under a name that has a rule is left to the rule: a long id is not to become a double, nor NaN a text.
    """
    mended = {}
    for name, value in fields.items():
        name = storable(name)
        ruled = type(value) in (int, float) and name in RULES
        try:
            mended[name] = value if ruled else storable(value)
        except Refused as refused:
            raise Refused(refused.reason, refused.detail, name[:200]) from None
    return mended


def _find_run_id(record: RawRecord, report: Mapping[str, Any], envelope: Mapping[str, Any]) -> tuple[str, str, Any]:
    """The run's id, where it was found, and as what; the places are looked up in the order that the design fixes."""
    for place, holder in (("report", report), ("envelope", envelope)):
        for name in ("run_id", "model_run_id"):
            value = holder.get(name)
            if value is not None and value != "":
                run_id = _identify(value, name if place == "report" else f"envelope.{name}")
                return run_id, f"{place}.{name}", value
    for name, header in record.headers:
        if name == "run_id" and header:
            run_id = _identify(_text(header, "headers.run_id"), "headers.run_id")
            return run_id, "header", run_id
    if record.key:
        run_id = _identify(_text(record.key, "key"), "key")
        return run_id, "key", run_id
    raise Refused(
        Reason.MISSING_RUN_ID,
        "no run_id in the report, its envelope, the record's headers or its key",
        "run_id",
    )


def _text(value: bytes, path: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused(Reason.INVALID_ID, f"a run id must be UTF-8, not {value[:30]!r}", path) from None
