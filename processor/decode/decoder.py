"""RawRecord -> list[TrialReport | Rejection]; pure, and total: whatever a record holds, nothing is raised for it.

Each report goes the fast way first (`fast`), which reads and checks it at once, and the thorough way (`thorough`) where
the fast one gives None: what has to be mended or bent, and what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from processor.contracts.catalogue import Catalogue
from processor.contracts.frames import WriterSchemas, is_framed
from processor.core.messages import Outcome, RawRecord, TrialReport
from processor.core.text import LONG_MAX, LONG_MIN, storable
from processor.decode.digest import Digests
from processor.decode.envelope import NO_ENVELOPE, Envelope
from processor.decode.fast import Decoded, FastReader
from processor.decode.identity import find_run_id
from processor.decode.rawjson import may_need_mending
from processor.decode.refused import Refused
from processor.decode.thorough import ThoroughReader

SUBJECT = "trial_report"
Decode = Callable[[RawRecord], Sequence[Outcome]]
#: records that are looked through at once: as many as a depth of 200 allows reports with a dozen brackets each
_GROUP_RECORDS, _GROUP_BYTES = 16, 64 * 1024


class Decoder:
    """Turns records into reports; holds nothing but the compiled schemas, so one serves any number of threads."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        max_report_bytes: int = 1024 * 1024,
        writer_schemas: WriterSchemas | None = None,
    ) -> None:
        self._max_report_bytes = max_report_bytes
        self._digests = Digests(catalogue.latest(SUBJECT).definition)
        self._fast = FastReader(catalogue, SUBJECT)
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
        return self._parts(record, value) or self._thorough.record(record)

    def _parts(self, record: RawRecord, value: bytes) -> list[Outcome] | None:
        """Many reports in one record, each read by itself; None where they can't be told apart that way."""
        if (value[:1] != b"[" and b'"trials"' not in value) or len(value) > self._max_report_bytes:
            return None
        split = self._fast.split(value)
        if split is None or not all(map(_is_storable_id, split[0].values())):
            return None
        fields, reports = split
        if not self._thorough.has_room(fields, len(reports)):
            return None
        envelope = Envelope(fields, fields, self._digests.of(value))
        try:
            return [self._part(record, index, bytes(report), envelope) for index, report in enumerate(reports)]
        except Refused:  # a part is no JSON, so the record is none: the thorough way says where
            return None

    def _part(self, record: RawRecord, index: int, value: bytes, envelope: Envelope) -> Outcome:
        decoded = self._fast.read(value) if value[:1] == b"{" and not may_need_mending(value) else None
        if decoded is not None:
            return self._made(record, index, decoded, envelope)
        return self._thorough.part(record, index, value, envelope)

    def _made(self, record: RawRecord, index: int, decoded: Decoded, envelope: Envelope) -> Outcome:
        """The report that was read; its run's id may stand elsewhere."""
        content, version = decoded
        run_id: Any = content["run_id"]
        bent: tuple[str, ...] = ()
        if run_id is msgspec.UNSET:
            try:
                run_id, _, found = find_run_id(record, {}, envelope.fields)
            except Refused as refused:
                return refused.rejection(record, index)
            content["run_id"] = run_id
            bent = () if found is run_id else ("run_id",)
        rest = envelope.rest(run_id) if envelope.fields else None
        whole = envelope.digest
        digest = self._digests.of_part(whole, index) if whole else self._digests.of(record.value or b"")
        return TrialReport(record, index, run_id, content["trial_id"], content, version, None, rest, bent, digest)


def _needs_none(_value: bytes) -> bool:
    """For values that were looked through before."""
    return False


def _is_storable_id(value: Any) -> bool:
    """Whether an id around the reports can be stored as it is, with each of them."""
    if type(value) is int:
        return LONG_MIN <= value <= LONG_MAX
    return type(value) is str and storable(value) == value
