"""Outcomes -> Batch; pure. Decides what goes into one transaction, never how it is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from processor.core.messages import Batch, Outcome, RawRecord, Rejection, Report, TopicPartition, TrialReport


class Accumulator:
    """Collects records in order and hands them out as batches of at most `max_reports` reports and `max_bytes` bytes.

    A record is never split: one that is larger than a batch is a batch of its own. Not thread-safe.
    """

    def __init__(self, max_reports: int, max_bytes: int) -> None:
        self._max_reports, self._max_bytes = max_reports, max_bytes
        self._sealed: deque[Batch] = deque()
        self._begin()

    def _begin(self) -> None:
        self._reports: list[Report] = []
        self._rejections: list[Rejection] = []
        self._next_offsets: dict[TopicPartition, int] = {}
        self._records = self._bytes = self._collected = 0

    def add(self, record: RawRecord, outcomes: Sequence[Outcome]) -> None:
        size = record.size
        if self._collected + len(outcomes) > self._max_reports or self._bytes + size > self._max_bytes:
            self._seal()
        self._collected += len(outcomes)
        for outcome in outcomes:
            if type(outcome) is TrialReport:  # the common one first
                self._reports.append(outcome)
            elif type(outcome) is Rejection:
                self._rejections.append(outcome)
            else:
                self._reports.append(outcome)  # type: ignore[arg-type]
        self._next_offsets[record.topic, record.partition] = record.offset + 1
        self._records += 1
        self._bytes += size
        if max(self._collected, self._records) >= self._max_reports or self._bytes >= self._max_bytes:
            self._seal()

    def _seal(self) -> None:
        if self._records:
            self._sealed.append(Batch(self._reports, self._rejections, self._next_offsets, self._records, self._bytes))
            self._begin()

    def take(self) -> Batch | None:
        """The oldest batch, full or not; None when there is nothing."""
        if not self._sealed:
            self._seal()
        return self._sealed.popleft() if self._sealed else None

    @property
    def empty(self) -> bool:
        return not self._sealed and not self._records

    @property
    def full(self) -> bool:
        """A whole batch is waiting: time to stop reading."""
        return bool(self._sealed)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forgets everything of these partitions; nothing of them is written or committed any more."""
        self._seal()
        kept = (without(batch, partitions) for batch in self._sealed)
        self._sealed = deque(batch for batch in kept if batch.next_offsets)


def partitions_of(batch: Batch) -> set[TopicPartition]:
    return set(batch.next_offsets)


def without(batch: Batch, partitions: Collection[TopicPartition]) -> Batch:
    """The batch less the given partitions; the very same batch where it holds none of them."""
    if partitions_of(batch).isdisjoint(partitions):
        return batch
    gone = set(partitions)
    return Batch(
        [report for report in batch.reports if (report.record.topic, report.record.partition) not in gone],
        [
            rejection
            for rejection in batch.rejections
            if (rejection.record.topic, rejection.record.partition) not in gone
        ],
        {partition: offset for partition, offset in batch.next_offsets.items() if partition not in gone},
        batch.records,
        batch.bytes,
    )
