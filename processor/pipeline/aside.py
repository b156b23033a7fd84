"""Reports that wait because somebody else holds their run locked; pure.

They are written in front of all that comes later, so each run keeps its order. The offsets of their partitions are
committed up to the first of them and no further: what waits here when the process ends is read again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from processor.core.messages import Batch, NextOffsets, Report, TopicPartition


class Aside:
    """What waits, bounded: once it is as large as a batch may be, nothing more is taken until some of it is written."""

    def __init__(self, max_reports: int, max_bytes: int) -> None:
        self._max_reports, self._max_bytes = max_reports, max_bytes
        self._reports: Sequence[Report] = ()
        self._reached: dict[TopicPartition, int] = {}  # of partitions whose offsets are held back
        self._told: dict[TopicPartition, int] = {}  # what was committed instead
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._reports)

    @property
    def full(self) -> bool:
        return len(self._reports) >= self._max_reports or self._bytes >= self._max_bytes

    @property
    def runs(self) -> list[str]:
        """The ids of the runs that are waited for, in the order in which they came."""
        return list(dict.fromkeys(report.run_id for report in self._reports))

    def before(self, batch: Batch | None) -> Batch:
        """What waits and, behind it, the batch; it holds back nothing of what it reaches."""
        new = batch or Batch((), (), {})
        if not self._reports:
            return new
        offsets = {**self._reached, **new.next_offsets}
        return Batch([*self._reports, *new.reports], new.rejections, offsets, new.records, new.bytes)

    def settle(self, next_offsets: NextOffsets, waiting: Sequence[Report]) -> dict[TopicPartition, int]:
        """Keeps what still waits; the offsets that became safe where so much was reached."""
        kept = [one for one in waiting if (one.record.topic, one.record.partition) in next_offsets]
        self._keep(kept)
        first: dict[TopicPartition, int] = {}
        for report in kept:
            place = (report.record.topic, report.record.partition)
            first[place] = min(first.get(place, report.record.offset), report.record.offset)
        safe = {place: first.get(place, offset) for place, offset in next_offsets.items()}
        new = {place: offset for place, offset in safe.items() if self._told.get(place) != offset}
        self._reached = {place: offset for place, offset in next_offsets.items() if place in first}
        self._told = first
        return new

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forgets what waits of these partitions."""
        gone = set(partitions)
        self._keep([one for one in self._reports if (one.record.topic, one.record.partition) not in gone])
        for place in gone:
            self._reached.pop(place, None)
            self._told.pop(place, None)

    def _keep(self, reports: Sequence[Report]) -> None:
        self._reports = reports
        records = {id(one.record): one.record for one in reports}
        self._bytes = sum(record.size for record in records.values())
