"""A body -> what is sent of it and what is refused, judged by the decoder that ingest has; pure but for a registry.

What is judged is byte by byte what is sent: a list is taken apart first, and each part decoded as the record that it
becomes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from processor.contracts.frames import is_framed
from processor.core.messages import Outcome as Decoded
from processor.core.messages import RawRecord, Rejection
from processor.decode.apart import take_apart
from processor.decode.decoder import Decoder
from processor.decode.split import TooMany
from processor.gateway.times import check_number, not_ahead
from processor.gateway.values import Ids, Judged, Parcel, Refusal
from processor.web.refusals import NotTaken

_BLANK = b" \t\r"


class Piece:
    """A record's value, where it came from, and when it was reported (None: now; `ahead`: it said far later)."""

    __slots__ = ("ahead", "line", "reported_ms", "value")

    def __init__(self, value: bytes, line: int | None) -> None:
        self.value, self.line = value, line
        self.reported_ms: int | None = None
        self.ahead = False


class Judge:
    """Holds nothing but the decoder: one serves any number of threads."""

    def __init__(self, decoder: Decoder, topic: str, *, max_report_bytes: int, max_reports: int) -> None:
        self._decode, self._topic = decoder.each, topic
        self._max_report_bytes, self._max_reports = max_report_bytes, max_reports

    def pieces(self, body: bytes, *, lines: bool) -> list[Piece]:
        """The values that a body is taken apart into. Raises `NotTaken` where they are too many."""
        if not lines:
            return [Piece(value, None) for value in self._apart(body, self._max_reports)]
        if body.count(b"\n") > 2 * self._max_reports:  # before any of them is cut off: a blank line is cheap, not free
            raise self._too_many()
        found: list[Piece] = []
        for number, line in enumerate(body.split(b"\n"), start=1):
            if report := line.strip(_BLANK):
                found += [Piece(value, number) for value in self._apart(report, self._max_reports - len(found))]
        return found

    def __call__(
        self, body: bytes, *, lines: bool, key: bytes | None, times: Sequence[int] | None = None
    ) -> list[Judged]:
        """Every report of the body, in its order; empty where it holds none. `times`: of each of its pieces.

        Raises `NotTaken` where it is too large or has another number of times, `TransientError` where a schema
        registry has to be asked and is down.
        """
        pieces = self.pieces(body, lines=lines)
        if times is not None:
            check_number(times, len(pieces))
            for piece, reported_ms in zip(pieces, times, strict=True):
                piece.reported_ms, piece.ahead = not_ahead(reported_ms)
        return list(self.judge(pieces, key))

    def judge(self, pieces: Sequence[Piece], key: bytes | None) -> Iterator[Judged]:
        """Each piece, decoded as the record it would be."""
        records = [RawRecord(self._topic, -1, -1, 0, key, piece.value) for piece in pieces]
        place = 0
        for piece, outcomes in zip(pieces, self._decode(records), strict=True):
            yield from _judged(place, piece, outcomes)
            place += len(outcomes)

    def _apart(self, value: bytes, most: int) -> list[bytes]:
        """Raises `NotTaken` for more than `most`."""
        try:
            values = take_apart(value, self._max_report_bytes, most) or [value] if value else []
        except TooMany:
            raise self._too_many() from None
        if len(values) > most:  # one, where there is no room for any
            raise self._too_many()
        return values

    def _too_many(self) -> NotTaken:
        return NotTaken(413, "too_large", f"a request may hold {self._max_reports:,} reports: send several")


def is_avro(body: bytes) -> bool:
    """Whether reading it may have to wait for a schema registry."""
    return bool(body) and is_framed(body)


def _judged(place: int, piece: Piece, outcomes: Sequence[Decoded]) -> Iterator[Judged]:
    rejected = any(isinstance(one, Rejection) for one in outcomes)
    if outcomes and not rejected:
        ids = [Ids(one.run_id, getattr(one, "trial_id", "")) for one in outcomes if not isinstance(one, Rejection)]
        key, at, ahead = ids[0].run_id.encode(), piece.reported_ms, piece.ahead
        yield Parcel(place, piece.value, key, ids, line=piece.line, reported_ms=at, ahead=ahead)
        return
    for at, one in enumerate(outcomes):
        if isinstance(one, Rejection):
            reason, whole = str(one.reason), one.index < 0
            yield Refusal(place + at, reason, one.detail, reason, one.path, piece.line, whole)
        else:  # what can't be taken apart is sent whole or not at all
            details = "it is in one record with a report that is refused, and that record can't be taken apart"
            yield Refusal(place + at, "not_sent", details, line=piece.line)
