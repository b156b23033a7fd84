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
from processor.core.fields import TRIAL
from processor.core.messages import Outcome, RawRecord, Reason, Rejection, TrialReport
from processor.core.numbers import to_json
from processor.core.text import brief, kind_of
from processor.decode.boxes import unboxed
from processor.decode.digest import Digests
from processor.decode.envelope import COPIES, NO_ENVELOPE, Envelope, stored_bytes
from processor.decode.identity import find_run_id, find_trial_id, number_in_study
from processor.decode.kinds import SUBJECTS, called
from processor.decode.life import LifeReader
from processor.decode.mending import Mend, as_it_is, mended, mended_quickly
from processor.decode.normalise import Normal, Normaliser
from processor.decode.rawjson import UNREADABLE, may_need_mending, read_fields, read_leniently, read_strictly
from processor.decode.refused import Refused, refusal
from processor.decode.rules import RULES
from processor.decode.split import check_number
from processor.decode.wrappers import is_wide, name_bytes, name_text

#: a valid report's fields -> the schema version that wrote it, and the digest of what it was made from
Source = Callable[[Mapping[str, Any]], tuple[int, str]]


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
        self._avro = FramedReader(catalogue, SUBJECTS, writer_schemas)
        self._normalise = Normaliser(catalogue, TRIAL)
        self._life = LifeReader(catalogue)
        self._catalogue, self._subject = catalogue, subject

    def record(self, record: RawRecord, value: bytes) -> list[Outcome]:
        """All reports of a record whose value is this. Raises `Refused` where it is rejected as a whole."""
        if not value:
            raise Refused(Reason.EMPTY_VALUE, "the record has no value")
        if len(value) > self._max_report_bytes:
            raise self.too_large(len(value))
        if is_framed(value):
            return self._avro_reports(record, value)
        document, mend = self._read(value)
        return self._document(record, document, mend, partial(self._digests.of, value))

    def part(self, record: RawRecord, index: int, value: bytes, envelope: Envelope) -> Outcome:
        """One report of an envelope that was taken apart before. Raises `Refused` where it is no JSON."""
        if len(value) > self._max_report_bytes:
            return self.too_large(len(value)).rejection(record, index)
        report, mend = self._read(value)
        return self._report(record, index, report, mend, envelope)

    def envelope(self, fields: Mapping[str, Any], reports: int, digest: str, mend: Mend = mended) -> Envelope:
        """What stands around so many reports. Raises `Refused` where it would be stored too often."""
        kept = mend(fields, ())  # no rule is applied to these
        if not self.has_room(kept, reports):
            size, limit = stored_bytes(kept), COPIES * self._max_report_bytes
            detail = f"the envelope's own fields, {size} bytes with each of {reports} reports, exceed {limit} bytes"
            raise Refused(Reason.TOO_LARGE, detail)
        return Envelope(fields, kept, digest)

    def has_room(self, kept: Mapping[str, Any], reports: int) -> bool:
        """Whether what an envelope holds may be stored with each of its reports."""
        return stored_bytes(kept) * reports <= COPIES * self._max_report_bytes

    def too_large(self, size: int) -> Refused:
        limit = self._max_report_bytes
        return Refused(Reason.TOO_LARGE, f"the report has {size} bytes; MAX_REPORT_BYTES allows {limit}")

    def _read(self, value: bytes) -> tuple[Any, Mend]:
        """The JSON value, and what its objects need to be storable. Raises `Refused` where it is no JSON at all."""
        needs_mending = may_need_mending(value)
        try:
            if not needs_mending and value[:1] == b"{":
                return read_fields(value, self._normalise.texts), as_it_is
            return read_strictly(value), mended if needs_mending else as_it_is
        except UNREADABLE:
            return read_leniently(value), mended

    def _document(self, record: RawRecord, document: Any, mend: Mend, digest: Callable[[], str]) -> list[Outcome]:
        """The reports of a document; `digest` is of all of it."""
        if type(document) is dict and "trials" not in document:
            return [self._report(record, 0, document, mend, NO_ENVELOPE, digest)]
        fields: dict[str, Any] = {}
        if type(document) is dict:
            reports = document["trials"]
            if type(reports) is not list:
                raise Refused(Reason.TRIALS_NOT_LIST, f"must be a list, not {kind_of(reports)}", "trials")
            fields = {name: value for name, value in document.items() if name != "trials"}
        elif type(document) is list:
            reports = document
        else:
            named = name_text(document) if type(document) is str else ""
            raise Refused(Reason.NOT_OBJECT, named or f"the value is {kind_of(document)}, not an object or a list")
        check_number(len(reports))
        envelope = self.envelope(fields, len(reports), digest(), mend)
        return [self._report(record, index, one, mend, envelope) for index, one in enumerate(reports)]

    def _report(
        self,
        record: RawRecord,
        index: int,
        report: Any,
        mend: Mend,
        envelope: Envelope,
        digest: Callable[[], str] | None = None,
    ) -> Outcome:
        if type(report) is not dict:
            detail = f"the report is {kind_of(report)}, not an object"
            return Rejection(record, index, Reason.REPORT_NOT_OBJECT, detail)
        digest = digest or partial(self._digests.of_part, envelope.digest, index)
        return self._outcome(record, index, report, mend, envelope, partial(self._source, digest))

    def _source(self, digest: Callable[[], str], fields: Mapping[str, Any]) -> tuple[int, str]:
        return self._catalogue.version_of(self._subject, fields.keys()), digest()

    def _avro_reports(self, record: RawRecord, value: bytes) -> list[Outcome]:
        if is_wide(value):
            raise Refused(Reason.NOT_JSON, name_bytes(value))
        read = self._avro.read(value)
        if isinstance(read, Problem):
            raise refusal(read)
        document, version, subject = read

        if type(document) is not dict or "trials" in document:
            # Python's own form, which tells NaN from null and a decimal from its text
            whole = repr(document).encode("utf-8", "surrogatepass")
            return self._document(record, document, mended_quickly, partial(self._digests.of, whole))

        def source(fields: Mapping[str, Any]) -> tuple[int, str]:
            # what Avro's bytes mean is said by a schema that may lie in a registry, which may be set right; where JSON
            # says null a field may still be NaN
            nans = [name for name, value in fields.items() if value != value]
            return version, self._digests.of(to_json((nans, fields)))

        outcome = self._outcome(record, 0, document, mended_quickly, NO_ENVELOPE, source, subject, version)
        if type(outcome) is Rejection and outcome.reason is Reason.MISSING_TRIAL_ID and "trial_id" not in document:
            names = brief(", ".join(document))
            detail = f"the writer's schema has no trial_id; its fields are {names}"
            return [Refused(Reason.SCHEMA_MISMATCH, detail, "trial_id").rejection(record, 0)]
        return [outcome]

    def _outcome(
        self,
        record: RawRecord,
        index: int,
        raw: Mapping[str, Any],
        mend: Mend,
        envelope: Envelope,
        source_of: Source,
        subject: str = TRIAL.subject,
        version: int | None = None,
    ) -> Outcome:
        """One report as it came; `subject` and `version` are those of the schema that wrote it, where one did.

        1. what it is one; 2. whose it is; 3. what Postgres can hold; 4. the rule of each field; 5. the schema; 6. what
        is left over; 7. by which version, and from what, it was made.
        """
        try:
            kind, event = called(raw, envelope.fields, subject)
            if kind is not TRIAL:
                return self._life.read(kind, record, index, raw, mend, envelope, version)
            trial_id = find_trial_id(raw)
            run_id, place, found = find_run_id(record, raw, envelope.fields)
            fields = mend(raw, RULES)
            bent = [] if trial_id is not None and trial_id is raw["trial_id"] else ["trial_id"]
            if run_id is not found:
                bent.append("run_id")
            bent += self._normalise.mended(fields, raw)
            is_numbered = trial_id is None
            if trial_id is None:
                trial_id = number_in_study(raw, envelope.fields, run_id)
            normal = self._normalise({"trial_id": trial_id, "run_id": run_id}, fields, event, bent)
            problem = self._validate(self._without_texts(normal.content))
            if problem is not None:
                raise refusal(problem)
        except Refused as refused:
            return refused.rejection(record, index)
        if place == "report.model_run_id":
            normal.used.add("model_run_id")
        if is_numbered:
            normal.used.add("number")
        return self._made(record, index, fields, normal, envelope, source_of)

    def _without_texts(self, content: dict[str, Any]) -> dict[str, Any]:
        """For the validator, to which any JSON object is as good as an empty one where a field is kept as text."""
        checked = content.copy()
        for name in self._normalise.texts:
            if type(checked[name]) is msgspec.Raw:
                checked[name] = {}
        return checked

    def _made(
        self,
        record: RawRecord,
        index: int,
        fields: Mapping[str, Any],
        normal: Normal,
        envelope: Envelope,
        source_of: Source,
    ) -> TrialReport:
        content, bent = normal.content, tuple(normal.bent)
        run_id, trial_id = content["run_id"], content["trial_id"]
        extra, rest = self._normalise.extra(fields, normal), envelope.rest(run_id)
        version, digest = source_of(fields)
        reported = unboxed(fields.get("spectral_norm")) is not None and "spectral_norm" not in normal.kept
        return TrialReport(record, index, run_id, trial_id, content, version, extra, rest, bent, digest, reported)
