"""RawRecord -> list[TrialReport | Rejection]; pure, and total: whatever a record holds, nothing is raised for it.

Each report goes the fast way first (`fast`), which reads and checks it at once, and the thorough way (`thorough`) where
the fast one gives None: what has to be mended or bent, and what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from processor.contracts.catalogue import Catalogue
from processor.contracts.frames import WriterSchemas, behind_prefix, is_framed
from processor.core.messages import Outcome, RawRecord, Reason, TrialReport
from processor.core.numbers import LONG_MAX, LONG_MIN
from processor.core.text import storable
from processor.decode.digest import Digests
from processor.decode.envelope import NO_ENVELOPE, Envelope
from processor.decode.fast import Decoded, FastReader
from processor.decode.fast_metric import MARK, MAX_PLAIN_BYTES, MetricReader
from processor.decode.gather import gathered
from processor.decode.identity import find_run_id
from processor.decode.rawjson import may_need_mending
from processor.decode.refused import Refused
from processor.decode.split import MAX_REPORTS, check_number, split_leniently
from processor.decode.thorough import ThoroughReader

SUBJECT = "trial_report"
Decode = Callable[[RawRecord], Sequence[Outcome]]
#: an envelope may be so many times as large as the largest report
REPORTS_A_RECORD = 16
#: a list of no more values is taken apart in one go: 60 bytes a value, whatever it is
MAX_COMMAS = 12 * MAX_REPORTS
#: records that are looked through at once: as many as a depth of 200 allows reports with a dozen brackets each
_GROUP_RECORDS, _GROUP_BYTES = 16, 64 * 1024


class Decoder:
    """Turns records into reports; holds nothing but the compiled schemas, so one serves any number of threads."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        max_report_bytes: int = 1024 * 1024,
        max_record_bytes: int | None = None,
        writer_schemas: WriterSchemas | None = None,
    ) -> None:
        """A record is `REPORTS_A_RECORD` times the largest report at the most, unless `max_record_bytes` says more."""
        self._max_report_bytes = max_report_bytes
        self._max_record_bytes = max_record_bytes or REPORTS_A_RECORD * max_report_bytes
        self._digests = Digests(catalogue.latest(SUBJECT).definition)
        self._fast = FastReader(catalogue, SUBJECT)
        self._metrics = MetricReader(catalogue)
        self._max_metric_bytes = min(MAX_PLAIN_BYTES, max_report_bytes)
        self._thorough = ThoroughReader(catalogue, SUBJECT, self._digests, max_report_bytes, writer_schemas)

    def __call__(self, record: RawRecord) -> list[Outcome]:
        """All reports of the record, each a `TrialReport` or a `Rejection`, in the record's order.

        Raises `TransientError` only, when a schema registry has to be asked and does not answer.
        """
        value = record.value or b""
        return self._outcomes(record, value, self._read_fast(value, may_need_mending))

    def each(self, records: Sequence[RawRecord]) -> Iterator[list[Outcome]]:
        """What a call with each of the records returns (or raises), for a fifth less: most need no mending together."""
        for start in range(0, len(records), _GROUP_RECORDS):
            group = records[start : start + _GROUP_RECORDS]
            values = [record.value or b"" for record in group]
            none_does = sum(map(len, values)) <= _GROUP_BYTES and not may_need_mending(b"\n".join(values))
            look = _needs_none if none_does else may_need_mending
            for record, value in zip(group, values, strict=True):
                yield self._outcomes(record, value, self._read_fast(value, look))

    def _read_fast(self, value: bytes, look: Callable[[bytes], bool]) -> Decoded | None:
        if not value or len(value) > self._max_report_bytes or is_framed(value) or look(value):
            return None
        return self._fast.read(value)

    def _outcomes(self, record: RawRecord, value: bytes, decoded: Decoded | None) -> list[Outcome]:
        if decoded is not None:
            return [self._made(record, 0, decoded, NO_ENVELOPE)]
        metric = self._metric(record, 0, value, NO_ENVELOPE)
        if metric is not None:
            return [metric]
        try:
            if len(value) > self._max_record_bytes:
                raise self._record_too_large(len(value))
            if (inner := behind_prefix(value)) is not None:
                return self._json_behind_prefix(record, inner, value)
            return self._reports(record, value)
        except Refused as refused:
            return [refused.rejection(record, -1)]

    def _json_behind_prefix(self, record: RawRecord, inner: bytes, value: bytes) -> list[Outcome]:
        decoded = self._read_fast(inner, may_need_mending)
        if decoded is not None:
            return [self._made(record, 0, decoded, NO_ENVELOPE)]
        try:
            return self._reports(record, inner)
        except Refused as refused:
            if refused.reason is not Reason.NOT_JSON:
                raise
        return self._reports(record, value)  # Avro that begins and ends like JSON

    def _reports(self, record: RawRecord, value: bytes) -> list[Outcome]:
        """The reports of a value; raises `Refused` where it is rejected as a whole."""
        outcomes = self._many(record, value)
        if outcomes is None:
            outcomes = self._thorough.record(record, value)
        return gathered(record, outcomes, "trials" if value[:1] == b"{" else "")

    def _record_too_large(self, size: int) -> Refused:
        detail = f"the record has {size} bytes; MAX_RECORD_BYTES allows {self._max_record_bytes}"
        return Refused(Reason.TOO_LARGE, detail)

    def _many(self, record: RawRecord, value: bytes) -> list[Outcome] | None:
        """Many reports in one record, each read by itself; None where they can't be told apart that way.

        Raises `Refused` where the record is rejected as a whole.
        """
        if not value or is_framed(value):
            return None
        split = self._split(value)
        if split is not None:
            fields, reports = split
            digest = self._digests.of(value)
            plain = all(map(_is_storable_id, fields.values()))
            envelope = Envelope(fields, fields, digest) if plain else None
            if envelope is None or not self._thorough.has_room(fields, len(reports)):
                envelope = self._thorough.envelope(fields, len(reports), digest)
            try:
                return [self._part(record, index, bytes(report), envelope) for index, report in enumerate(reports)]
            except Refused:  # a part is no JSON, so the record is none: the other ways say where
                pass
        return self._parts(record, value) if len(value) > self._max_report_bytes else None

    def _split(self, value: bytes) -> tuple[Mapping[str, Any], Sequence[msgspec.Raw]] | None:
        """The quick way to take a record apart: where nothing around the reports has to be mended."""
        if (value[:1] != b"[" and b'"trials"' not in value) or value.count(b",") > MAX_COMMAS:
            return None
        split = self._fast.split(value, self._max_report_bytes)
        if split is not None:
            check_number(len(split[1]))
        return split

    def _parts(self, record: RawRecord, value: bytes) -> list[Outcome] | None:
        """A record that is larger than a report may be is never in memory as a whole, taken apart or not."""
        if b'"trials"' not in value and value[:1] == b"{":
            raise self._thorough.too_large(len(value))
        split = split_leniently(value, self._max_report_bytes)
        if split is None or split.reports is None:
            return None
        envelope = self._thorough.envelope(split.fields, len(split.reports), self._digests.of(value))
        outcomes: list[Outcome] = []
        for index, report in enumerate(split.reports):
            try:
                outcomes.append(self._part(record, index, report, envelope))
            except Refused as refused:
                raise Refused(refused.reason, f"report {index}: {refused.detail}") from None
        return outcomes

    def _part(self, record: RawRecord, index: int, value: bytes, envelope: Envelope) -> Outcome:
        is_plain = value[:1] == b"{" and len(value) <= self._max_report_bytes and not may_need_mending(value)
        decoded = self._fast.read(value) if is_plain and "event" not in envelope.fields else None
        if decoded is not None:
            return self._made(record, index, decoded, envelope)
        metric = self._metric(record, index, value, envelope)
        return metric if metric is not None else self._thorough.part(record, index, value, envelope)

    def _metric(self, record: RawRecord, index: int, value: bytes, envelope: Envelope) -> Outcome | None:
        """What is no trial's report is often a metric, and then plain."""
        if len(value) > self._max_metric_bytes or MARK not in value or may_need_mending(value):
            return None
        return self._metrics.read(record, index, value, envelope)

    def _made(self, record: RawRecord, index: int, decoded: Decoded, envelope: Envelope) -> Outcome:
        """The report that was read; its run's id may stand elsewhere."""
        content, version, reported = decoded
        run_id: Any = content["run_id"]
        bent: tuple[str, ...] = ()
        if run_id is msgspec.UNSET:
            try:
                run_id, _, found = find_run_id(record, {}, envelope.fields)
            except Refused as refused:
                return refused.rejection(record, index)
            content["run_id"] = run_id
            bent = () if found is run_id else ("run_id",)
        rest = envelope.rest(run_id) if envelope.kept else None
        whole = envelope.digest
        digest = self._digests.of_part(whole, index) if whole else self._digests.of(record.value or b"")
        trial_id = content["trial_id"]
        return TrialReport(record, index, run_id, trial_id, content, version, None, rest, bent, digest, reported)


def _needs_none(_value: bytes) -> bool:
    """For values that were looked through before."""
    return False


def _is_storable_id(value: Any) -> bool:
    """Whether an id around the reports can be stored as it is, with each of them."""
    if type(value) is int:
        return LONG_MIN <= value <= LONG_MAX
    return type(value) is str and storable(value) == value
